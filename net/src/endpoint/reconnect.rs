//! A client that connects again.

mod service;
mod waiters;

use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Failure, Outcome, fail, guarded};
use twistor_reactor::Handle;

use self::service::Service;
use crate::{ClientEndpoint, HandlerPanicked, Protocol, Transport};

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
    /// Returns the wait after this many failures in a row (from 1), for a `chance` from 0 to 1.
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
/// // At Ctrl-C, written bytes are sent before the run ends.
/// reactor.on_shutdown(Phase::Before, move || service.stop());
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Ordering
///
/// The wait grows with each failure to connect and each loss. It starts anew when a connection has lasted at least as
/// long as the wait that would follow, so that it also grows for a server that accepts and closes at once.
///
/// On a simulated reactor the jitter is drawn from its seed.
///
/// The end of the reactor's run ends the service as [`stop`](Reconnecting::stop) does; in the next run,
/// [`start`](Reconnecting::start) starts it again.
///
/// # Panics
///
/// A panic in `build` or in the function given to [`prepare`](Reconnecting::prepare) counts as a failure to connect.
///
/// # Dropping
///
/// Dropping the last clone stops connecting; a connection that is open stays. The Deferred of
/// [`stop`](Reconnecting::stop) fires all the same.
#[derive(Clone)]
pub struct Reconnecting {
    service: Rc<Service>,
}

impl Reconnecting {
    /// Returns a service that makes a protocol with `build` for each connection. It begins with
    /// [`start`](Reconnecting::start).
    #[track_caller]
    pub fn new<P: Protocol>(
        handle: &Handle,
        endpoint: ClientEndpoint,
        build: impl Fn() -> P + 'static,
    ) -> Reconnecting {
        Reconnecting { service: Service::new(handle, endpoint, build, Location::caller()) }
    }

    /// Sets the waits before connecting again.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Reconnecting {
        self.service.backoff.set(backoff);
        self
    }

    /// Sets how long [`stop`](Reconnecting::stop) waits for a peer to take what was written, before it aborts the
    /// connection. Default: five seconds.
    #[must_use]
    pub fn stop_grace(self, grace: Duration) -> Reconnecting {
        self.service.grace.set(grace);
        self
    }

    /// Prepares each connection with `prepare`, such as a login, before it counts as made: the result is waited for,
    /// and a failure aborts the connection and counts as one to connect. Twisted: `prepareConnection`.
    #[must_use]
    #[track_caller]
    pub fn prepare<O: Outcome>(self, prepare: impl Fn(&Transport) -> O + 'static) -> Reconnecting {
        let place = Location::caller();
        let prepare = move |transport: &Transport| {
            let prepared = guarded(|| prepare(transport).into_deferred());
            prepared
                .unwrap_or_else(|message| fail(HandlerPanicked::new("prepare", message).given_at(place)))
                .add_callback(|_| ())
                .attributed_to(place)
        };
        self.service.prepare.replace(Some(Rc::new(prepare)));
        self
    }

    /// Calls `tell` after each failure to connect, with the failure and the wait before the next attempt. A connection
    /// that is lost is reported to its protocol.
    ///
    /// After a panic of `tell`, which is logged, it is not called again.
    #[must_use]
    #[track_caller]
    pub fn on_failure(self, tell: impl FnMut(&Failure, Duration) + 'static) -> Reconnecting {
        self.service.tell.set(Some((Box::new(tell), Location::caller())));
        self
    }

    /// Connects, and keeps connected. If it does already, nothing happens. After a [`stop`](Reconnecting::stop), it
    /// connects once the old connection is lost. Twisted: `startService`.
    pub fn start(&self) {
        self.service.start();
    }

    /// Connects no more, and closes the connection, if there is one, once everything written is sent; aborts it after
    /// [a grace period](Reconnecting::stop_grace). Fires when the connection is lost; at once if there is none.
    /// Twisted: `stopService`.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The service stops all the same.
    pub fn stop(&self) -> Deferred<()> {
        self.service.stop()
    }

    /// Returns the connection: at once if there is one, else the next. Twisted: `whenConnected`.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`](crate::ConnectionAborted) when the service is stopped: at once from
    /// [`stop`](Reconnecting::stop) to the next [`start`](Reconnecting::start).
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The service goes on, and other waiters are not affected.
    #[track_caller]
    pub fn when_connected(&self) -> Deferred<Transport> {
        self.service.when_connected(None)
    }

    /// As [`when_connected`](Reconnecting::when_connected), but fails after this many more failures to connect; 0
    /// counts as 1. The service goes on. Twisted: `whenConnected(failAfterFailures)`.
    ///
    /// # Errors
    ///
    /// [`ConnectAttemptsFailed`](crate::ConnectAttemptsFailed), whose source is the last failure, and as `when_connected`.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The service goes on, as does its count of failures for other waiters.
    #[track_caller]
    pub fn when_connected_within(&self, failures: u32) -> Deferred<Transport> {
        self.service.when_connected(Some(failures.max(1)))
    }

    /// Returns how many times in a row connecting has failed, or a connection did not last.
    pub fn failures(&self) -> u32 {
        self.service.failures.get()
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reconnecting({}, {} failures)", self.service.state_name(), self.failures())
    }
}
