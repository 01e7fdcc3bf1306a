//! A four-way heap of entries.

use super::TimerEntry;

const ARITY: usize = 4;

/// The entries, the least one first.
#[derive(Debug, Default)]
pub(super) struct Heap {
    entries: Vec<TimerEntry>,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    #[inline]
    pub(super) fn first(&self) -> Option<TimerEntry> {
        self.entries.first().copied()
    }

    #[inline]
    pub(super) fn push(&mut self, entry: TimerEntry) {
        self.entries.push(entry);
        self.sift_up(self.entries.len() - 1, entry);
    }

    /// Removes the first entry. The hole moves to the bottom without comparisons with the entry that will fill it:
    /// that entry comes from the bottom and rarely has to rise again.
    pub(super) fn pop(&mut self) -> Option<TimerEntry> {
        let first = self.first()?;
        if let Some(last) = self.entries.pop().filter(|_| !self.entries.is_empty()) {
            let mut hole = 0;
            while let Some(child) = self.least_child(hole) {
                self.entries[hole] = self.entries[child];
                hole = child;
            }
            self.sift_up(hole, last);
        }
        Some(first)
    }

    /// Replaces the entries with others, in any order, and returns the old ones, in no particular order.
    pub(super) fn replace(&mut self, entries: Vec<TimerEntry>) -> Vec<TimerEntry> {
        let replaced = std::mem::replace(&mut self.entries, entries);
        for position in (0..self.entries.len().div_ceil(ARITY)).rev() {
            self.sift_down(position);
        }
        replaced
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Moves `entry` from the hole up to its place.
    fn sift_up(&mut self, mut hole: usize, entry: TimerEntry) {
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if self.entries[parent].key() <= entry.key() {
                break;
            }
            self.entries[hole] = self.entries[parent];
            hole = parent;
        }
        self.entries[hole] = entry;
    }

    fn sift_down(&mut self, mut hole: usize) {
        let entry = self.entries[hole];
        while let Some(child) =
            self.least_child(hole).filter(|&child| self.entries[child].key() < entry.key())
        {
            self.entries[hole] = self.entries[child];
            hole = child;
        }
        self.entries[hole] = entry;
    }

    fn least_child(&self, parent: usize) -> Option<usize> {
        let first = parent * ARITY + 1;
        if let Some(four) = self.entries.get(first..first + ARITY) {
            // First in pairs, then the two winners: the processor can run the first two comparisons in parallel.
            let left = usize::from(four[1].key() < four[0].key());
            let right = 2 + usize::from(four[3].key() < four[2].key());
            return Some(first + if four[right].key() < four[left].key() { right } else { left });
        }
        (first..self.entries.len()).min_by_key(|&child| self.entries[child].key())
    }
}
