//! The table of pending timers.

use super::heap::Heap;
use super::{SMALL, TimerEntry};

/// The id of a timer. It refers to nothing after the timer is no longer pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    slot: u32,
    generation: u32,
}

impl TimerId {
    /// The id of no timer.
    pub(crate) const NONE: TimerId = TimerId { slot: u32::MAX, generation: u32::MAX };
}

/// The end of the list of vacant slots.
const END: u32 = u32::MAX;
/// The generation of a slot that was used 2^32 times. It is not used again, so that no old id refers to a new timer.
const RETIRED: u32 = u32::MAX;

/// Values by slot. An id is a slot and the slot's generation, which changes whenever the slot becomes vacant.
#[derive(Debug)]
pub(super) struct TimerSlots<T> {
    table: Vec<TimerSlot<T>>,
    /// The vacant slot to use next.
    vacant: u32,
    occupied: usize,
    /// The first sequence number whose entry has not been fetched. Numbers begin at 1, so that 0 is earlier than all.
    entered: u32,
    /// All slots from this one on are new: none of their timers has been fetched.
    fresh: usize,
    /// The other slots with a number from `entered` on, each of them once.
    reused: Vec<u32>,
    /// The generation of a new slot: later than that of any slot that was cut off.
    youngest: u32,
    /// The number of pending timers when the table was last cut. It bounds the total cost of cutting.
    cut_at: usize,
}

#[derive(Debug)]
struct TimerSlot<T> {
    /// `None` while the slot is vacant.
    value: Option<T>,
    /// The timer's deadline. In a vacant slot, the next vacant slot.
    deadline: u64,
    /// The sequence number of the timer's current entry. Entries with other numbers are leftovers.
    sequence: u32,
    generation: u32,
}

impl<T> TimerSlots<T> {
    pub(super) fn new() -> TimerSlots<T> {
        TimerSlots {
            table: Vec::new(),
            vacant: END,
            occupied: 0,
            entered: 1,
            fresh: 0,
            reused: Vec::new(),
            youngest: 0,
            cut_at: usize::MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    /// Adds a timer. Returns the value if there are already 2^32 timers.
    #[inline]
    pub(super) fn insert(&mut self, deadline: u64, sequence: u32, value: T) -> Result<TimerId, T> {
        let slot = self.vacant;
        let Some(vacant) = self.table.get_mut(slot as usize) else {
            return self.append(deadline, sequence, value);
        };
        self.vacant = vacant.deadline as u32;
        let before = vacant.sequence;
        (vacant.value, vacant.deadline, vacant.sequence) = (Some(value), deadline, sequence);
        let generation = vacant.generation;
        self.occupied += 1;
        self.note(slot, before);
        Ok(TimerId { slot, generation })
    }

    /// Notes that this slot has a new sequence number, unless it is already known to have one.
    #[inline]
    fn note(&mut self, slot: u32, before: u32) {
        if before < self.entered && (slot as usize) < self.fresh {
            self.reused.push(slot);
        }
    }

    fn append(&mut self, deadline: u64, sequence: u32, value: T) -> Result<TimerId, T> {
        let Some(slot) = u32::try_from(self.table.len()).ok().filter(|&slot| slot != END) else {
            return Err(value);
        };
        let generation = self.youngest;
        self.table.push(TimerSlot { value: Some(value), deadline, sequence, generation });
        self.occupied += 1;
        self.cut_at = usize::MAX;
        Ok(TimerId { slot, generation })
    }

    #[inline]
    pub(super) fn remove(&mut self, id: TimerId) -> Option<T> {
        let slot = self.table.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        self.release(id.slot);
        Some(value)
    }

    /// Removes the timer of this entry, unless the entry is a leftover.
    #[inline]
    pub(super) fn take(&mut self, entry: &TimerEntry) -> Option<T> {
        let slot =
            self.table.get_mut(entry.slot() as usize).filter(|slot| slot.sequence == entry.sequence())?;
        let value = slot.value.take()?;
        self.release(entry.slot());
        Some(value)
    }

    #[inline]
    fn release(&mut self, index: u32) {
        self.occupied -= 1;
        if let Some(slot) = self.table.get_mut(index as usize) {
            slot.generation += 1;
            if slot.generation != RETIRED {
                slot.deadline = u64::from(self.vacant);
                self.vacant = index;
            }
        }
    }

    pub(super) fn deadline(&self, id: TimerId) -> Option<u64> {
        let slot = self.table.get(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.value.is_some().then_some(slot.deadline)
    }

    pub(super) fn first_after(&self, time: u64) -> Option<u64> {
        let pending = self.table.iter().filter(|slot| slot.value.is_some());
        pending.map(|slot| slot.deadline).filter(|&deadline| deadline > time).min()
    }

    /// Returns the deadline, sequence number and value of each pending timer, in no particular order.
    pub(super) fn pending(&self) -> impl Iterator<Item = (u64, u32, &T)> {
        self.table.iter().filter_map(|slot| Some((slot.deadline, slot.sequence, slot.value.as_ref()?)))
    }

    /// Changes the deadline of a pending timer. Returns false if the timer is not pending.
    pub(super) fn reschedule(&mut self, id: TimerId, deadline: u64, sequence: u32) -> bool {
        let Some(slot) = self.table.get_mut(id.slot as usize) else { return false };
        if slot.generation != id.generation || slot.value.is_none() {
            return false;
        }
        let before = std::mem::replace(&mut slot.sequence, sequence);
        slot.deadline = deadline;
        self.note(id.slot, before);
        true
    }

    /// Returns the first sequence number whose entry has not been fetched.
    #[inline]
    pub(super) fn entered(&self) -> u32 {
        self.entered
    }

    /// Passes on the entries of all timers that were scheduled since the last call. `next` is the next sequence number.
    pub(super) fn fetch(&mut self, next: u32, mut enter: impl FnMut(TimerEntry)) {
        self.entered = next;
        let reused = self.reused.iter().map(|&index| index as usize);
        for index in reused.chain(self.fresh..self.table.len()) {
            if let Some(slot) = self.table.get(index).filter(|slot| slot.value.is_some()) {
                enter(TimerEntry::new(slot.deadline, slot.sequence, index as u32));
            }
        }
        self.fresh = self.table.len();
        self.reused.clear();
        if self.reused.capacity() > SMALL {
            self.reused = Vec::new();
        }
    }

    /// Returns whether this is its timer's current entry, and not a leftover.
    #[inline]
    pub(super) fn counts(&self, entry: &TimerEntry) -> bool {
        self.table
            .get(entry.slot() as usize)
            .is_some_and(|slot| slot.sequence == entry.sequence() && slot.value.is_some())
    }

    pub(super) fn touch(&self, entry: &TimerEntry, touch: fn(&T)) {
        if let Some(value) = self.table.get(entry.slot() as usize).and_then(|slot| slot.value.as_ref()) {
            touch(value);
        }
    }

    /// Renumbers the pending timers from 1, in the order in which they were scheduled, and returns all entries.
    #[cold]
    pub(super) fn renumber(&mut self) -> Vec<TimerEntry> {
        let mut by_sequence = Heap::default();
        for (index, slot) in self.table.iter().enumerate().filter(|(_, slot)| slot.value.is_some()) {
            by_sequence.push(TimerEntry::new(slot.sequence.into(), 0, index as u32));
        }
        // The numbers of vacant slots must be earlier than all others.
        self.table.iter_mut().for_each(|slot| slot.sequence = 0);
        let mut entries = Vec::with_capacity(self.occupied);
        while let Some(next) = by_sequence.pop() {
            if let Some(slot) = self.table.get_mut(next.slot() as usize) {
                slot.sequence = entries.len() as u32 + 1;
                entries.push(TimerEntry::new(slot.deadline, slot.sequence, next.slot()));
            }
        }
        self.fetch(entries.len() as u32 + 1, |_| ());
        entries
    }

    /// Removes all values, in no particular order. No existing id refers to a timer any more.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.occupied);
        for index in 0..self.table.len() {
            if let Some(value) = self.table[index].value.take() {
                self.release(index as u32);
                values.push(value);
            }
        }
        self.cut();
        values
    }

    /// Cuts vacant slots off the end of a table that is much larger than necessary.
    #[inline]
    pub(super) fn trim(&mut self) {
        let (occupied, slots) = (self.occupied, self.table.len());
        if slots > SMALL && occupied <= slots / 4 && occupied <= self.cut_at / 2 && occupied < self.cut_at {
            self.cut();
        }
    }

    #[cold]
    fn cut(&mut self) {
        self.cut_at = self.occupied;
        let needed = |slot: &TimerSlot<T>| slot.value.is_some() || slot.generation == RETIRED;
        let length = self.table.iter().rposition(needed).map_or(0, |last| last + 1);
        let length = length.max(SMALL.min(self.table.len()));
        for slot in self.table.drain(length..) {
            self.youngest = self.youngest.max(slot.generation);
        }
        self.table.shrink_to(length);
        self.fresh = self.fresh.min(length);
        self.reused.retain(|&index| (index as usize) < length);
        self.vacant = END;
        for index in (0..self.table.len()).rev() {
            let slot = &mut self.table[index];
            if slot.value.is_none() && slot.generation != RETIRED {
                slot.deadline = u64::from(self.vacant);
                self.vacant = index as u32;
            }
        }
    }

    #[cfg(test)]
    pub(super) const SLOT_SIZE: usize = size_of::<TimerSlot<T>>();

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.table.capacity()
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, generation: u32) {
        for slot in self.table.iter_mut().filter(|slot| slot.value.is_none()) {
            slot.generation = generation;
        }
        self.youngest = generation;
    }
}
