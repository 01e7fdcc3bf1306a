//! The timer queue: a pure data structure, without a clock and without callbacks of its own.
//!
//! An indexed four-way heap. The heap orders small entries by `(deadline, sequence)`; each entry names the slot that
//! holds the value, and each slot knows where its entry stands, so that a call can be removed or moved in O(log n)
//! and its memory comes back at once. Four children a node keep the heap shallow and siblings near one another.

use slab::Slab;

const ARITY: usize = 4;
/// A queue that runs empty gives back what it grew past this many timers.
const KEPT_CAPACITY: usize = 1024;

/// Values by deadline, ties in the order in which they were scheduled.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    slots: Slab<Slot<T>>,
    heap: Vec<Entry>,
    next_sequence: u64,
}

#[derive(Debug)]
struct Slot<T> {
    /// The sequence number of the insertion: never used twice, so a stale [`TimerId`] matches nothing.
    id: u64,
    /// Where this slot's entry stands in the heap.
    position: usize,
    value: T,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    sequence: u64,
    slot: usize,
}

impl Entry {
    fn is_before(&self, other: &Entry) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
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
        self.heap.len()
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// What is scheduled from here on has a sequence at or past the mark.
    pub(crate) fn mark(&self) -> u64 {
        self.next_sequence
    }

    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerId {
        let sequence = self.next_sequence();
        let position = self.heap.len();
        let slot = self.slots.insert(Slot { id: sequence, position, value });
        let entry = Entry { deadline, sequence, slot };
        self.heap.push(entry);
        self.sift_up(position, entry);
        TimerId { slot, id: sequence }
    }

    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        let position = self.position(id)?;
        let value = self.slots.remove(id.slot).value;
        self.remove_entry(position);
        Some(value)
    }

    /// Moves a timer to another deadline, behind those that already wait for it.
    pub(crate) fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        let Some(position) = self.position(id) else { return false };
        let sequence = self.next_sequence();
        self.settle(position, Entry { deadline, sequence, slot: id.slot });
        true
    }

    pub(crate) fn deadline(&self, id: TimerId) -> Option<u64> {
        self.position(id).map(|position| self.heap[position].deadline)
    }

    /// Takes out the first timer if it is due and was scheduled before the mark.
    pub(crate) fn pop_due(&mut self, now: u64, mark: u64) -> Option<T> {
        let first = *self.heap.first()?;
        if first.deadline > now || first.sequence >= mark {
            return None;
        }
        let value = self.slots.remove(first.slot).value;
        self.remove_entry(0);
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

    fn position(&self, id: TimerId) -> Option<usize> {
        self.slots.get(id.slot).filter(|slot| slot.id == id.id).map(|slot| slot.position)
    }

    /// Closes the gap that a removed slot left at `position`.
    fn remove_entry(&mut self, position: usize) {
        let Some(last) = self.heap.pop() else { return };
        if position < self.heap.len() {
            self.settle(position, last);
        } else if self.heap.is_empty() && self.heap.capacity() > KEPT_CAPACITY {
            self.heap = Vec::new();
            self.slots = Slab::new();
        }
    }

    /// Puts `entry` where it belongs, starting from the hole at `position`.
    fn settle(&mut self, position: usize, entry: Entry) {
        if position > 0 && entry.is_before(&self.heap[(position - 1) / ARITY]) {
            self.sift_up(position, entry);
        } else {
            self.sift_down(position, entry);
        }
    }

    fn sift_up(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sift_down(&mut self, mut position: usize, entry: Entry) {
        loop {
            let first = position * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) =
                children.min_by_key(|&child| (self.heap[child].deadline, self.heap[child].sequence))
            else {
                break;
            };
            if !self.heap[least].is_before(&entry) {
                break;
            }
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot].position = position;
    }
}
