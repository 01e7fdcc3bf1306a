//! Processes that outlive their run.
//!
//! No loop waits for them any more, but when they end, their status has to be fetched, or they stay as zombies
//! until this program ends. A thread waits for each of them.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::target::SignalTarget;

/// A process that was left behind. `None` after its status was fetched; until then its id cannot belong to another
/// process.
pub(super) struct Orphan(Arc<Mutex<Option<Child>>>);

impl Orphan {
    pub(super) fn adopt(mut child: Child) -> Orphan {
        // A process whose status cannot be fetched is not a zombie.
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
                "could not start a thread to wait for process {pid:?}: it will stay as a zombie after it ends: {error}"
            );
        }
        Orphan(orphan)
    }

    /// Sends a signal to the process. Returns `None` if its status was fetched.
    pub(super) fn signal(&self, target: SignalTarget, signal: Signal) -> Option<rustix::io::Result<()>> {
        let child = lock(&self.0);
        child.as_ref().map(|child| target.send(Pid::from_child(child), signal))
    }
}

fn lock(child: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks until the process has ended. Does not fetch its status, so its id cannot pass to another process.
pub(super) fn wait_for_end(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}
