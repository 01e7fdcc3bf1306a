//! Restoring a signal's previous effect.
//!
//! An installed signal handler stays, and first calls the handler that the program had before. It can only be
//! emptied, and a signal with an empty handler is ignored. So if a signal had its default effect, the handler's
//! first action is that default, as long as no reactor handles the signal.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The signals that a reactor has ever handled. Global, because signals belong to the process.
static TAKEN: Mutex<BTreeMap<i32, TakenSignal>> = Mutex::new(BTreeMap::new());

struct TakenSignal {
    claims: usize,
    before: Disposition,
    /// Whether the signal has its default effect.
    by_default: Arc<AtomicBool>,
}

/// The process's response to a signal before any reactor handled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposition {
    /// Also if it is unknown, because the system does not report it.
    Default,
    Ignored,
    /// A handler of the program.
    Handled,
}

fn taken() -> MutexGuard<'static, BTreeMap<i32, TakenSignal>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles a signal while it lives.
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

    /// Returns a flag that restores the signal's default effect while it is set. A new claim clears it if there is
    /// no other.
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

/// Returns whether the process was started with this signal ignored, as programs that a script runs in the
/// background are.
pub(super) fn was_ignored(signal: i32) -> bool {
    let before = taken().get(&signal).map(|entry| entry.before);
    before.unwrap_or_else(|| disposition(signal)) == Disposition::Ignored
}

/// Returns the process's current response to a signal, which only Linux reports.
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
            // The default effect of signals without a name, such as real-time signals, is unknown.
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

    // A signal without an effect by default.
    const SIGNAL: i32 = signal_hook::consts::SIGURG;

    #[test]
    fn a_signal_is_restored_when_its_last_claim_is_dropped() {
        // R10
        let first = Claim::new(SIGNAL).unwrap();
        let by_default = first.by_default();
        assert!(!by_default.load(Ordering::SeqCst));
        let second = Claim::new(SIGNAL).unwrap();
        drop(first);
        assert!(!by_default.load(Ordering::SeqCst));
        // As after the first Ctrl-C. Another claim does not undo that.
        by_default.store(true, Ordering::SeqCst);
        let third = Claim::new(SIGNAL).unwrap();
        assert!(by_default.load(Ordering::SeqCst));
        by_default.store(false, Ordering::SeqCst);
        drop((second, third));
        assert!(by_default.load(Ordering::SeqCst));
    }
}
