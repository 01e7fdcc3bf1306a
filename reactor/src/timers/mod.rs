//! The timer queue: a data structure without a clock and without callbacks.
//!
//! A table of slots holds the values, and a ladder queue holds a small entry for each value, in the order of
//! `(deadline, sequence)`. Inserting a timer fills a slot. Its entry is made when the first deadline is requested next,
//! so a timer that is removed before takes no part in any order. Removing a timer frees its slot and returns its value
//! in O(1). An entry that it has stays as a leftover. It is dropped when a search for the first deadline meets it, or
//! when leftovers are three quarters of all entries and are swept out together.
//!
//! The earliest deadline is exact, as in a heap, and there are no ticks, as in a wheel. The benchmark `timer_queues`
//! compares it with both.
//!
//! This file is `timers/mod.rs`, not `timers.rs`, so that the benchmark can include it by its path.

mod heap;
mod ladder;
mod slots;

use self::ladder::Ladder;
use self::slots::TimerSlots;

pub(crate) use self::slots::TimerId;

/// Leftovers are swept out when there are more entries than this per timer.
const ENTRIES_A_TIMER: usize = 4;
/// This many entries are not swept, and keep their memory after all timers are gone.
const SMALL: usize = 1024;

/// Values by deadline. Values with the same deadline are in the order in which they were scheduled.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    /// Reads what a value points to.
    touch: fn(&T),
    slots: TimerSlots<T>,
    entries: Ladder,
    /// The sequence number of the next entry, less `renumbered`.
    next: u32,
    /// Set while the queue is empty and has no memory to return, so that a turn without timers checks nothing else.
    is_clear: bool,
    /// The sum subtracted from all sequence numbers, to keep them from growing too large.
    renumbered: u64,
}

/// The place of a timer in the order.
#[derive(Clone, Copy, Debug)]
struct TimerEntry {
    deadline: u64,
    /// The sequence number in the upper half and the slot in the lower half: comparing one number needs no branch.
    sequence_and_slot: u64,
}

impl TimerEntry {
    fn new(deadline: u64, sequence: u32, slot: u32) -> TimerEntry {
        TimerEntry { deadline, sequence_and_slot: u64::from(sequence) << 32 | u64::from(slot) }
    }

    fn sequence(&self) -> u32 {
        (self.sequence_and_slot >> 32) as u32
    }

    fn slot(&self) -> u32 {
        self.sequence_and_slot as u32
    }

    fn key(&self) -> u128 {
        u128::from(self.deadline) << 64 | u128::from(self.sequence_and_slot)
    }
}

impl<T> Timers<T> {
    /// Creates an empty queue. `touch` reads what a value points to. It is called for several values shortly before
    /// they are due, so that the processor fetches them into its cache in parallel instead of one after the other.
    pub(crate) fn new(touch: fn(&T)) -> Timers<T> {
        Timers {
            touch,
            slots: TimerSlots::new(),
            entries: Ladder::new(),
            next: 1,
            is_clear: true,
            renumbered: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether the queue is empty and has no memory to return.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.is_clear
    }

    /// Returns the earliest deadline. Drops leftovers before it, and memory that is no longer needed.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<u64> {
        if self.is_clear {
            return None;
        }
        self.enter();
        self.tidy();
        self.entries.first(&self.slots, self.touch).map(|entry| entry.deadline)
    }

    /// Returns the earliest deadline later than `time`. Checks every timer.
    pub(crate) fn first_after(&self, time: u64) -> Option<u64> {
        self.slots.first_after(time)
    }

    /// Returns the mark: timers scheduled from now on have a sequence number at or past it.
    pub(crate) fn mark(&self) -> u64 {
        self.renumbered + u64::from(self.next)
    }

    /// Adds a timer. Returns the value if there are already 2^32 timers.
    // Inlined into the caller: otherwise the result goes through memory.
    #[inline(always)]
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Result<TimerId, T> {
        let sequence = self.next_sequence();
        self.is_clear = false;
        self.slots.insert(deadline, sequence, value)
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        self.slots.remove(id)
    }

    /// Moves a timer to another deadline, after timers that already have it.
    pub(crate) fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        let sequence = self.next_sequence();
        self.slots.reschedule(id, deadline, sequence)
    }

    pub(crate) fn deadline(&self, id: TimerId) -> Option<u64> {
        self.slots.deadline(id)
    }

    /// Returns the pending timers with their deadlines, in the order in which they are due.
    pub(crate) fn in_order(&self) -> Vec<(u64, &T)> {
        let mut pending: Vec<_> = self.slots.pending().collect();
        pending.sort_unstable_by_key(|(deadline, sequence, _)| (*deadline, *sequence));
        pending.into_iter().map(|(deadline, _, value)| (deadline, value)).collect()
    }

    /// Removes the first timer if it is due and was scheduled before the mark.
    pub(crate) fn pop_due(&mut self, now: u64, mark: u64) -> Option<T> {
        if self.renumbered + u64::from(self.slots.entered()) < mark {
            self.enter();
        }
        let first = self.entries.first(&self.slots, self.touch)?;
        if first.deadline > now || self.renumbered + u64::from(first.sequence()) >= mark {
            return None;
        }
        self.entries.pop();
        self.slots.take(&first)
    }

    /// Removes all timers, in no particular order. No existing id refers to a timer any more.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        self.entries.clear();
        self.slots.take_all()
    }

    #[inline]
    fn next_sequence(&mut self) -> u32 {
        if self.next == u32::MAX {
            self.renumber();
        }
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Renumbers all timers. They keep their order, and none moves before a mark that it was not before.
    #[cold]
    fn renumber(&mut self) {
        let before = self.mark();
        let entries = self.slots.renumber();
        self.next = entries.len() as u32 + 1;
        self.renumbered = before - u64::from(self.next);
        self.entries.rebuild(entries);
    }

    /// Makes the entries of timers that were scheduled since the last call.
    #[inline]
    fn enter(&mut self) {
        if self.slots.entered() != self.next {
            self.enter_new();
        }
    }

    #[inline(never)]
    fn enter_new(&mut self) {
        self.slots.fetch(self.next, |entry| self.entries.push(entry));
    }

    /// Returns whether there are too many leftovers.
    #[inline]
    fn is_untidy(&self) -> bool {
        self.entries.len() > SMALL.max(ENTRIES_A_TIMER * self.slots.len())
    }

    fn tidy(&mut self) {
        if self.slots.len() == 0 {
            self.entries.clear();
            self.is_clear = true;
        } else if self.is_untidy() {
            self.entries.sweep(&self.slots);
        }
        self.slots.trim();
    }
}

#[cfg(test)]
mod tests;
