//! A site: the root of its resources, its connections, and its end.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Instant, SystemTime};

use slab::Slab;
use twistor_deferred::{Deferred, Trigger, guarded, succeed};
use twistor_reactor::{DelayedCall, Handle, Phase as Moment};

use super::answered::Answered;
use super::channel::Channel;
use super::connection::Connection;
use super::encode::{self, DateLine};
use super::settings::{Rounds, Settings};
use super::{Resource, date};
use crate::http::Limits;
use crate::{Address, CannotListen, Factory, HandlerPanicked, ListeningPort, ServerEndpoint};

/// Buffers that grew larger are given back.
const KEPT_BUFFER: usize = 256 * 1024;

/// Serves a [`Resource`] and what is below it over HTTP/1.1. Twisted: `Site`.
///
/// A clone is another handle to the same site. It is a [`Factory`], so [`ServerEndpoint::listen`] takes it too; ports
/// that were opened by [`listen`](Site::listen) are closed by [`stop`](Site::stop), and that by the reactor's
/// shutdown.
///
/// ```
/// use twistor_net::http::server::{Request, Site};
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
pub struct Site(Rc<SiteCore>);

/// Who is told of each request that is over.
/// With the place where it was given.
type Watcher = (Rc<dyn Fn(&Answered<'_>)>, &'static Location<'static>);

pub(super) struct SiteCore {
    handle: Handle,
    /// Where the site was made.
    pub(super) place: &'static Location<'static>,
    pub(super) root: Rc<dyn Resource>,
    settings: Settings,
    pub(super) limits: Rounds,
    /// What the decoders of requests are told: all limits but the one on bodies, which depends on the resource.
    pub(super) decoding: Limits,
    pub(super) body_size: u64,
    /// The round it is.
    now: Cell<u64>,
    round: RefCell<Option<DelayedCall>>,
    pub(super) date: Cell<DateLine>,
    /// When the site was made, if that was in a simulation.
    simulated_since: Option<Instant>,
    /// Where answers are put together.
    pub(super) out: Cell<Vec<u8>>,
    channels: RefCell<Slab<Weak<Channel>>>,
    ports: RefCell<Vec<ListeningPort>>,
    watcher: RefCell<Option<Watcher>>,
    /// The reactor's shutdown knows of this site.
    awaited: Cell<bool>,
    draining: Cell<bool>,
    drained: RefCell<Vec<Trigger<()>>>,
    grace: RefCell<Option<DelayedCall>>,
}

impl Site {
    /// A site with the default [`Settings`].
    #[track_caller]
    pub fn new(handle: &Handle, root: impl Resource) -> Site {
        Site::with_settings(handle, root, Settings::default())
    }

    /// A site with settings of its own.
    #[track_caller]
    pub fn with_settings(handle: &Handle, root: impl Resource, settings: Settings) -> Site {
        Site(Rc::new(SiteCore {
            handle: handle.clone(),
            place: Location::caller(),
            root: Rc::new(root),
            limits: Rounds::of(&settings.timeouts),
            decoding: Limits { body_size: u64::MAX, ..settings.limits.clone() },
            body_size: settings.limits.body_size,
            settings,
            now: Cell::new(0),
            round: RefCell::default(),
            date: Cell::new(encode::date_line(0)),
            simulated_since: handle.simulation().map(|_| handle.now()),
            out: Cell::default(),
            channels: RefCell::default(),
            ports: RefCell::default(),
            watcher: RefCell::default(),
            awaited: Cell::new(false),
            draining: Cell::new(false),
            drained: RefCell::default(),
            grace: RefCell::default(),
        }))
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
            return Err(CannotListen { address: endpoint.address(), source });
        }
        let port = endpoint.listen(&self.0.handle, self.clone())?;
        self.0.ports.borrow_mut().push(port.clone());
        self.0.draining.set(false);
        if !self.0.awaited.replace(true) {
            let core = Rc::downgrade(&self.0);
            self.0.handle.on_shutdown(Moment::Before, move || match core.upgrade() {
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
    /// use twistor_net::http::server::{Request, Site};
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
    #[track_caller]
    pub fn stop(&self) -> Deferred<()> {
        self.0.stop()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.channels.borrow().len()
    }
}

impl Factory for Site {
    type Protocol = Connection;

    fn build_protocol(&mut self, peer: Address) -> Option<Connection> {
        let core = &self.0;
        if core.draining.get() || self.connections() >= core.settings.max_connections {
            log::debug!("a connection from {peer} was refused: there are {}", self.connections());
            return None;
        }
        let channel = Rc::new(Channel::new(core.clone(), peer));
        channel.key.set(core.channels.borrow_mut().insert(Rc::downgrade(&channel)));
        core.begin_rounds();
        Some(Connection::new(channel))
    }
}

impl SiteCore {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watcher.borrow().is_some()
    }

    /// Tells the watcher, if there is one.
    pub(super) fn tell(&self, answered: &Answered<'_>) {
        let watcher = self.watcher.borrow().clone();
        if let Some((watcher, place)) = watcher {
            if let Err(message) = guarded(|| watcher(answered)) {
                log::error!("{}", HandlerPanicked::new("on_answered", message).given_at(place));
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// The round in which that many will have passed.
    #[inline]
    pub(super) fn deadline(&self, rounds: u64) -> u64 {
        self.now.get().saturating_add(rounds)
    }

    /// Gives the buffer for answers back.
    #[inline]
    pub(super) fn put_back(&self, out: Vec<u8>) {
        if out.capacity() <= KEPT_BUFFER {
            self.out.set(out);
        }
    }

    /// While there are connections, something looks after them; so no request has to set a timer or ask for the time.
    fn begin_rounds(self: &Rc<Self>) {
        if self.round.borrow().as_ref().is_none_or(|round| !round.active()) {
            self.look_at_the_clock();
            self.next_round();
        }
    }

    #[allow(clippy::disallowed_methods)] // Not in a simulation.
    fn look_at_the_clock(&self) {
        let now = match self.simulated_since {
            // The same for the same seed: days are counted from the first one there is.
            Some(begin) => self.handle.now().saturating_duration_since(begin).as_secs(),
            None => date::seconds(SystemTime::now()),
        };
        self.date.set(encode::date_line(now));
    }

    fn next_round(self: &Rc<Self>) {
        let core = Rc::downgrade(self);
        let round = self.handle.call_later(self.limits.length, move || {
            if let Some(core) = core.upgrade() {
                core.look_after_all();
            }
        });
        self.round.replace(Some(round));
    }

    fn look_after_all(self: &Rc<Self>) {
        let now = self.now.get() + 1;
        self.now.set(now);
        self.look_at_the_clock();
        if self.channels.borrow().is_empty() {
            self.round.replace(None);
            return;
        }
        for channel in self.channels_where(|channel| channel.is_overdue(now)) {
            channel.overdue(now);
        }
        self.next_round();
    }

    fn channels_where(&self, wanted: impl Fn(&Channel) -> bool) -> Vec<Rc<Channel>> {
        let channels = self.channels.borrow();
        channels
            .iter()
            .filter_map(|(_, channel)| channel.upgrade())
            .filter(|channel| wanted(channel))
            .collect()
    }

    /// A connection is no more.
    pub(super) fn gone(&self, channel: &Channel) {
        let key = channel.key.replace(usize::MAX);
        if key != usize::MAX {
            self.channels.borrow_mut().remove(key);
        }
    }

    /// Tells those who wait for the end, if this is it.
    pub(super) fn see_whether_drained(&self) {
        if self.draining.get() && self.channels.borrow().is_empty() {
            if let Some(grace) = self.grace.take() {
                let _ = grace.cancel();
            }
            for trigger in self.drained.take() {
                trigger.callback(());
            }
        }
    }

    fn stop(self: &Rc<Self>) -> Deferred<()> {
        for port in self.ports.take() {
            drop(port.stop_listening());
        }
        self.draining.set(true);
        for channel in self.channels_where(|_| true) {
            channel.drain();
        }
        if self.channels.borrow().is_empty() {
            return succeed(());
        }
        let (deferred, trigger) = Deferred::new();
        self.drained.borrow_mut().push(trigger);
        if self.grace.borrow().is_none() {
            let core = Rc::downgrade(self);
            let grace = self.handle.call_later(self.settings.grace, move || {
                if let Some(core) = core.upgrade() {
                    core.grace.take();
                    for channel in core.channels_where(|_| true) {
                        channel.abort();
                    }
                }
            });
            self.grace.replace(Some(grace));
        }
        deferred
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.0.ports.borrow();
        let addresses: Vec<String> = ports.iter().map(|port| port.address().to_string()).collect();
        f.debug_struct("Site")
            .field("ports", &addresses)
            .field("connections", &self.connections())
            .field("draining", &self.0.draining.get())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use twistor_reactor::Reactor;

    use super::{KEPT_BUFFER, Site};

    // P5: one answer with a head beyond measure does not cost the memory of one for ever
    #[test]
    fn a_buffer_that_grew_large_is_given_back() {
        let reactor = Reactor::simulated(1);
        let Site(site) = Site::new(&reactor, |_: &mut crate::http::server::Request<'_>| "fine");
        site.put_back(Vec::with_capacity(1000));
        assert!(site.out.take().capacity() >= 1000);
        site.put_back(Vec::with_capacity(KEPT_BUFFER + 1));
        assert_eq!(site.out.take().capacity(), 0);
    }
}
