//! A connection that is being made: its reactor, how far it has come, and until when it may take.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::{Cancelled, Canceller, Deferred};
use twistor_reactor::Handle;

use crate::{ConnectStage, ConnectTimedOut};

/// A connection that is being made, as a [`Connect`](super::Connect) sees it.
///
/// A timeout reports the target and the stage of this moment. Clones are of the same connection.
#[derive(Clone)]
pub struct Connecting(Rc<ConnectState>);

struct ConnectState {
    handle: Handle,
    /// Put into words only when it is reported.
    target: RefCell<Rc<dyn fmt::Display>>,
    stage: Cell<Option<ConnectStage>>,
    deadline: Cell<Option<Instant>>,
}

impl Connecting {
    /// A connection to `target`, which errors name, that has not begun to be made.
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

    /// Notes the stage that begins now.
    pub fn enter(&self, stage: ConnectStage) {
        self.0.stage.set(Some(stage));
    }

    /// Notes that the target so far, such as a proxy, is reached, and that the way on to another begins.
    pub fn go_on(&self, target: impl fmt::Display + 'static, stage: ConnectStage) {
        self.0.target.replace(Rc::new(target));
        self.enter(stage);
    }

    /// Returns the target in words.
    pub fn target(&self) -> String {
        self.0.target.borrow().to_string()
    }

    /// Returns the stage; `None` before the first.
    pub fn stage(&self) -> Option<ConnectStage> {
        self.0.stage.get()
    }

    /// Returns when the time is over; `None` if there is no limit, or [`within`](Connecting::within) has not begun.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Runs `connect`, and cancels its Deferred when it takes longer than `timeout` or the run ends first.
    ///
    /// # Errors
    ///
    /// [`ConnectTimedOut`], with the target and the stage of that moment, or the failure of the Deferred.
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
        // Another Deferred, so that an unhandled failure is attributed to the caller's.
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
        ConnectTimedOut { target: self.target(), stage, after: Some(after), others: Vec::new() }
    }
}

/// The timer's side: it cancels at the deadline, or when the run ends before it.
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
