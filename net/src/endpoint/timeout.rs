//! The time that connecting may take, and how far it has come when that is over.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Canceller, Deferred};
use twistor_reactor::Handle;

use crate::{ConnectStage, ConnectTimedOut};

/// What is being connected to at the moment, and how far that has come.
#[derive(Clone)]
pub(crate) struct Progress(Rc<State>);

struct State {
    /// Put into words only when it is told.
    target: RefCell<Rc<dyn Display>>,
    stage: Cell<Option<ConnectStage>>,
}

impl Progress {
    pub(crate) fn new(target: Rc<dyn Display>) -> Progress {
        Progress(Rc::new(State { target: RefCell::new(target), stage: Cell::new(None) }))
    }

    pub(crate) fn enter(&self, stage: ConnectStage) {
        self.0.stage.set(Some(stage));
    }

    /// What was to be connected to is there, and the way on from it, to what matters, begins.
    #[cfg(all(feature = "http", feature = "tls"))]
    pub(crate) fn go_on(&self, target: String, stage: ConnectStage) {
        self.0.target.replace(Rc::new(target));
        self.enter(stage);
    }

    pub(crate) fn target(&self) -> String {
        self.0.target.borrow().to_string()
    }

    /// None before the first.
    pub(crate) fn stage(&self) -> Option<ConnectStage> {
        self.0.stage.get()
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

/// The result of `deferred`, or [`ConnectTimedOut`] when it takes longer than `timeout`; then it is cancelled. So it is
/// when the run ends first.
#[track_caller]
pub(crate) fn within<T: 'static>(
    handle: &Handle,
    deferred: Deferred<T>,
    timeout: Duration,
    progress: Progress,
) -> Deferred<T> {
    if deferred.is_fired() {
        return deferred;
    }
    let canceller = deferred.canceller();
    // A Deferred of its own, so that a failure nobody handles is told to be in that of whoever connects.
    let (connected, trigger) = Deferred::with_canceller({
        let canceller = canceller.clone();
        move |_| canceller.cancel()
    });
    let expired = Rc::new(Cell::new(false));
    let expire = expired.clone();
    let cancel = CancelOnDrop(canceller);
    let timer = handle.call_later(timeout, move || {
        expire.set(true);
        drop(cancel);
    });
    drop(deferred.add_both(move |result| {
        let _ = timer.cancel();
        trigger.fire(match result {
            Err(failure) if expired.get() && failure.is::<Cancelled>() => {
                Err(progress.timed_out(timeout).into())
            }
            result => result,
        });
    }));
    connected
}
