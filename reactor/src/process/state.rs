//! How far a process has got on its way out.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::process::ExitStatus;
use std::rc::Rc;

use rustix::process::Signal;
use twistor_deferred::{Abandoned, Deferred, DeferredEvent};

use super::orphans::Orphan;

/// The process has ended, but how is not known: something else in this program has fetched its status, or children are
/// ignored by SIGCHLD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatusLost {
    id: u32,
}

impl ExitStatusLost {
    /// The process's number.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for ExitStatusLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} has ended, but its exit status was fetched by something else", self.id)
    }
}

impl std::error::Error for ExitStatusLost {}

#[derive(Clone, Copy, Debug)]
pub(super) enum ProcessStatus {
    Running,
    /// With the status, unless it was lost.
    Exited(Option<ExitStatus>),
    /// The run ended before the process.
    LeftBehind,
}

/// Shared by all that belongs to a process.
pub(super) struct ProcessState {
    id: u32,
    status: Cell<ProcessStatus>,
    open_pipes: Cell<usize>,
    /// Set when the run ended before the process.
    orphan: RefCell<Option<Orphan>>,
    exited: DeferredEvent<ExitStatus>,
    ended: DeferredEvent<ExitStatus>,
}

impl ProcessState {
    pub(super) fn new(id: u32) -> ProcessState {
        ProcessState {
            id,
            status: Cell::new(ProcessStatus::Running),
            open_pipes: Cell::new(0),
            orphan: RefCell::default(),
            exited: DeferredEvent::new(),
            ended: DeferredEvent::new(),
        }
    }

    pub(super) fn status(&self) -> ProcessStatus {
        self.status.get()
    }

    #[track_caller]
    pub(super) fn exited(&self) -> Deferred<ExitStatus> {
        self.exited.wait()
    }

    #[track_caller]
    pub(super) fn ended(&self) -> Deferred<ExitStatus> {
        self.ended.wait()
    }

    pub(super) fn set_exited(&self, status: Option<ExitStatus>) {
        self.status.set(ProcessStatus::Exited(status));
        self.fire(&self.exited, status);
        self.fire_if_ended();
    }

    /// The run ends before the process, which is killed unless it is an orphan now.
    pub(super) fn leave_behind(&self, orphan: Option<Orphan>) {
        self.status.set(ProcessStatus::LeftBehind);
        self.orphan.replace(orphan);
        self.exited.fail(Abandoned);
        self.ended.fail(Abandoned);
    }

    /// Sends a signal to the process, if the run ended before it and it has not ended since; `None` otherwise.
    pub(super) fn signal_orphan(&self, signal: Signal) -> Option<rustix::io::Result<()>> {
        self.orphan.borrow().as_ref()?.signal(signal)
    }

    fn fire_if_ended(&self) {
        if let (0, ProcessStatus::Exited(status)) = (self.open_pipes.get(), self.status.get()) {
            self.fire(&self.ended, status);
        }
    }

    fn fire(&self, event: &DeferredEvent<ExitStatus>, status: Option<ExitStatus>) {
        match status {
            Some(status) => event.fire(status),
            None => event.fail(ExitStatusLost { id: self.id }),
        }
    }
}

/// One pipe to the process, for as long as it is open.
pub(super) struct OpenPipe(Rc<ProcessState>);

impl OpenPipe {
    pub(super) fn new(state: &Rc<ProcessState>) -> OpenPipe {
        state.open_pipes.set(state.open_pipes.get() + 1);
        OpenPipe(state.clone())
    }
}

impl Drop for OpenPipe {
    fn drop(&mut self) {
        self.0.open_pipes.set(self.0.open_pipes.get() - 1);
        self.0.fire_if_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_waiters_leave() {
        // R12.2
        let state = ProcessState::new(1);
        for _ in 0..10 {
            for waiter in [state.exited(), state.ended()] {
                waiter.cancel();
                drop(waiter.add_both(|_| ()));
            }
        }
        assert_eq!((state.exited.waiting(), state.ended.waiting()), (0, 0));
    }
}
