//! A redirect that is followed after its body.

use std::cell::Cell;

use twistor_reactor::DelayedCall;

use crate::Redirect;

/// How much of a redirect's body is read to keep its connection.
pub(super) const SKIPPED_BYTES: u64 = 64 << 10;

pub(super) struct Skipping {
    redirect: Redirect,
    left: Cell<u64>,
    timer: DelayedCall,
}

impl Skipping {
    pub(super) fn new(redirect: Redirect, timer: DelayedCall) -> Skipping {
        Skipping { redirect, left: Cell::new(SKIPPED_BYTES), timer }
    }

    /// Counts bytes of the body. Returns whether the limit is reached.
    pub(super) fn is_enough(&self, count: usize) -> bool {
        self.left.set(self.left.get().saturating_sub(count as u64));
        self.left.get() == 0
    }

    pub(super) fn into_redirect(self) -> Redirect {
        let _ = self.timer.cancel();
        self.redirect
    }
}
