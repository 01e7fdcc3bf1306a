//! A source's place in the reactor.

use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use crate::Handle;
use crate::core::Core;
use crate::ready::{EventHandler, Ready};
use crate::sources::SourceToken;

/// A source's place in the reactor, as given by [`register`](crate::Handle::register) and
/// [`attach`](crate::Handle::attach).
///
/// # Dropping
///
/// Dropping it takes the handler out, as [`deregister`](Registration::deregister) does: the handler is never called
/// again, even if an event for it was already fetched. The operating system, though, goes on watching a source that
/// was registered until the source is closed; only `deregister` ends that for one that stays open.
pub struct Registration {
    core: Weak<Core>,
    token: SourceToken,
}

impl Registration {
    pub(crate) fn new(core: Weak<Core>, token: SourceToken) -> Registration {
        Registration { core, token }
    }

    /// Has the handler called with this readiness in the next turn, or in this one if it was to be called anyway:
    /// for going on after a pause, and for trying again.
    pub fn wake(&self, ready: Ready) {
        if let Some(core) = self.core.upgrade() {
            core.wake(self.token, ready);
        }
    }

    /// Returns how much work, in bytes or the like, this source may do now. The less, the more sources are ready in this
    /// turn; zero when the work of the whole turn is used up. Then [`wake`](Registration::wake) the source, and go on in
    /// the next turn.
    ///
    /// For sources that can be made to do much at once. Small steps need not be asked for.
    pub fn share(&self) -> usize {
        self.core.upgrade().map_or(0, |core| core.share())
    }

    /// Counts work that was done against the budget of this turn.
    pub fn spend(&self, work: usize) {
        if let Some(core) = self.core.upgrade() {
            core.spend(work);
        }
    }

    /// The reactor it is in.
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }

    /// What can [`wake`](Registration::wake) from elsewhere: for sources that are not of the operating system, and
    /// know themselves when they are ready.
    pub fn waker(&self) -> SourceWaker {
        SourceWaker { core: self.core.clone(), token: self.token }
    }

    /// Has another handler take the place of the one there is, for a source that goes on to its next use: the operating
    /// system, which watches it already, is not asked again, and does not tell the new handler of what it has told the
    /// old one. Whoever knows that there is something left [wakes](Registration::wake) it.
    ///
    /// The old handler is dropped; may be called from inside it. Does nothing when it is no longer
    /// [in place](Registration::is_active).
    pub fn hand_over(&self, handler: Rc<dyn EventHandler>) {
        if let Some(core) = self.core.upgrade() {
            let old = core.sources.borrow_mut().replace(self.token, handler);
            drop(old);
        }
    }

    /// Whether the handler is still in place: not deregistered, not gone with its reactor, and it did not panic.
    pub fn is_active(&self) -> bool {
        self.core.upgrade().is_some_and(|core| core.sources.borrow().contains(self.token))
    }

    /// Takes the handler out, and ends the watch over the source it was registered with. The handler is never called
    /// again, even if an event for it was already fetched.
    ///
    /// # Errors
    ///
    /// What the operating system says; for instance that it does not watch this source.
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

/// Has a handler called, from wherever its readiness comes about; as given by [`Registration::waker`].
///
/// It owns nothing: when the handler was taken out, it does nothing.
#[derive(Clone)]
pub struct SourceWaker {
    core: Weak<Core>,
    token: SourceToken,
}

impl SourceWaker {
    /// What [`Registration::wake`] does.
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
