//! The state of a process, as all parts of it share it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::process::ExitStatus;
use std::rc::Rc;

use rustix::process::Signal;
use twistor_deferred::{Abandoned, Deferred, DeferredEvent};

use super::orphans::Orphan;
use super::target::SignalTarget;

/// The process has ended, but its exit status is unknown: other code in this program has fetched it, or the program
/// ignores SIGCHLD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatusLost {
    id: u32,
}

impl ExitStatusLost {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for ExitStatusLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the exit status of process {} is lost: other code in this program has fetched it", self.id)
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

/// The state shared by the clones of a process and its pipes.
pub(super) struct ProcessState {
    id: u32,
    status: Cell<ProcessStatus>,
    open_pipes: Cell<usize>,
    /// Set if the run ended before the process.
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

    /// Records that the run ended before the process. Without an orphan, the process was killed.
    pub(super) fn leave_behind(&self, orphan: Option<Orphan>) {
        self.status.set(ProcessStatus::LeftBehind);
        self.orphan.replace(orphan);
        self.exited.fail(Abandoned);
        self.ended.fail(Abandoned);
    }

    /// Sends a signal to a process that has outlived its run. Returns `None` if it has not, or has ended since.
    pub(super) fn signal_orphan(
        &self,
        target: SignalTarget,
        signal: Signal,
    ) -> Option<rustix::io::Result<()>> {
        self.orphan.borrow().as_ref()?.signal(target, signal)
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

/// Counts as one open pipe to the process while it lives.
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
    fn cancelled_waits_leave_nothing_behind() {
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
