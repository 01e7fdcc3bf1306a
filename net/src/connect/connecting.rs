//! The state of a connection that is being made: its reactor, stage and deadline.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::{Cancelled, Canceller, Deferred};
use twistor_reactor::Handle;

use crate::{ConnectStage, ConnectTimedOut};

/// A connection that is being made, passed to a [`Connect`](super::Connect).
///
/// A timeout error names the target and stage of the moment when it expires. Clones refer to the same
/// connection.
#[derive(Clone)]
pub struct Connecting(Rc<ConnectState>);

struct ConnectState {
    handle: Handle,
    /// Formatted only when it is reported.
    target: RefCell<Rc<dyn fmt::Display>>,
    stage: Cell<Option<ConnectStage>>,
    deadline: Cell<Option<Instant>>,
}

impl Connecting {
    /// Creates the state of a connection to `target`, which error messages name. No stage has begun yet.
    pub fn new(handle: &Handle, target: impl fmt::Display + 'static) -> Connecting {
        Connecting(Rc::new(ConnectState {
            handle: handle.clone(),
            target: RefCell::new(Rc::new(target)),
            stage: Cell::new(None),
            deadline: Cell::new(None),
        }))
    }

    /// Returns the reactor to connect on.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Records that `stage` begins now.
    pub fn enter(&self, stage: ConnectStage) {
        self.0.stage.set(Some(stage));
    }

    /// Records that the target so far, such as a proxy, is reached, and that connecting to the next target
    /// begins.
    pub fn go_on(&self, target: impl fmt::Display + 'static, stage: ConnectStage) {
        self.0.target.replace(Rc::new(target));
        self.enter(stage);
    }

    /// Returns the target as text.
    pub fn target(&self) -> String {
        self.0.target.borrow().to_string()
    }

    /// Returns the current stage; `None` before the first one.
    pub fn stage(&self) -> Option<ConnectStage> {
        self.0.stage.get()
    }

    /// Returns the deadline; `None` without a timeout, or before a call of [`within`](Connecting::within).
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Runs `connect`, and cancels its Deferred if it takes longer than `timeout` or the run ends first.
    ///
    /// # Errors
    ///
    /// [`ConnectTimedOut`] with the current target and stage, or the failure of the Deferred.
    #[track_caller]
    pub fn within<T: 'static>(
        &self,
        timeout: Duration,
        connect: impl FnOnce(&Connecting) -> Deferred<T>,
    ) -> Deferred<T> {
        self.0.deadline.set(self.0.handle.now().checked_add(timeout));
        let deferred = connect(self);
        if deferred.is_fired() {
            return deferred;
        }
        let canceller = deferred.canceller();
        // A separate Deferred, so that an unhandled failure is attributed to the caller.
        let (connected, trigger) = Deferred::with_canceller({
            let canceller = canceller.clone();
            move |_| canceller.cancel()
        });
        let expired = Rc::new(Cell::new(false));
        let expire = expired.clone();
        let cancel = CancelOnDrop(canceller);
        let timer = self.0.handle.call_later(timeout, move || {
            expire.set(true);
            drop(cancel);
        });
        let connecting = self.clone();
        drop(deferred.add_both(move |result| {
            let _ = timer.cancel();
            trigger.fire(match result {
                // A connector may handle the cancellation and fail with another error, which has the details.
                Err(failure) if expired.get() && failure.is::<Cancelled>() => {
                    Err(connecting.timed_out(timeout).into())
                }
                result => result,
            });
        }));
        connected
    }

    fn timed_out(&self, after: Duration) -> ConnectTimedOut {
        let stage = self.stage().unwrap_or(ConnectStage::Answer);
        ConnectTimedOut::new(self.target(), stage, Some(after))
    }
}

/// Held by the timer. Cancels the connect at the deadline, or when the timer is dropped at the end of the
/// run.
struct CancelOnDrop(Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("target", &self.target()).field("stage", &self.stage()).finish()
    }
}
