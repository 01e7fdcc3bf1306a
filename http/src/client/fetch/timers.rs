//! The timers of a request, and the progress that they check.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use twistor_reactor::DelayedCall;

#[derive(Default)]
pub(super) struct FetchTimers {
    pub(super) whole: RefCell<Option<DelayedCall>>,
    pub(super) idle: RefCell<Option<DelayedCall>>,
    pub(super) rate: RefCell<Option<DelayedCall>>,
    /// When the server last sent or accepted data, or was last given something to do.
    pub(super) heard: Cell<Option<Instant>>,
    /// The unsent bytes at the last check of progress.
    pub(super) unsent: Cell<usize>,
    /// The bytes of the body in this period of the minimum rate. `None` if this side held it up.
    pub(super) came: Cell<Option<u64>>,
}

impl FetchTimers {
    /// Counts bytes of the body.
    pub(super) fn count(&self, bytes: usize) {
        self.came.set(self.came.get().map(|came| came + bytes as u64));
    }

    /// Ends the checks of the server, because it has nothing more to do.
    pub(super) fn stop_watching_the_server(&self) {
        cancel(&self.idle);
        cancel(&self.rate);
    }

    pub(super) fn stop(&self) {
        self.stop_watching_the_server();
        cancel(&self.whole);
    }
}

pub(super) fn cancel(timer: &RefCell<Option<DelayedCall>>) {
    if let Some(call) = timer.borrow_mut().take() {
        let _ = call.cancel();
    }
}
