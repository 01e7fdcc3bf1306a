//! Connections on which nothing happens.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::Failure;
use twistor_reactor::{DelayedCall, Handle};

use crate::{Protocol, Transport, part_of};

/// Nothing came for too long; the reason of a connection that an [`IdleTimer`] has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionIdleTimedOut {
    /// The time allowed.
    pub after: Duration,
}

impl fmt::Display for ConnectionIdleTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was idle for {:?}", self.after)
    }
}

impl std::error::Error for ConnectionIdleTimedOut {}

/// Ends a connection unless it is told, often enough, that the peer is well. Twisted: `TimeoutMixin`.
///
/// A protocol makes one in `connection_made`, keeps it, and calls [`reset`](IdleTimer::reset) at whatever it takes for
/// a sign of life. That is cheap enough for every read. The connection ends with [`ConnectionIdleTimedOut`], and what was not
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
    /// What the transport had sent when the protocol last had its turn; a later change is a sign of life. None: only a
    /// reset is one.
    sent: Cell<Option<u32>>,
    hook: RefCell<Option<Hook>>,
}

type Hook = Box<dyn FnMut(&Transport)>;

impl IdleTimer {
    /// Ends the connection after `limit` without a reset. Twisted: `setTimeout`.
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

    /// The time begins anew. Twisted: `resetTimeout`.
    pub fn reset(&self) {
        self.inner.since.set(self.inner.handle.now());
    }

    /// Calls `hook` when the time is up, before the connection is closed. To keep the connection, it may
    /// [`reset`](IdleTimer::reset) the timer; to close it in another way, it calls the transport itself. What it writes
    /// is sent as far as the socket takes it at once. Twisted: `timeoutConnection`.
    ///
    /// # Panics
    ///
    /// A panic of the hook is logged, and the connection is closed.
    pub fn on_timeout(&self, hook: impl FnMut(&Transport) + 'static) {
        self.inner.hook.replace(Some(Box::new(hook)));
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

    /// Whether the peer cannot send because this side does not read, or reads what it was sent.
    fn is_well(&self) -> bool {
        let Some(before) = self.sent.get() else { return false };
        let sent = self.transport.sent_bytes();
        self.sent.set(Some(sent));
        sent != before || self.transport.is_paused()
    }

    fn time_out(self: &Rc<Self>) {
        /// Closes the connection also if the hook panics.
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

/// A protocol whose connection ends when nothing happens on it for a while. Twisted: `TimeoutFactory`.
///
/// Data that arrives counts as a sign of life, and so does sending that makes progress between two arrivals. A
/// connection that this side has paused is not closed. A protocol with another idea of life needs an [`IdleTimer`] of
/// its own.
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
    hook: Option<Hook>,
}

impl<P: Protocol> IdleTimeout<P> {
    /// `protocol`, with this limit.
    pub fn new(handle: &Handle, limit: Duration, protocol: P) -> IdleTimeout<P> {
        IdleTimeout { protocol, handle: handle.clone(), limit, timer: None, hook: None }
    }

    /// Calls `hook` when the time is up, before the connection is closed: see [`IdleTimer::on_timeout`].
    #[must_use]
    pub fn on_timeout(mut self, hook: impl FnMut(&Transport) + 'static) -> IdleTimeout<P> {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Calls the protocol. What it sends meanwhile is no progress of its own: it comes at the time of what it was called
    /// for.
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

    /// While this side did not read, the peer could give no sign.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.enter(transport, |protocol| protocol.reading_resumed(transport))
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.read_connection_lost(transport)
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.write_connection_lost(transport)
    }

    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        part_of(&mut self.protocol, part)
    }

    fn unread(&mut self) -> Vec<u8> {
        self.protocol.unread()
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
