//! A site: the root of its resources, its connections, and its end.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use twistor_deferred::{Deferred, succeed};
use twistor_net::{Address, CannotListen, Factory, ListeningPort, ServerEndpoint, Transport};
use twistor_reactor::{Handle, Phase as Moment};

use super::connection::SiteConnection;
use super::exchange::Exchange;
use super::exchange::answered::Answered;
use super::resource::Resource;
use super::settings::Settings;
use super::shared::SiteState;

/// Serves a [`Resource`] and what is below it over HTTP/1.1. Twisted: `Site`.
///
/// A clone is another handle to the same site. It is a [`Factory`], so [`ServerEndpoint::listen`] takes it too; ports
/// that were opened by [`listen`](Site::listen) are closed by [`stop`](Site::stop), and that by the reactor's
/// shutdown.
///
/// ```
/// use twistor_http::server::{Request, Site};
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let port = Site::new(&reactor, |_: &mut Request<'_>| "Hello, world!").listen("tcp:0".parse()?)?;
/// println!("listening on http://{}", port.address());
/// # reactor.call_later(std::time::Duration::ZERO, { let handle = reactor.clone(); move || handle.stop() });
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Ordering
///
/// The requests of a connection are answered in order, one at a time. While one is being answered, no more than one
/// read's worth of the next is taken in.
///
/// # Dropping
///
/// A site whose handles are dropped goes on as long as something listens for it, or a connection is there.
#[derive(Clone)]
pub struct Site(Rc<SiteState>);

impl Site {
    /// A site with the default [`Settings`].
    #[track_caller]
    pub fn new(handle: &Handle, root: impl Resource) -> Site {
        Site::with_settings(handle, root, Settings::default())
    }

    /// A site with settings of its own.
    #[track_caller]
    pub fn with_settings(handle: &Handle, root: impl Resource, settings: Settings) -> Site {
        Site(Rc::new(SiteState::new(handle, Rc::new(root), settings, Location::caller())))
    }

    /// Listens. When the reactor shuts down, the site is [stopped](Site::stop), and the reactor waits for that.
    ///
    /// [`ListeningPort::stop_listening`] closes the port and leaves the connections as they are. A site that has
    /// stopped starts afresh.
    ///
    /// # Errors
    ///
    /// [`CannotListen`], with what the operating system says, or because the site has been told to stop and still has
    /// connections.
    #[track_caller]
    pub fn listen(&self, endpoint: ServerEndpoint) -> Result<ListeningPort, CannotListen> {
        if self.0.is_draining() && self.connections() > 0 {
            let source = io::Error::other("the site is stopping, and its last connections are not closed");
            return Err(CannotListen::new(endpoint.address(), source));
        }
        let handle = &self.0.handle;
        let port = endpoint.listen(handle, self.clone())?;
        self.0.ports.borrow_mut().push(port.clone());
        self.0.open();
        if !self.0.awaited.replace(true) {
            let core = Rc::downgrade(&self.0);
            handle.on_shutdown(Moment::Before, move || match core.upgrade() {
                Some(core) => {
                    core.awaited.set(false);
                    core.stop()
                }
                None => succeed(()),
            });
        }
        Ok(port)
    }

    /// Has `watcher` told of each request that is over, in place of the watcher set before. Twisted: `Site.log`.
    ///
    /// It is told once for each request, of refused ones too. Without it, nothing is kept or measured.
    ///
    /// ```
    /// use twistor_http::server::{Request, Site};
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let site = Site::new(&reactor, |_: &mut Request<'_>| "Hello, world!");
    /// let port = site.on_answered(|answered| println!("{answered}")).listen("tcp:0".parse()?)?;
    /// # let _ = port;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// A panic of the watcher is logged.
    ///
    /// # Re-entrancy
    ///
    /// It is called from the loop, after the answer was written, and may do anything.
    #[must_use = "this returns the site"]
    #[track_caller]
    pub fn on_answered(self, watcher: impl Fn(&Answered<'_>) + 'static) -> Site {
        self.0.watcher.replace(Some((Rc::new(watcher), Location::caller())));
        self
    }

    /// Comes to an end in order. Fires when no connection is left.
    ///
    /// The ports are closed. Connections between two requests are closed. Requests that have begun to come are
    /// answered, with `Connection: close`; after [`Settings::grace`], those that are not done are cancelled and their
    /// connections reset.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The site stops all the same.
    #[track_caller]
    pub fn stop(&self) -> Deferred<()> {
        self.0.stop()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.count()
    }
}

impl Factory for Site {
    type Protocol = SiteConnection;

    fn build_protocol(&mut self, peer: Address) -> Option<SiteConnection> {
        let shared = &self.0;
        if shared.is_draining() || shared.count() >= shared.settings.max_connections {
            log::debug!("a connection from {peer} was refused: there are {}", shared.count());
            return None;
        }
        let connection = SiteConnection::new(shared.clone(), peer);
        shared.begin_rounds();
        Some(connection)
    }
}

/// The site's clockwork. It goes on as long as there is a connection, which keeps it.
impl SiteState {
    /// While there are connections, something looks after them; so no request has to set a timer or ask for the time.
    fn begin_rounds(self: &Rc<Self>) {
        if self.round.borrow().as_ref().is_none_or(|round| !round.active()) {
            self.look_at_the_clock();
            self.schedule_round();
        }
    }

    fn schedule_round(self: &Rc<Self>) {
        let shared = Rc::downgrade(self);
        let round = self.handle.call_later(self.limits.length, move || {
            if let Some(shared) = shared.upgrade() {
                shared.look_after_all();
            }
        });
        self.round.replace(Some(round));
    }

    fn look_after_all(self: &Rc<Self>) {
        let now = self.begin_round();
        if self.count() == 0 {
            self.round.replace(None);
            return;
        }
        self.visit_all(move |exchange, transport| exchange.look_after(transport, now));
        self.schedule_round();
    }

    fn visit_all(&self, visit: impl Fn(&mut Exchange, &Transport) + Copy + 'static) {
        for transport in self.transports() {
            transport.enter(move |exchange: &mut Exchange, transport: &Transport| {
                visit(exchange, transport);
                Ok(())
            });
        }
    }

    fn stop(self: &Rc<Self>) -> Deferred<()> {
        for port in self.ports.take() {
            drop(port.stop_listening());
        }
        self.drain();
        self.visit_all(|exchange, transport| exchange.drain(transport));
        if self.count() == 0 {
            return succeed(());
        }
        if self.grace.borrow().is_none() {
            let shared = Rc::downgrade(self);
            let grace = self.handle.call_later(self.settings.grace, move || {
                if let Some(shared) = shared.upgrade() {
                    shared.grace.take();
                    shared.visit_all(|exchange, transport| exchange.abort(transport));
                }
            });
            self.grace.replace(Some(grace));
        }
        self.drained()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.0.ports.borrow();
        let addresses: Vec<String> = ports.iter().map(|port| port.address().to_string()).collect();
        f.debug_struct("Site")
            .field("ports", &addresses)
            .field("connections", &self.connections())
            .field("draining", &self.0.is_draining())
            .finish()
    }
}
