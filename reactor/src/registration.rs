//! A source's registration with the reactor.

use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use crate::Handle;
use crate::core::Core;
use crate::ready::{EventHandler, Ready};
use crate::sources::SourceToken;

/// A source's registration, returned by [`register`](crate::Handle::register) and [`attach`](crate::Handle::attach).
///
/// # Dropping
///
/// Dropping it removes the handler, as [`deregister`](Registration::deregister) does: the handler is never called
/// again, even if an event for it was already fetched. However, the operating system keeps watching a registered
/// source until it is closed. For a source that stays open, call `deregister`.
pub struct Registration {
    core: Weak<Core>,
    token: SourceToken,
}

impl Registration {
    pub(crate) fn new(core: Weak<Core>, token: SourceToken) -> Registration {
        Registration { core, token }
    }

    /// Schedules the handler to be called with this readiness, to continue after a pause or to try again. It is
    /// called in the next turn, or in this turn if its call is already pending.
    pub fn wake(&self, ready: Ready) {
        if let Some(core) = self.core.upgrade() {
            core.wake(self.token, ready);
        }
    }

    /// Returns how much work, in bytes or a similar unit, this source may do now.
    ///
    /// The more sources are ready in this turn, the smaller the share. It is zero when the work of the whole turn
    /// is used up: [`wake`](Registration::wake) the source then, and continue in the next turn. Only sources that
    /// can do much work at once need to ask; small steps do not.
    pub fn share(&self) -> usize {
        self.core.upgrade().map_or(0, |core| core.share())
    }

    /// Counts work against the budget of this turn.
    pub fn spend(&self, work: usize) {
        if let Some(core) = self.core.upgrade() {
            core.spend(work);
        }
    }

    /// Records an event of the connection that this source is. For the crates of this library.
    #[cfg(feature = "trace")]
    #[doc(hidden)]
    pub fn record_connection(&self, event: impl FnOnce() -> crate::trace::ConnectionEvent) {
        if let Some(core) = self.core.upgrade() {
            core.recorder().connection(self.token.number(), event);
        }
    }

    /// Returns a handle to the reactor that this source is registered with.
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }

    /// Returns a waker, which can [`wake`](Registration::wake) the handler from other code. For sources that do not
    /// belong to the operating system and know themselves when they are ready.
    pub fn waker(&self) -> SourceWaker {
        SourceWaker { core: self.core.clone(), token: self.token }
    }

    /// Replaces the handler, for a source that changes its use. The operating system already watches the source and
    /// is not asked again, so it does not repeat readiness that the old handler has seen. If something is left to
    /// handle, [`wake`](Registration::wake) the new handler.
    ///
    /// The old handler is dropped. May be called from inside the old handler. Does nothing if no handler is
    /// [active](Registration::is_active).
    pub fn hand_over(&self, handler: Rc<dyn EventHandler>) {
        if let Some(core) = self.core.upgrade() {
            let old = core.sources.borrow_mut().replace(self.token, handler);
            drop(old);
        }
    }

    /// Returns whether the handler is in place: not deregistered, not dropped with its reactor, and not removed by
    /// a panic.
    pub fn is_active(&self) -> bool {
        self.core.upgrade().is_some_and(|core| core.sources.borrow().contains(self.token))
    }

    /// Removes the handler, and stops watching the source it was registered with. The handler is never called
    /// again, even if an event for it was already fetched.
    ///
    /// # Errors
    ///
    /// Errors of the operating system, for instance that it does not watch this source.
    pub fn deregister(&self, source: &mut (impl mio::event::Source + ?Sized)) -> io::Result<()> {
        let Some(core) = self.core.upgrade() else { return Ok(()) };
        self.take_out(&core);
        core.driver.registry()?.deregister(source)
    }

    fn take_out(&self, core: &Core) {
        let source = core.sources.borrow_mut().remove(self.token);
        drop(source);
    }
}

/// Wakes a handler from other code. Returned by [`Registration::waker`].
///
/// Owns nothing, and does nothing after the handler was removed.
#[derive(Clone)]
pub struct SourceWaker {
    core: Weak<Core>,
    token: SourceToken,
}

impl SourceWaker {
    /// Wakes the handler, as [`Registration::wake`] does.
    pub fn wake(&self, ready: Ready) {
        if let Some(core) = self.core.upgrade() {
            core.wake(self.token, ready);
        }
    }
}

impl fmt::Debug for SourceWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceWaker")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            self.take_out(&core);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("active", &self.is_active()).finish()
    }
}
