//! The timer queue: a pure data structure, without a clock and without callbacks of its own.
//!
//! A four-way heap of small entries, ordered by `(deadline, sequence)`, and a table of slots that hold the values. A
//! removed timer gives its value and its slot back at once, in O(1); its entry stays until it comes to the top, or
//! until three quarters of the heap are such leftovers and all are swept out together. So entries never know their
//! positions, and moving one touches no slot: that is what the memory of a large heap is slow at.
//!
//! The benchmark `timer_queues` measures it beside an indexed heap and a hierarchical wheel. A wheel is faster where
//! thousands wait, but knows its earliest deadline only by the bucket: a loop on it wakes up to find nothing due.

use slab::Slab;

const ARITY: usize = 4;
/// Sweep when there are more entries than this for each timer.
const ENTRIES_A_TIMER: usize = 4;
/// A heap this small is not worth sweeping, and keeps its memory when it runs empty.
const SMALL: usize = 1024;

/// Values by deadline, ties in the order in which they were scheduled.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    slots: Slab<Slot<T>>,
    /// The first entry is always that of a timer, never a leftover.
    heap: Vec<Entry>,
    next_sequence: u64,
}

#[derive(Debug)]
struct Slot<T> {
    /// The sequence number of the insertion: never used twice, so a stale [`TimerId`] matches nothing.
    id: u64,
    /// The sequence number of the entry that counts. Another one's is left over.
    sequence: u64,
    deadline: u64,
    value: T,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    sequence: u64,
    slot: usize,
}

impl Entry {
    /// One number to compare by, so that comparing needs no branch.
    fn key(&self) -> u128 {
        u128::from(self.deadline) << 64 | u128::from(self.sequence)
    }
}

/// Names one timer for as long as it is in the queue, and nothing afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerId {
    slot: usize,
    id: u64,
}

impl TimerId {
    /// Names no timer.
    pub(crate) const NONE: TimerId = TimerId { slot: usize::MAX, id: u64::MAX };
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { slots: Slab::new(), heap: Vec::new(), next_sequence: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// The earliest deadline later than `time`; looks at every timer.
    pub(crate) fn first_after(&self, time: u64) -> Option<u64> {
        self.slots.iter().map(|(_, slot)| slot.deadline).filter(|&deadline| deadline > time).min()
    }

    /// What is scheduled from here on has a sequence at or past the mark.
    pub(crate) fn mark(&self) -> u64 {
        self.next_sequence
    }

    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerId {
        let sequence = self.next_sequence();
        let slot = self.slots.insert(Slot { id: sequence, sequence, deadline, value });
        self.push(Entry { deadline, sequence, slot });
        TimerId { slot, id: sequence }
    }

    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        self.get(id)?;
        let value = self.slots.remove(id.slot).value;
        self.tidy();
        Some(value)
    }

    /// Moves a timer to another deadline, behind those that already wait for it.
    pub(crate) fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let sequence = self.next_sequence();
        let slot = &mut self.slots[id.slot];
        (slot.sequence, slot.deadline) = (sequence, deadline);
        self.push(Entry { deadline, sequence, slot: id.slot });
        self.tidy();
        true
    }

    pub(crate) fn deadline(&self, id: TimerId) -> Option<u64> {
        self.get(id).map(|slot| slot.deadline)
    }

    /// Takes out the first timer if it is due and was scheduled before the mark.
    pub(crate) fn pop_due(&mut self, now: u64, mark: u64) -> Option<T> {
        let first = *self.heap.first()?;
        if first.deadline > now || first.sequence >= mark {
            return None;
        }
        let value = self.slots.remove(first.slot).value;
        self.tidy();
        Some(value)
    }

    /// Takes out everything, in no order; the ids given out so far name nothing any more.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        self.heap = Vec::new();
        std::mem::take(&mut self.slots).into_iter().map(|(_, slot)| slot.value).collect()
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    fn get(&self, id: TimerId) -> Option<&Slot<T>> {
        self.slots.get(id.slot).filter(|slot| slot.id == id.id)
    }

    /// After an entry may have become a leftover: sees that none is at the top, and that they are not too many.
    fn tidy(&mut self) {
        if self.slots.is_empty() {
            if self.heap.capacity().max(self.slots.capacity()) > SMALL {
                *self = Timers { next_sequence: self.next_sequence, ..Timers::new() };
            }
            self.heap.clear();
        } else if self.heap.len() > SMALL.max(ENTRIES_A_TIMER * self.slots.len()) {
            self.sweep();
        } else {
            while self.heap.first().is_some_and(|first| !counts(&self.slots, first)) {
                self.pop();
            }
        }
    }

    #[cold]
    fn sweep(&mut self) {
        self.heap.retain(|entry| counts(&self.slots, entry));
        self.heap.shrink_to(2 * self.heap.len());
        for position in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sift_down(position);
        }
    }

    fn push(&mut self, entry: Entry) {
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1, entry);
    }

    /// Takes out the first entry: the hole goes down to the bottom, without a look at the entry that will fill it,
    /// which comes from the bottom and hardly ever has to rise again.
    fn pop(&mut self) {
        let Some(last) = self.heap.pop() else { return };
        if self.heap.is_empty() {
            return;
        }
        let mut hole = 0;
        while let Some(child) = self.least_child(hole) {
            self.heap[hole] = self.heap[child];
            hole = child;
        }
        self.sift_up(hole, last);
    }

    /// Puts `entry` at the hole, or above it.
    fn sift_up(&mut self, mut hole: usize, entry: Entry) {
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.heap[hole] = self.heap[parent];
            hole = parent;
        }
        self.heap[hole] = entry;
    }

    fn sift_down(&mut self, mut hole: usize) {
        let entry = self.heap[hole];
        while let Some(child) = self.least_child(hole).filter(|&child| self.heap[child].key() < entry.key()) {
            self.heap[hole] = self.heap[child];
            hole = child;
        }
        self.heap[hole] = entry;
    }

    fn least_child(&self, parent: usize) -> Option<usize> {
        let first = parent * ARITY + 1;
        if let Some(four) = self.heap.get(first..first + ARITY) {
            // Two and two, then one: comparisons that the processor can do side by side.
            let left = usize::from(four[1].key() < four[0].key());
            let right = 2 + usize::from(four[3].key() < four[2].key());
            return Some(first + if four[right].key() < four[left].key() { right } else { left });
        }
        (first..self.heap.len()).min_by_key(|&child| self.heap[child].key())
    }
}

/// Whether this is its timer's entry, and not left over.
fn counts<T>(slots: &Slab<Slot<T>>, entry: &Entry) -> bool {
    slots.get(entry.slot).is_some_and(|slot| slot.sequence == entry.sequence)
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES_A_TIMER, SMALL, Timers};

    #[test]
    fn what_is_left_of_cancelled_and_moved_timers_stays_in_proportion_to_those_that_wait() {
        // T1
        let mut timers = Timers::new();
        let first = timers.insert(1, ());
        let bound = |timers: &Timers<()>| SMALL.max(ENTRIES_A_TIMER * timers.len());
        for deadline in 2..100_000 {
            let id = timers.insert(deadline, ());
            assert!(timers.remove(id).is_some());
            assert!(timers.heap.len() <= bound(&timers));
        }
        let moved = timers.insert(2, ());
        for deadline in 2..100_000 {
            assert!(timers.reschedule(moved, deadline));
            assert!(timers.heap.len() <= bound(&timers));
        }
        assert!(timers.remove(first).is_some() && timers.remove(moved).is_some());
        assert!(timers.heap.is_empty());
    }

    #[test]
    fn what_is_taken_out_leaves_no_deadline_behind() {
        // R4
        let mut timers = Timers::new();
        let ids = [3, 1, 2].map(|deadline| timers.insert(deadline, deadline));
        let mut values = timers.take_all();
        values.sort_unstable();
        assert_eq!((values, timers.first(), timers.len()), (vec![1, 2, 3], None, 0));
        timers.insert(5, 5);
        assert!(!ids.iter().any(|&id| timers.remove(id).is_some()));
        assert_eq!((timers.pop_due(4, u64::MAX), timers.pop_due(5, u64::MAX)), (None, Some(5)));
    }

    #[test]
    fn many_timers_give_their_memory_back_however_they_go() {
        // T1
        let (mut cancelled, mut run) = (Timers::new(), Timers::new());
        let ids: Vec<_> = (0..100_000).map(|deadline| cancelled.insert(deadline, ())).collect();
        let (last, most) = ids.split_at(100);
        assert!(most.iter().all(|&id| cancelled.remove(id).is_some()));
        assert!(cancelled.heap.capacity() <= ENTRIES_A_TIMER * SMALL);
        assert!(last.iter().all(|&id| cancelled.remove(id).is_some()));
        (0..100_000).for_each(|deadline| _ = run.insert(deadline, ()));
        while run.pop_due(u64::MAX, u64::MAX).is_some() {}
        for timers in [&cancelled, &run] {
            assert!(timers.heap.capacity() <= SMALL && timers.slots.capacity() <= SMALL);
        }
        cancelled.insert(1, ());
        assert!(!ids.iter().any(|&id| cancelled.remove(id).is_some()), "an id was given out twice");
    }
}
