//! A client that reconnects.

mod service;
mod waiters;

use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Failure, Outcome, fail, guarded};
use twistor_reactor::Handle;

use self::service::Service;
use super::Backoff;
use crate::{ClientEndpoint, HandlerPanicked, Protocol, Transport};

/// Keeps one connection to an endpoint: connects, and reconnects when connecting fails or the connection is
/// lost. Twisted: `ClientService`, `ReconnectingClientFactory`.
///
/// # Examples
///
/// ```no_run
/// use twistor::prelude::*;
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
///     .on_failure(|failure, wait| println!("{failure}; next attempt in {wait:.1?}"));
/// service.start();
/// // After Ctrl-C, written bytes are sent before the run ends.
/// reactor.on_shutdown(Phase::Before, move || service.stop());
/// reactor.run()?;
/// # Ok::<(), Failure>(())
/// ```
///
/// # Panics
///
/// A panic in `build`, or in the function given to [`prepare`](Reconnecting::prepare), counts as a failure to
/// connect.
///
/// # Ordering
///
/// The wait grows with each failure to connect and each loss. It is reset when a connection has lasted at
/// least as long as the wait that would follow, so that it also grows for a server that accepts and closes at
/// once.
///
/// On a simulated reactor, the jitter is drawn from its seed.
///
/// The end of the reactor's run ends the service as [`stop`](Reconnecting::stop) does. In the next run,
/// [`start`](Reconnecting::start) starts it again.
///
/// # Dropping
///
/// Dropping the last clone stops connecting. An open connection stays open. The Deferred of
/// [`stop`](Reconnecting::stop) still fires.
#[derive(Clone)]
pub struct Reconnecting {
    service: Rc<Service>,
}

impl Reconnecting {
    /// Creates a service that calls `build` for the protocol of each connection. It connects after
    /// [`start`](Reconnecting::start).
    #[track_caller]
    pub fn new<P: Protocol>(
        handle: &Handle,
        endpoint: ClientEndpoint,
        build: impl Fn() -> P + 'static,
    ) -> Reconnecting {
        Reconnecting { service: Service::new(handle, endpoint, build, Location::caller()) }
    }

    /// Sets the waits between attempts. Default: [`Backoff::default`].
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Reconnecting {
        self.service.backoff.set(backoff);
        self
    }

    /// Sets the grace period: how long [`stop`](Reconnecting::stop) waits for the peer to read everything
    /// written before it aborts the connection. Default: five seconds.
    #[must_use]
    pub fn stop_grace(self, grace: Duration) -> Reconnecting {
        self.service.grace.set(grace);
        self
    }

    /// Prepares each connection with `prepare`, such as a login. A connection counts as made when the result
    /// of `prepare` has fired. A failure aborts the connection and counts as a failure to connect. Twisted:
    /// `prepareConnection`.
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

    /// Calls `tell` after each failure to connect, with the failure and the wait before the next attempt. The
    /// loss of a connection is not a failure to connect; it is reported to the protocol.
    ///
    /// # Panics
    ///
    /// A panic of `tell` is logged, and `tell` is not called again.
    #[must_use]
    #[track_caller]
    pub fn on_failure(self, tell: impl FnMut(&Failure, Duration) + 'static) -> Reconnecting {
        self.service.tell.set(Some((Box::new(tell), Location::caller())));
        self
    }

    /// Connects, and keeps connected. Does nothing if the service is running. After a
    /// [`stop`](Reconnecting::stop), it connects once the old connection is lost. Twisted: `startService`.
    pub fn start(&self) {
        self.service.start();
    }

    /// Stops connecting, and closes an open connection once everything written is sent. Aborts it after [a
    /// grace period](Reconnecting::stop_grace). Twisted: `stopService`.
    ///
    /// Returns a Deferred that fires when the connection is lost. It has already fired without a connection.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The service still stops.
    pub fn stop(&self) -> Deferred<()> {
        self.service.stop()
    }

    /// Returns the current connection, or waits for the next one. Twisted: `whenConnected`.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`](crate::ConnectionAborted) if the service is stopped. Between a
    /// [`stop`](Reconnecting::stop) and the next [`start`](Reconnecting::start) it fails at once.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The service and other waiters continue.
    #[track_caller]
    pub fn when_connected(&self) -> Deferred<Transport> {
        self.service.when_connected(None)
    }

    /// Returns the current connection, or waits for the next one until connecting has failed `failures` more
    /// times. 0 counts as 1. Twisted: `whenConnected(failAfterFailures)`.
    ///
    /// # Errors
    ///
    /// [`ConnectAttemptsFailed`](crate::ConnectAttemptsFailed), whose source is the last failure, or the
    /// errors of [`when_connected`](Reconnecting::when_connected). The service continues.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The service and other waiters continue.
    #[track_caller]
    pub fn when_connected_within(&self, failures: u32) -> Deferred<Transport> {
        self.service.when_connected(Some(failures.max(1)))
    }

    /// Returns the number of consecutive failures: failures to connect, and connections that did not last.
    pub fn failures(&self) -> u32 {
        self.service.failures.get()
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reconnecting({}, {} failures)", self.service.state_name(), self.failures())
    }
}
