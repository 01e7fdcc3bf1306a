//! The records of this thread's live Deferreds.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::ladder::Key;
use super::record::Record;

/// A table that is indexed by slot. A tree by number would make each event of a million Deferreds slow.
#[derive(Default)]
struct Registry {
    made: u64,
    slots: Vec<(u64, Weak<Record>)>,
    free: Vec<usize>,
}

thread_local! {
    /// Deferreds belong to a thread, and `live` is to find those that nothing else leads to.
    static REGISTRY: RefCell<Registry> = RefCell::default();
}

/// Adds a record. A thread that is ending has no use for it.
pub(super) fn add(record: &Weak<Record>) -> Key {
    let add = |registry: &RefCell<Registry>| {
        let mut registry = registry.borrow_mut();
        registry.made += 1;
        let entry = (registry.made, record.clone());
        let id = entry.0;
        let slot = match registry.free.pop() {
            Some(slot) => {
                registry.slots[slot] = entry;
                slot
            }
            None => {
                registry.slots.push(entry);
                registry.slots.len() - 1
            }
        };
        Key { id, slot }
    };
    REGISTRY.try_with(add).unwrap_or(Key { id: 0, slot: usize::MAX })
}

pub(super) fn find(key: Key) -> Option<Rc<Record>> {
    let find = |registry: &RefCell<Registry>| {
        let registry = registry.borrow();
        let (id, record) = registry.slots.get(key.slot)?;
        if *id == key.id { record.upgrade() } else { None }
    };
    REGISTRY.try_with(find).ok().flatten()
}

pub(super) fn remove(key: Key) {
    let remove = |registry: &RefCell<Registry>| {
        let mut registry = registry.borrow_mut();
        match registry.slots.get_mut(key.slot) {
            Some(entry) if entry.0 == key.id => *entry = (0, Weak::new()),
            _ => return,
        }
        registry.free.push(key.slot);
        if registry.free.len() == registry.slots.len() {
            // The memory of a burst is returned.
            (registry.slots, registry.free) = (Vec::new(), Vec::new());
        }
    };
    let _ = REGISTRY.try_with(remove);
}

/// The records of this thread, in the order in which their Deferreds were made.
pub(super) fn records() -> Vec<Rc<Record>> {
    let all = |registry: &RefCell<Registry>| -> Vec<Rc<Record>> {
        registry.borrow().slots.iter().filter_map(|(_, record)| record.upgrade()).collect()
    };
    let mut records = REGISTRY.with(all);
    records.sort_unstable_by_key(|record| record.key.id);
    records
}

/// The number that this thread's next Deferred will have.
pub(super) fn next_id() -> u64 {
    REGISTRY.try_with(|registry| registry.borrow().made).unwrap_or_default() + 1
}
