//! The table of pending timers.

use super::heap::Heap;
use super::{SMALL, TimerEntry};

/// The id of a timer. It refers to nothing after the timer is no longer pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u64);

impl TimerId {
    /// The id of no timer.
    pub(crate) const NONE: TimerId = TimerId(u64::MAX);

    /// One number for both, so that a handle with an id is returned in registers.
    #[inline]
    fn new(slot: u32, generation: u32) -> TimerId {
        TimerId(u64::from(generation) << 32 | u64::from(slot))
    }

    #[inline]
    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The end of the list of vacant slots.
const END: u32 = u32::MAX;
/// The generation of a slot that was used 2^32 times. It is not used again, so that no old id refers to a new timer.
const RETIRED: u32 = u32::MAX;

/// Values by slot. An id is a slot and the slot's generation, which changes whenever the slot becomes vacant.
#[derive(Debug)]
pub(super) struct TimerSlots<T> {
    table: Vec<TimerSlot<T>>,
    /// The deadlines, by slot. They are apart because cancelling does not need them: it touches less memory.
    deadlines: Vec<u64>,
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
    state: SlotState<T>,
    /// The sequence number of the timer's current entry. Entries with other numbers are leftovers.
    sequence: u32,
    generation: u32,
}

#[derive(Debug)]
enum SlotState<T> {
    Pending(T),
    /// With the vacant slot to use next.
    Vacant(u32),
}

impl<T> TimerSlot<T> {
    #[inline]
    fn value(&self) -> Option<&T> {
        match &self.state {
            SlotState::Pending(value) => Some(value),
            SlotState::Vacant(_) => None,
        }
    }

    /// Takes the value, and puts the slot first into the list of vacant slots.
    #[inline]
    fn vacate(&mut self, index: u32, vacant: &mut u32) -> Option<T> {
        match std::mem::replace(&mut self.state, SlotState::Vacant(*vacant)) {
            SlotState::Pending(value) => {
                self.generation += 1;
                if self.generation != RETIRED {
                    *vacant = index;
                }
                Some(value)
            }
            was => {
                self.state = was;
                None
            }
        }
    }
}

impl<T> TimerSlots<T> {
    pub(super) fn new() -> TimerSlots<T> {
        TimerSlots {
            table: Vec::new(),
            deadlines: Vec::new(),
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
    #[inline(always)]
    pub(super) fn insert(&mut self, deadline: u64, sequence: u32, value: T) -> Result<TimerId, T> {
        let index = self.vacant;
        let (Some(slot), Some(due)) =
            (self.table.get_mut(index as usize), self.deadlines.get_mut(index as usize))
        else {
            return self.append(deadline, sequence, value);
        };
        if let SlotState::Vacant(next) = std::mem::replace(&mut slot.state, SlotState::Pending(value)) {
            self.vacant = next;
        }
        let before = std::mem::replace(&mut slot.sequence, sequence);
        let id = TimerId::new(index, slot.generation);
        *due = deadline;
        self.occupied += 1;
        self.note(index, before);
        Ok(id)
    }

    /// Notes that this slot has a new sequence number, unless it is already known to have one.
    #[inline]
    fn note(&mut self, slot: u32, before: u32) {
        if before < self.entered && (slot as usize) < self.fresh {
            self.reused.push(slot);
        }
    }

    #[cold]
    fn append(&mut self, deadline: u64, sequence: u32, value: T) -> Result<TimerId, T> {
        let Some(slot) = u32::try_from(self.table.len()).ok().filter(|&slot| slot != END) else {
            return Err(value);
        };
        let generation = self.youngest;
        self.table.push(TimerSlot { state: SlotState::Pending(value), sequence, generation });
        self.deadlines.push(deadline);
        self.occupied += 1;
        self.cut_at = usize::MAX;
        Ok(TimerId::new(slot, generation))
    }

    #[inline]
    pub(super) fn remove(&mut self, id: TimerId) -> Option<T> {
        let slot =
            self.table.get_mut(id.slot() as usize).filter(|slot| slot.generation == id.generation())?;
        let value = slot.vacate(id.slot(), &mut self.vacant)?;
        self.occupied -= 1;
        Some(value)
    }

    /// Removes the timer of this entry, unless the entry is a leftover.
    #[inline]
    pub(super) fn take(&mut self, entry: &TimerEntry) -> Option<T> {
        let slot =
            self.table.get_mut(entry.slot() as usize).filter(|slot| slot.sequence == entry.sequence())?;
        let value = slot.vacate(entry.slot(), &mut self.vacant)?;
        self.occupied -= 1;
        Some(value)
    }

    pub(super) fn deadline(&self, id: TimerId) -> Option<u64> {
        let slot = self.table.get(id.slot() as usize).filter(|slot| slot.generation == id.generation())?;
        slot.value().and_then(|_| self.deadlines.get(id.slot() as usize)).copied()
    }

    fn with_deadlines(&self) -> impl Iterator<Item = (&TimerSlot<T>, u64)> {
        self.table.iter().zip(self.deadlines.iter().copied())
    }

    pub(super) fn first_after(&self, time: u64) -> Option<u64> {
        let later =
            self.with_deadlines().filter(|(slot, deadline)| *deadline > time && slot.value().is_some());
        later.map(|(_, deadline)| deadline).min()
    }

    /// Returns the deadline, sequence number and value of each pending timer, in no particular order.
    pub(super) fn pending(&self) -> impl Iterator<Item = (u64, u32, &T)> {
        self.with_deadlines().filter_map(|(slot, deadline)| Some((deadline, slot.sequence, slot.value()?)))
    }

    /// Changes the deadline of a pending timer. Returns false if the timer is not pending.
    pub(super) fn reschedule(&mut self, id: TimerId, deadline: u64, sequence: u32) -> bool {
        let index = id.slot() as usize;
        let (Some(slot), Some(due)) = (self.table.get_mut(index), self.deadlines.get_mut(index)) else {
            return false;
        };
        if slot.generation != id.generation() || slot.value().is_none() {
            return false;
        }
        let before = std::mem::replace(&mut slot.sequence, sequence);
        *due = deadline;
        self.note(id.slot(), before);
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
        let mut enter = |index: usize| {
            if let (Some(slot), Some(&deadline)) = (self.table.get(index), self.deadlines.get(index)) {
                if slot.value().is_some() {
                    enter(TimerEntry::new(deadline, slot.sequence, index as u32));
                }
            }
        };
        self.reused.iter().for_each(|&index| enter(index as usize));
        (self.fresh..self.table.len()).for_each(enter);
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
            .is_some_and(|slot| slot.sequence == entry.sequence() && slot.value().is_some())
    }

    pub(super) fn touch(&self, entry: &TimerEntry, touch: fn(&T)) {
        if let Some(value) = self.table.get(entry.slot() as usize).and_then(TimerSlot::value) {
            touch(value);
        }
    }

    /// Renumbers the pending timers from 1, in the order in which they were scheduled, and returns all entries.
    #[cold]
    pub(super) fn renumber(&mut self) -> Vec<TimerEntry> {
        let mut by_sequence = Heap::default();
        for (index, slot) in self.table.iter().enumerate().filter(|(_, slot)| slot.value().is_some()) {
            by_sequence.push(TimerEntry::new(slot.sequence.into(), 0, index as u32));
        }
        // The numbers of vacant slots must be earlier than all others.
        self.table.iter_mut().for_each(|slot| slot.sequence = 0);
        let mut entries = Vec::with_capacity(self.occupied);
        while let Some(next) = by_sequence.pop() {
            let index = next.slot() as usize;
            if let (Some(slot), Some(&deadline)) = (self.table.get_mut(index), self.deadlines.get(index)) {
                slot.sequence = entries.len() as u32 + 1;
                entries.push(TimerEntry::new(deadline, slot.sequence, next.slot()));
            }
        }
        self.fetch(entries.len() as u32 + 1, |_| ());
        entries
    }

    /// Removes all values, in no particular order. No existing id refers to a timer any more.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.occupied);
        for (index, slot) in self.table.iter_mut().enumerate() {
            values.extend(slot.vacate(index as u32, &mut self.vacant));
        }
        self.occupied = 0;
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
        let needed = |slot: &TimerSlot<T>| slot.value().is_some() || slot.generation == RETIRED;
        let length = self.table.iter().rposition(needed).map_or(0, |last| last + 1);
        let length = length.max(SMALL.min(self.table.len()));
        for slot in self.table.drain(length..) {
            self.youngest = self.youngest.max(slot.generation);
        }
        self.table.shrink_to(length);
        self.deadlines.truncate(length);
        self.deadlines.shrink_to(length);
        self.fresh = self.fresh.min(length);
        self.reused.retain(|&index| (index as usize) < length);
        self.vacant = END;
        for index in (0..self.table.len()).rev() {
            let slot = &mut self.table[index];
            if slot.value().is_none() && slot.generation != RETIRED {
                slot.state = SlotState::Vacant(self.vacant);
                self.vacant = index as u32;
            }
        }
    }

    #[cfg(test)]
    pub(super) const SLOT_SIZE: usize = size_of::<TimerSlot<T>>();

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.table.capacity().max(self.reused.capacity())
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, generation: u32) {
        for slot in self.table.iter_mut().filter(|slot| slot.value().is_none()) {
            slot.generation = generation;
        }
        self.youngest = generation;
    }
}
