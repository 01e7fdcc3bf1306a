//! Giving a signal back to the process.
//!
//! A signal handler, once installed, stays, and first calls the handler that the program had before. It can only be
//! emptied, and a signal with an empty handler is ignored. So for a signal that was at its default, the handler's first
//! action, while no reactor takes the signal, is the default one.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The process's signals that were ever taken. Signals are the process's, so this is too.
static TAKEN: Mutex<BTreeMap<i32, TakenSignal>> = Mutex::new(BTreeMap::new());

struct TakenSignal {
    claims: usize,
    before: Disposition,
    /// Whether the signal's default action follows.
    by_default: Arc<AtomicBool>,
}

/// The process's response to a signal before any reactor took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposition {
    /// Or unknown, where the system does not say.
    Default,
    Ignored,
    /// By a handler of the program.
    Handled,
}

fn taken() -> MutexGuard<'static, BTreeMap<i32, TakenSignal>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody handles this signal, for as long as this lives.
pub(super) struct Claim {
    signal: i32,
    by_default: Arc<AtomicBool>,
}

impl Claim {
    pub(super) fn new(signal: i32) -> io::Result<Claim> {
        let mut taken = taken();
        let entry = entry(&mut taken, signal)?;
        if entry.claims == 0 {
            entry.by_default.store(false, Ordering::SeqCst);
        }
        entry.claims += 1;
        Ok(Claim { signal, by_default: entry.by_default.clone() })
    }

    /// Set, it has the signal do what it does by default, until all claims are gone and a new one is made.
    pub(super) fn by_default(&self) -> Arc<AtomicBool> {
        self.by_default.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(entry) = taken().get_mut(&self.signal) {
            entry.claims -= 1;
            if entry.claims == 0 {
                entry.by_default.store(entry.before == Disposition::Default, Ordering::SeqCst);
            }
        }
    }
}

/// Whether the process was started with this signal ignored, as programs are that a script runs in the background.
pub(super) fn was_ignored(signal: i32) -> bool {
    let before = taken().get(&signal).map(|entry| entry.before);
    before.unwrap_or_else(|| disposition(signal)) == Disposition::Ignored
}

/// The process's response to a signal now, which only Linux tells.
fn disposition(signal: i32) -> Disposition {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = |name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let shift = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
        let bit = shift.and_then(|shift| 1_u64.checked_shl(shift));
        matches!((mask, bit), (Some(mask), Some(bit)) if mask & bit != 0)
    };
    if has("SigIgn:") {
        Disposition::Ignored
    } else if has("SigCgt:") {
        Disposition::Handled
    } else {
        Disposition::Default
    }
}

fn entry(taken: &mut BTreeMap<i32, TakenSignal>, signal: i32) -> io::Result<&mut TakenSignal> {
    use std::collections::btree_map::Entry;
    match taken.entry(signal) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let before = disposition(signal);
            let by_default = Arc::new(AtomicBool::new(before == Disposition::Default));
            // The default action of signals without a name, such as the real-time ones, is not known.
            if before != Disposition::Ignored && signal_hook::low_level::signal_name(signal).is_some() {
                signal_hook::flag::register_conditional_default(signal, by_default.clone())?;
            }
            Ok(entry.insert(TakenSignal { claims: 0, before, by_default }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One that does nothing by default.
    const SIGNAL: i32 = signal_hook::consts::SIGURG;

    #[test]
    fn a_signal_is_given_back_when_its_last_claim_is_gone() {
        // R10
        let first = Claim::new(SIGNAL).unwrap();
        let by_default = first.by_default();
        assert!(!by_default.load(Ordering::SeqCst));
        let second = Claim::new(SIGNAL).unwrap();
        drop(first);
        assert!(!by_default.load(Ordering::SeqCst));
        // As after the first Ctrl-C: another claim does not take that back.
        by_default.store(true, Ordering::SeqCst);
        let third = Claim::new(SIGNAL).unwrap();
        assert!(by_default.load(Ordering::SeqCst));
        by_default.store(false, Ordering::SeqCst);
        drop((second, third));
        assert!(by_default.load(Ordering::SeqCst));
    }
}
