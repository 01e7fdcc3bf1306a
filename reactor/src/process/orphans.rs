//! Processes that have outlived their run. Somebody has to fetch their status, or they stay as zombies until this
//! program ends; it is done when the next process is started, or the next one is left.

use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ORPHANS: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn orphans() -> MutexGuard<'static, Vec<Child>> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add(child: Child) {
    orphans().push(child);
    reap();
}

pub(super) fn reap() {
    // One whose status cannot be had is no zombie.
    orphans().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}
