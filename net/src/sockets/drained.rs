//! Waiters for the moment when everything written is sent.

use std::io;
use std::rc::Rc;

use twistor_deferred::{Deferred, DeferredEvent};

use crate::{ConnectionAborted, ConnectionLost};

/// The waiters of one queue. A trait object, so that a program that never waits does not contain the code for
/// Deferreds, of 25 kB.
pub(crate) trait Drained {
    fn wait(&self) -> Deferred<()>;
    /// Everything is sent.
    fn sent(&self);
    /// Unsent data is lost.
    fn lost(&self);
    /// Unsent data was dropped by an abort.
    fn aborted(&self);
}

/// Creates an event without waiters.
pub(crate) fn drained() -> Rc<dyn Drained> {
    Rc::new(DeferredEvent::new())
}

impl Drained for DeferredEvent<()> {
    #[track_caller]
    fn wait(&self) -> Deferred<()> {
        DeferredEvent::wait(self)
    }

    fn sent(&self) {
        self.fire(());
    }

    fn lost(&self) {
        self.fail_with(|| ConnectionLost::new(io::ErrorKind::BrokenPipe.into()).into());
    }

    fn aborted(&self) {
        self.fail_with(|| ConnectionAborted.into());
    }
}
