//! Connections on which nothing happens.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::Failure;
use twistor_reactor::{DelayedCall, Handle};

use crate::{Protocol, Transport};

/// Nothing came for too long; the reason of a connection that an [`IdleTimer`] has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimedOut {
    /// The time allowed.
    pub after: Duration,
}

impl fmt::Display for IdleTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was idle for {:?}", self.after)
    }
}

impl std::error::Error for IdleTimedOut {}

/// Ends a connection unless it is told, often enough, that the peer is well. Twisted: `TimeoutMixin`.
///
/// A protocol makes one in `connection_made`, keeps it, and calls [`reset`](IdleTimer::reset) at whatever it takes for
/// a sign of life. That is cheap enough for every read. The connection ends with [`IdleTimedOut`], and what was not
/// sent is thrown away.
///
/// # Dropping
///
/// Dropping it stops it.
pub struct IdleTimer {
    inner: Rc<Inner>,
}

struct Inner {
    handle: Handle,
    transport: Transport,
    limit: Cell<Duration>,
    since: Cell<Instant>,
    /// Not moved at each reset: when it comes and there was a sign of life meanwhile, it is set anew.
    call: RefCell<Option<DelayedCall>>,
}

impl IdleTimer {
    /// Ends the connection after `limit` without a reset. Twisted: `setTimeout`.
    pub fn new(handle: &Handle, transport: &Transport, limit: Duration) -> IdleTimer {
        let inner = Rc::new(Inner {
            handle: handle.clone(),
            transport: transport.clone(),
            limit: Cell::new(limit),
            since: Cell::new(handle.now()),
            call: RefCell::new(None),
        });
        inner.schedule(limit);
        IdleTimer { inner }
    }

    /// The time begins anew. Twisted: `resetTimeout`.
    pub fn reset(&self) {
        self.inner.since.set(self.inner.handle.now());
    }

    /// Another limit from now on; the time begins anew.
    pub fn set_limit(&self, limit: Duration) {
        self.inner.limit.set(limit);
        self.reset();
        self.inner.schedule(limit);
    }
}

impl Inner {
    fn schedule(self: &Rc<Self>, delay: Duration) {
        let timer = Rc::downgrade(self);
        let call = self.handle.call_later(delay, move || {
            if let Some(timer) = timer.upgrade() {
                timer.due();
            }
        });
        if let Some(earlier) = self.call.replace(Some(call)) {
            let _ = earlier.cancel();
        }
    }

    fn due(self: &Rc<Self>) {
        let (limit, idle) = (self.limit.get(), self.handle.now().saturating_duration_since(self.since.get()));
        if idle >= limit {
            self.transport.fail_connection(IdleTimedOut { after: limit });
        } else {
            self.schedule(limit - idle);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            let _ = call.cancel();
        }
    }
}

impl fmt::Debug for IdleTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleTimer").field("limit", &self.inner.limit.get()).finish_non_exhaustive()
    }
}

/// A protocol whose connection ends when nothing comes for a while. Twisted: `TimeoutFactory`.
///
/// Only what comes counts as a sign of life; a protocol that sends much and hears little needs an [`IdleTimer`] of its
/// own.
///
/// ```
/// use std::time::Duration;
/// use twistor_net::{Failure, IdleTimeout, Protocol, ServerEndpoint, Transport};
/// use twistor_reactor::{Handle, Reactor};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let handle = Handle::clone(&reactor);
/// let factory = move |_peer| IdleTimeout::new(&handle, Duration::from_secs(60), Echo);
/// ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, factory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IdleTimeout<P> {
    protocol: P,
    handle: Handle,
    limit: Duration,
    timer: Option<IdleTimer>,
}

impl<P: Protocol> IdleTimeout<P> {
    /// `protocol`, with this limit.
    pub fn new(handle: &Handle, limit: Duration, protocol: P) -> IdleTimeout<P> {
        IdleTimeout { protocol, handle: handle.clone(), limit, timer: None }
    }
}

impl<P: Protocol> Protocol for IdleTimeout<P> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.timer = Some(IdleTimer::new(&self.handle, transport, self.limit));
        self.protocol.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if let Some(timer) = &self.timer {
            timer.reset();
        }
        self.protocol.data_received(transport, data)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        // While this side did not read, the peer could give no sign.
        if let Some(timer) = &self.timer {
            timer.reset();
        }
        self.protocol.reading_resumed(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.read_connection_lost(transport)
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.write_connection_lost(transport)
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.timer = None;
        self.protocol.connection_lost(reason);
    }
}

impl<P> fmt::Debug for IdleTimeout<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleTimeout").field("limit", &self.limit).finish_non_exhaustive()
    }
}
