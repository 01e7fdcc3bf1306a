//! A site: its root resource, its connections, and its shutdown.

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

/// Serves a [`Resource`] and everything below it over HTTP/1.1. Twisted: `Site`.
///
/// Clones share the same site. A site is also a [`Factory`], so [`ServerEndpoint::listen`]
/// accepts it. Ports opened by [`listen`](Site::listen) are closed by [`stop`](Site::stop), which is part of
/// the reactor's shutdown.
///
/// # Ordering
///
/// The requests of a connection are answered in order, one at a time. While one is being answered, the server reads at
/// most one buffer ahead.
///
/// # Dropping
///
/// After the last clone is dropped, the site continues as long as a port listens for it or a connection is open.
///
/// # Examples
///
/// ```
/// use twistor::http::server::{Request, Site};
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let port = Site::new(&reactor, |_: &mut Request<'_>| "Hello, world!").listen("tcp:0".parse()?)?;
/// println!("listening on http://{}", port.address());
/// # reactor.call_later(std::time::Duration::ZERO, { let handle = reactor.clone(); move || handle.stop() });
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Site(Rc<SiteState>);

impl Site {
    /// Creates a site with the default [`Settings`].
    #[track_caller]
    pub fn new(handle: &Handle, root: impl Resource) -> Site {
        Site::with_settings(handle, root, Settings::default())
    }

    /// Creates a site with the given settings.
    #[track_caller]
    pub fn with_settings(handle: &Handle, root: impl Resource, settings: Settings) -> Site {
        Site(Rc::new(SiteState::new(handle, Rc::new(root), settings, Location::caller())))
    }

    /// Listens on `endpoint`. The reactor's shutdown [stops](Site::stop) the site, and waits for that.
    ///
    /// [`ListeningPort::stop_listening`] closes the port and keeps its connections. A site can listen again
    /// after a stop.
    ///
    /// # Errors
    ///
    /// [`CannotListen`] with the error of the operating system, or while a stop waits for connections.
    #[track_caller]
    pub fn listen(&self, endpoint: ServerEndpoint) -> Result<ListeningPort, CannotListen> {
        if self.0.is_draining() && self.connections() > 0 {
            let source = io::Error::other("the site is stopping and still has connections");
            return Err(CannotListen::new(endpoint.address(), source));
        }
        let handle = &self.0.handle;
        let port = endpoint.listen(handle, self.clone())?;
        let mut ports = self.0.ports.borrow_mut();
        // Those that were closed by `stop_listening`, which does not notify the site.
        ports.retain(ListeningPort::is_listening);
        ports.push(port.clone());
        drop(ports);
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

    /// Calls `watcher` once for each finished request, including refused ones. Replaces an earlier watcher.
    /// Twisted: `Site.log`.
    ///
    /// Without a watcher, nothing is recorded or measured.
    ///
    /// # Panics
    ///
    /// A panic of the watcher is logged.
    ///
    /// # Re-entrancy
    ///
    /// The watcher is called from the loop after the answer was written, and may call anything.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::http::server::{Request, Site};
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let site = Site::new(&reactor, |_: &mut Request<'_>| "Hello, world!");
    /// let port = site.on_answered(|answered| println!("{answered}")).listen("tcp:0".parse()?)?;
    /// # let _ = port;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "this returns the site"]
    #[track_caller]
    pub fn on_answered(self, watcher: impl Fn(&Answered<'_>) + 'static) -> Site {
        self.0.watcher.replace(Some((Rc::new(watcher), Location::caller())));
        self
    }

    /// Shuts down gracefully. Returns a Deferred that fires when no connection is left.
    ///
    /// Closes the ports and all connections between two requests. Pending requests are answered with
    /// `Connection: close`. After [`Settings::grace`], unfinished ones are cancelled and their connections
    /// reset.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The site still stops.
    #[track_caller]
    pub fn stop(&self) -> Deferred<()> {
        self.0.stop()
    }

    /// Returns the number of connections.
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

/// The rounds of a site. They run as long as there is a connection, which keeps the site alive.
impl SiteState {
    /// Starts the rounds, which check all connections. So a request needs neither a timer nor the time.
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
        let open = ports.iter().filter(|port| port.is_listening());
        let addresses: Vec<String> = open.map(|port| port.address().to_string()).collect();
        f.debug_struct("Site")
            .field("ports", &addresses)
            .field("connections", &self.connections())
            .field("draining", &self.0.is_draining())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use twistor_reactor::Reactor;

    use crate::server::{Request, Site};

    // W6.2
    #[test]
    fn a_closed_port_is_forgotten() {
        let reactor = Reactor::simulated(1);
        let site = Site::new(&reactor, |_: &mut Request<'_>| "fine");
        let listen = || site.listen("tcp:80".parse().unwrap()).unwrap();
        for _ in 0..3 {
            let port = listen();
            assert_eq!(site.0.ports.borrow().len(), 1);
            drop(port.stop_listening());
            assert!(format!("{site:?}").contains("ports: []"), "{site:?}");
        }
        listen();
        assert!(format!("{site:?}").contains("ports: [\""), "{site:?}");
    }
}
