//! A client that connects again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{self, BuildHasher, Hasher};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Canceller, Deferred, Failure, Trigger, fail, succeed};
use twistor_reactor::{DelayedCall, Handle};

use crate::{ClientEndpoint, ConnectionAborted, Protocol, Transport};

/// How long to wait before connecting again: exponentially longer, with jitter, so that clients of a server that
/// restarts do not all come at once. Twisted: `backoffPolicy`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Each wait is this many times the one before.
    pub factor: f64,
    /// By how much a wait may differ, as a part of it: 0.25 is a quarter more or less.
    pub jitter: f64,
}

impl Default for Backoff {
    /// One second, a minute, 1.5, a quarter.
    fn default() -> Backoff {
        let (initial, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        Backoff { initial, longest, factor: 1.5, jitter: 0.25 }
    }
}

impl Backoff {
    /// The wait after so many failures in a row (from 1), for a `chance` from 0 to 1.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = (self.initial.as_secs_f64() * self.factor.powi(exponent)).min(self.longest.as_secs_f64());
        let wait = wait * (1.0 + self.jitter * (2.0 * chance - 1.0));
        Duration::try_from_secs_f64(wait).unwrap_or(self.longest)
    }
}

/// Keeps one connection to an endpoint: connects, and connects again when that fails or the connection is lost.
/// Twisted: `ClientService`, `ReconnectingClientFactory`.
///
/// ```no_run
/// use twistor_net::{ClientEndpoint, Failure, Protocol, Reconnecting, Transport};
/// use twistor_reactor::{Phase, Reactor};
///
/// struct Feed;
///
/// impl Protocol for Feed {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
///         println!("{} bytes", data.len());
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let service = Reconnecting::new(&reactor, "tcp:feed.example:4000".parse()?, || Feed)
///     .on_failure(|failure, wait| println!("{failure}; again in {wait:.1?}"));
/// service.start();
/// // At Ctrl-C, what was written is sent before the run ends.
/// reactor.on_shutdown(Phase::Before, move || service.stop());
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Ordering
///
/// The count of failures, and with it the wait, starts anew with each connection that is made, even if the server
/// closes it at once.
///
/// On a simulated reactor the jitter is drawn from its seed.
///
/// # Dropping
///
/// Dropping the last clone stops connecting; a connection that is open stays. The Deferred of
/// [`stop`](Reconnecting::stop) fires all the same.
#[derive(Clone)]
pub struct Reconnecting {
    service: Rc<Service>,
}

/// Connects once, and tells the service when that connection is lost.
type Connect = Box<dyn Fn(&Rc<Service>) -> Deferred<Transport>>;

type Tell = Box<dyn FnMut(&Failure, Duration)>;

/// Who waits for the end of the connection. The connection has it too, for the service may be gone by then.
type Stopping = Rc<RefCell<Vec<Trigger<()>>>>;

struct Service {
    handle: Handle,
    connect: Connect,
    backoff: Cell<Backoff>,
    failures: Cell<u32>,
    state: RefCell<State>,
    waiting: RefCell<Vec<Trigger<Transport>>>,
    stopping: Stopping,
    /// Taken out while it runs.
    tell: Cell<Option<Tell>>,
}

enum State {
    Stopped,
    Connecting(Option<Canceller>),
    Connected(Transport),
    Waiting(DelayedCall),
    /// Stopped, with a connection that is not lost yet; and whether it was started again meanwhile.
    Closing {
        again: bool,
    },
}

impl Reconnecting {
    /// A service that makes a protocol with `build` for each connection. It begins with
    /// [`start`](Reconnecting::start).
    pub fn new<P: Protocol>(
        handle: &Handle,
        endpoint: ClientEndpoint,
        build: impl Fn() -> P + 'static,
    ) -> Reconnecting {
        let connect = move |service: &Rc<Service>| {
            let (stopping, kept_by) = (service.stopping.clone(), Rc::downgrade(service));
            let kept = Kept { protocol: build(), service: kept_by, stopping };
            endpoint.connect(&service.handle, kept)
        };
        Reconnecting {
            service: Rc::new(Service {
                handle: handle.clone(),
                connect: Box::new(connect),
                backoff: Cell::default(),
                failures: Cell::new(0),
                state: RefCell::new(State::Stopped),
                waiting: RefCell::default(),
                stopping: Stopping::default(),
                tell: Cell::default(),
            }),
        }
    }

    /// Waits as this says before connecting again.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Reconnecting {
        self.service.backoff.set(backoff);
        self
    }

    /// Has `tell` called whenever connecting has failed, with the failure and how long it now waits before it tries
    /// again. Of a connection that is lost, its protocol is told.
    ///
    /// A panic of `tell` is logged, and it is not called again.
    #[must_use]
    pub fn on_failure(self, tell: impl FnMut(&Failure, Duration) + 'static) -> Reconnecting {
        self.service.tell.set(Some(Box::new(tell)));
        self
    }

    /// Connects, and keeps connected. If it does already, nothing happens. After a [`stop`](Reconnecting::stop), it
    /// connects once the old connection is lost. Twisted: `startService`.
    pub fn start(&self) {
        if let State::Closing { again } = &mut *self.service.state.borrow_mut() {
            *again = true;
        }
        if matches!(*self.service.state.borrow(), State::Stopped) {
            self.service.begin_after(Duration::ZERO);
        }
    }

    /// Connects no more, and closes the connection there is, once what was written is sent. Fires when that is lost;
    /// at once if there is none. Twisted: `stopService`.
    pub fn stop(&self) -> Deferred<()> {
        self.service.stop()
    }

    /// The connection: at once if there is one, else the next. Twisted: `whenConnected`.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`] when the service is stopped before.
    #[track_caller]
    pub fn when_connected(&self) -> Deferred<Transport> {
        match &*self.service.state.borrow() {
            State::Connected(transport) => succeed(transport.clone()),
            State::Closing { again: false } => fail(ConnectionAborted),
            _ => {
                let (deferred, trigger) = Deferred::new();
                self.service.waiting.borrow_mut().push(trigger);
                deferred
            }
        }
    }

    /// How often connecting has failed, or a connection was lost, since one was last made.
    pub fn failures(&self) -> u32 {
        self.service.failures.get()
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match *self.service.state.borrow() {
            State::Stopped => "stopped",
            State::Connecting(_) => "connecting",
            State::Connected(_) => "connected",
            State::Waiting(_) => "waiting",
            State::Closing { .. } => "closing",
        };
        write!(f, "Reconnecting({state}, {} failures)", self.failures())
    }
}

impl Service {
    fn begin(self: &Rc<Self>) {
        self.state.replace(State::Connecting(None));
        let connecting = (self.connect)(self);
        let stopped = match &mut *self.state.borrow_mut() {
            State::Connecting(canceller) => {
                *canceller = Some(connecting.canceller());
                false
            }
            _ => true,
        };
        if stopped {
            // By what makes the protocols.
            connecting.cancel();
        }
        let service = Rc::downgrade(self);
        drop(connecting.add_both(move |result| {
            if let Some(service) = service.upgrade() {
                match result {
                    Ok(transport) => service.connected(transport),
                    Err(failure) => {
                        if let Some(wait) = service.lost() {
                            service.tell(&failure, wait);
                        }
                    }
                }
            }
        }));
    }

    fn connected(&self, transport: Transport) {
        if !matches!(*self.state.borrow(), State::Connecting(_)) {
            return;
        }
        // A connection may be lost in the same breath.
        if transport.is_lost() {
            return;
        }
        self.failures.set(0);
        self.state.replace(State::Connected(transport.clone()));
        for trigger in self.waiting.take() {
            trigger.callback(transport.clone());
        }
    }

    /// A connection was lost, or did not come to be. Gives the wait before the next, unless the service is stopped.
    fn lost(self: &Rc<Self>) -> Option<Duration> {
        let again = match *self.state.borrow() {
            State::Stopped => Some(false),
            State::Closing { again } => Some(again),
            _ => None,
        };
        match again {
            Some(true) => {
                self.begin_after(Duration::ZERO);
                tell_stopped(&self.stopping);
                return None;
            }
            Some(false) => {
                self.stopped();
                return None;
            }
            None => {}
        }
        let failures = self.failures.get() + 1;
        self.failures.set(failures);
        let wait = self.backoff.get().delay(failures, self.chance());
        self.begin_after(wait);
        Some(wait)
    }

    fn tell(&self, failure: &Failure, wait: Duration) {
        let Some(mut tell) = self.tell.take() else { return };
        tell(failure, wait);
        self.tell.set(Some(tell));
    }

    fn begin_after(self: &Rc<Self>, delay: Duration) {
        let service = Rc::downgrade(self);
        let call = self.handle.call_later(delay, move || {
            if let Some(service) = service.upgrade() {
                service.begin();
            }
        });
        self.state.replace(State::Waiting(call));
    }

    fn stop(self: &Rc<Self>) -> Deferred<()> {
        let state = self.state.replace(State::Closing { again: false });
        let closing = match state {
            State::Stopped => false,
            State::Connecting(canceller) => {
                // Its failure arrives in `lost`, now.
                canceller.inspect(Canceller::cancel);
                false
            }
            State::Waiting(call) => {
                let _ = call.cancel();
                false
            }
            State::Connected(transport) => {
                transport.lose_connection();
                true
            }
            State::Closing { .. } => {
                self.give_up();
                true
            }
        };
        if !closing {
            self.stopped();
            return succeed(());
        }
        let (deferred, trigger) = Deferred::new();
        self.stopping.borrow_mut().push(trigger);
        deferred
    }

    fn stopped(&self) {
        self.state.replace(State::Stopped);
        self.failures.set(0);
        self.give_up();
        tell_stopped(&self.stopping);
    }

    /// Fails those who wait for a connection.
    fn give_up(&self) {
        for trigger in self.waiting.take() {
            trigger.errback(ConnectionAborted);
        }
    }

    /// A number from 0 to 1: in a simulation, from its seed; else from what std seeds its maps with, since nothing
    /// depends on how random it is.
    #[allow(clippy::disallowed_types)] // Not in a simulation.
    fn chance(&self) -> f64 {
        let bits = match self.handle.simulation() {
            Some(simulation) => simulation.random(),
            None => hash::RandomState::new().build_hasher().finish(),
        };
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        match self.state.replace(State::Stopped) {
            State::Connecting(Some(canceller)) => canceller.cancel(),
            State::Waiting(call) => drop(call.cancel()),
            _ => {}
        }
    }
}

fn tell_stopped(stopping: &Stopping) {
    for trigger in stopping.take() {
        trigger.callback(());
    }
}

/// A protocol whose loss is told to the service.
struct Kept<P> {
    protocol: P,
    service: std::rc::Weak<Service>,
    stopping: Stopping,
}

impl<P: Protocol> Protocol for Kept<P> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.protocol.data_received(transport, data)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.reading_resumed(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.read_connection_lost(transport)
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.protocol.connection_lost(reason);
        match self.service.upgrade() {
            Some(service) => drop(service.lost()),
            None => tell_stopped(&self.stopping),
        }
    }
}
