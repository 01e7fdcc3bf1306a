//! Processes that outlive their run.
//!
//! Nothing waits for them in a loop any more, but their status has to be fetched when they end, or they stay as zombies
//! until this program ends. A thread waits for each.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A process that was left behind. `None` once its status was fetched; until then its number is its own.
pub(super) struct Orphan(Arc<Mutex<Option<Child>>>);

impl Orphan {
    pub(super) fn adopt(mut child: Child) -> Orphan {
        // One whose status cannot be had is not a zombie.
        if !matches!(child.try_wait(), Ok(None)) {
            return Orphan(Arc::default());
        }
        let pid = Pid::from_child(&child);
        let orphan = Arc::new(Mutex::new(Some(child)));
        let theirs = orphan.clone();
        let reap = move || {
            wait_for_end(pid);
            if let Some(mut child) = lock(&theirs).take() {
                let _ = child.wait();
            }
        };
        let name = format!("twistor-process-{}", pid.as_raw_nonzero());
        if let Err(error) = std::thread::Builder::new().name(name).spawn(reap) {
            log::warn!(
                "process {pid:?} will stay as a zombie: could not start a thread to wait for it: {error}"
            );
        }
        Orphan(orphan)
    }

    /// Sends a signal to the process, if its status was not fetched; `None` otherwise.
    pub(super) fn signal(&self, signal: Signal) -> Option<rustix::io::Result<()>> {
        let child = lock(&self.0);
        child.as_ref().map(|child| kill_process(Pid::from_child(child), signal))
    }
}

fn lock(child: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks until the process has ended. Its status is still to be fetched then, so its number is not another's.
pub(super) fn wait_for_end(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}
