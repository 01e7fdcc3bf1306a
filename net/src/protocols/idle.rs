//! Timeouts for silent connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::Failure;
use twistor_reactor::{DelayedCall, Handle};

use crate::transport::pass_on;
use crate::{Protocol, Transport};

/// The reason reported when an [`IdleTimer`] closes a silent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionIdleTimedOut {
    /// The idle time that was allowed.
    pub after: Duration,
}

impl fmt::Display for ConnectionIdleTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection was idle for {:?}", self.after)
    }
}

impl std::error::Error for ConnectionIdleTimedOut {}

/// Ends a connection unless the protocol resets the timer in time. Twisted: `TimeoutMixin`.
///
/// A protocol creates one in `connection_made`, keeps it, and calls [`reset`](IdleTimer::reset) for every
/// sign of life. A reset is cheap enough for every read. When the timer expires, the connection ends with
/// [`ConnectionIdleTimedOut`] and unsent data is dropped.
///
/// # Dropping
///
/// Dropping the timer stops it.
pub struct IdleTimer {
    inner: Rc<Inner>,
}

struct Inner {
    handle: Handle,
    transport: Transport,
    limit: Cell<Duration>,
    since: Cell<Instant>,
    /// Not moved by a reset, which makes a reset cheap. A call that finds a sign of life schedules the next
    /// one.
    call: RefCell<Option<DelayedCall>>,
    /// The number of sent bytes when the protocol was last called. A later change is a sign of life. `None`:
    /// only a reset is.
    sent: Cell<Option<u32>>,
    hook: RefCell<Option<Hook>>,
}

type Hook = Box<dyn FnMut(&Transport)>;

impl IdleTimer {
    /// Creates a timer that ends the connection after `limit` without a reset. Twisted: `setTimeout`.
    pub fn new(handle: &Handle, transport: &Transport, limit: Duration) -> IdleTimer {
        let inner = Rc::new(Inner {
            handle: handle.clone(),
            transport: transport.clone(),
            limit: Cell::new(limit),
            since: Cell::new(handle.now()),
            call: RefCell::new(None),
            sent: Cell::new(None),
            hook: RefCell::new(None),
        });
        inner.schedule(limit);
        IdleTimer { inner }
    }

    /// Restarts the idle time. Twisted: `resetTimeout`.
    pub fn reset(&self) {
        // The timer stays: moving it for each piece of data would cost more than one early call of it.
        self.inner.since.set(self.inner.handle.now());
    }

    /// Sets a hook that is called when the timer expires, before the connection is closed. Twisted:
    /// `timeoutConnection`.
    ///
    /// To keep the connection, the hook [resets](IdleTimer::reset) the timer. To close the connection in
    /// another way, it calls the transport. Data that it writes is sent only as far as the socket takes it at
    /// once.
    ///
    /// # Panics
    ///
    /// A panic of the hook is logged, and the connection is closed.
    pub fn on_timeout(&self, hook: impl FnMut(&Transport) + 'static) {
        self.inner.hook.replace(Some(Box::new(hook)));
    }

    /// Sets another limit, and restarts the idle time.
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
        if self.is_well() {
            self.since.set(self.handle.now());
        }
        match self.left() {
            Duration::ZERO => self.time_out(),
            left => self.schedule(left),
        }
    }

    fn left(&self) -> Duration {
        let idle = self.handle.now().saturating_duration_since(self.since.get());
        self.limit.get().saturating_sub(idle)
    }

    /// Returns whether the silence is not the peer's: this side has paused reading, or the peer is reading
    /// sent data.
    fn is_well(&self) -> bool {
        let Some(before) = self.sent.get() else { return false };
        let sent = self.transport.sent_bytes();
        self.sent.set(Some(sent));
        sent != before || self.transport.is_paused()
    }

    fn time_out(self: &Rc<Self>) {
        /// Closes the connection, also if the hook panics.
        struct Close<'a>(&'a Rc<Inner>);

        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let Close(timer) = self;
                match timer.left() {
                    left if left.is_zero() || std::thread::panicking() => {
                        timer.transport.fail_connection(ConnectionIdleTimedOut { after: timer.limit.get() });
                    }
                    left => timer.schedule(left),
                }
            }
        }

        let _close = Close(self);
        let hook = self.hook.take();
        if let Some(mut hook) = hook {
            hook(&self.transport);
            self.hook.borrow_mut().get_or_insert(hook);
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

/// Wraps a protocol and ends its connection when it is silent for too long. Twisted: `TimeoutFactory`.
///
/// Received data counts as a sign of life, and so does sending that makes progress between two receptions. A
/// connection that this side has paused is not closed. Protocols with other signs of life use an
/// [`IdleTimer`] directly.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use twistor::net::IdleTimeout;
/// use twistor::prelude::*;
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
/// let handle = reactor.handle();
/// let factory = move |_peer| IdleTimeout::new(&handle, Duration::from_secs(60), Echo);
/// ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, factory)?;
/// # Ok::<(), Failure>(())
/// ```
pub struct IdleTimeout<P> {
    protocol: P,
    handle: Handle,
    limit: Duration,
    timer: Option<IdleTimer>,
    hook: Option<Hook>,
}

impl<P: Protocol> IdleTimeout<P> {
    /// Wraps `protocol` with an idle time of `limit`.
    pub fn new(handle: &Handle, limit: Duration, protocol: P) -> IdleTimeout<P> {
        IdleTimeout { protocol, handle: handle.clone(), limit, timer: None, hook: None }
    }

    /// Sets a hook that is called when the timer expires, before the connection is closed: see
    /// [`IdleTimer::on_timeout`].
    #[must_use]
    pub fn on_timeout(mut self, hook: impl FnMut(&Transport) + 'static) -> IdleTimeout<P> {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Calls the protocol. Data that it writes meanwhile does not count as another sign of life, because the
    /// event that caused the call already does.
    fn enter<R>(&mut self, transport: &Transport, call: impl FnOnce(&mut P) -> R) -> R {
        if let Some(timer) = &self.timer {
            timer.reset();
        }
        let result = call(&mut self.protocol);
        if let Some(timer) = &self.timer {
            timer.inner.sent.set(Some(transport.sent_bytes()));
        }
        result
    }
}

impl<P: Protocol> Protocol for IdleTimeout<P> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let timer = IdleTimer::new(&self.handle, transport, self.limit);
        if let Some(hook) = self.hook.take() {
            timer.on_timeout(hook);
        }
        self.timer = Some(timer);
        self.enter(transport, |protocol| protocol.connection_made(transport))
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.enter(transport, |protocol| protocol.data_received(transport, data))
    }

    /// Restarts the idle time, since the peer could not show life while this side did not read.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.enter(transport, |protocol| protocol.reading_resumed(transport))
    }

    pass_on!(self, self.protocol => read_connection_lost write_connection_lost part unread);

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
