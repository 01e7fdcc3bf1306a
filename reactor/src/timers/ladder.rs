//! Entries in the order of their keys. Only the nearest ones are sorted.

use super::heap::Heap;
use super::slots::TimerSlots;
use super::{SMALL, TimerEntry};

/// The size above which the heap keeps only the nearest entries.
const HEAP_MOST: usize = 1024;
/// The approximate number of entries that it then keeps.
const HEAP_KEEPS: usize = 128;
/// A list of at most this length moves into the heap when it is reached. A longer one is split.
const LIST_MOST: usize = 64;
/// The maximum number of lists that a list is split into, as a power of two.
const SPLIT_BITS: u32 = 8;

/// A heap of the nearest entries, and unsorted lists of the others. Each list holds the entries from its first
/// deadline up to the first deadline of the list before it.
///
/// While there are few entries, all of them are in the heap. When the heap is empty, the nearest list moves into
/// it, or is split into shorter lists by equal periods of time. So an entry that is cancelled before it is near was
/// only appended to a list and never compared.
#[derive(Debug)]
pub(super) struct Ladder {
    near: Heap,
    /// The first deadlines of the lists, descending: the last list is reached next.
    firsts: Vec<u64>,
    lists: Vec<Vec<TimerEntry>>,
    /// The number of all entries, including leftovers.
    entries: usize,
    /// The size at which the heap is relieved. It exceeds `HEAP_MOST` if ties prevent relieving the heap further.
    relieve_at: usize,
    /// An empty list, kept to avoid an allocation for each list.
    spare: Vec<TimerEntry>,
}

impl Ladder {
    pub(super) fn new() -> Ladder {
        Ladder {
            near: Heap::default(),
            firsts: Vec::new(),
            lists: Vec::new(),
            entries: 0,
            relieve_at: HEAP_MOST,
            spare: Vec::new(),
        }
    }

    /// Returns the number of entries, including leftovers.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    #[inline]
    pub(super) fn push(&mut self, entry: TimerEntry) {
        self.entries += 1;
        match self.firsts.last() {
            Some(&nearest) if entry.deadline >= nearest => {
                let list = self.firsts.partition_point(|&first| first > entry.deadline);
                self.lists[list].push(entry);
            }
            _ => {
                self.near.push(entry);
                if self.near.len() > self.relieve_at {
                    self.relieve();
                }
            }
        }
    }

    /// Returns the first entry that is not a leftover. Drops leftovers before it.
    #[inline]
    pub(super) fn first<T>(&mut self, slots: &TimerSlots<T>, touch: fn(&T)) -> Option<TimerEntry> {
        loop {
            match self.near.first() {
                Some(first) if slots.counts(&first) => return Some(first),
                Some(_) => self.pop(),
                None if self.lists.is_empty() => return None,
                None => self.refill(slots, touch),
            }
        }
    }

    /// Removes the entry that [`first`](Ladder::first) returned.
    #[inline]
    pub(super) fn pop(&mut self) {
        if self.near.pop().is_some() {
            self.entries -= 1;
        }
    }

    /// Drops all entries, and the memory that many of them took.
    pub(super) fn clear(&mut self) {
        if let Some(list) = self.lists.pop() {
            self.keep(list);
        }
        if self.lists.capacity() > SMALL / 16 {
            (self.lists, self.firsts) = (Vec::new(), Vec::new());
        }
        self.lists.clear();
        self.firsts.clear();
        if self.near.capacity() > SMALL {
            self.near = Heap::default();
        }
        self.near.clear();
        (self.entries, self.relieve_at) = (0, HEAP_MOST);
    }

    /// Drops all leftovers.
    #[cold]
    pub(super) fn sweep<T>(&mut self, slots: &TimerSlots<T>) {
        let mut near = self.near.replace(Vec::new());
        near.retain(|entry| slots.counts(entry));
        self.entries = near.len();
        near.shrink_to(2 * near.len());
        self.near.replace(near);
        let lists = std::mem::take(&mut self.lists).into_iter().zip(std::mem::take(&mut self.firsts));
        for (mut list, first) in lists {
            list.retain(|entry| slots.counts(entry));
            if !list.is_empty() {
                list.shrink_to(2 * list.len());
                self.entries += list.len();
                self.lists.push(list);
                self.firsts.push(first);
            }
        }
    }

    /// Replaces all entries.
    #[cold]
    pub(super) fn rebuild(&mut self, entries: Vec<TimerEntry>) {
        self.clear();
        entries.into_iter().for_each(|entry| self.push(entry));
    }

    /// Moves the later entries of a heap that has grown too long to the nearest list, which is not sorted.
    #[cold]
    fn relieve(&mut self) {
        let mut near = std::mem::take(&mut self.spare);
        // Entries with the same deadline stay together.
        while let Some(entry) = self.near.first() {
            if near.len() >= HEAP_KEEPS && near.last().is_some_and(|last| last.deadline < entry.deadline) {
                break;
            }
            near.extend(self.near.pop());
        }
        let first = self.near.first();
        let far = self.near.replace(near);
        self.relieve_at = HEAP_MOST.max(2 * self.near.len());
        match first {
            Some(first) => self.add_list(far, first.deadline),
            None => self.keep(far),
        }
    }

    /// Adds entries from this deadline on, which are nearer than all entries in the lists.
    fn add_list(&mut self, mut entries: Vec<TimerEntry>, first: u64) {
        match (self.lists.last_mut(), self.firsts.last_mut()) {
            (Some(list), Some(nearest)) => {
                list.append(&mut entries);
                *nearest = first;
            }
            _ => {
                self.firsts.push(first);
                self.lists.push(std::mem::take(&mut entries));
            }
        }
        self.keep(entries);
    }

    /// Keeps the memory of a list for the next one, unless it is large.
    fn keep(&mut self, mut list: Vec<TimerEntry>) {
        if list.capacity() > self.spare.capacity() && list.capacity() <= SMALL {
            list.clear();
            self.spare = list;
        }
    }

    /// Fills an empty heap from the nearest list, or splits that list.
    #[cold]
    fn refill<T>(&mut self, slots: &TimerSlots<T>, touch: fn(&T)) {
        let (Some(mut list), Some(_)) = (self.lists.pop(), self.firsts.pop()) else { return };
        self.relieve_at = HEAP_MOST;
        // A short list is about to move into the heap. Checking its entries fetches their slots into the
        // processor's cache together.
        if list.len() <= LIST_MOST || self.entries > slots.len() {
            self.entries -= list.len();
            list.retain(|entry| slots.counts(entry));
            self.entries += list.len();
        }
        if list.len() <= LIST_MOST {
            list.iter().for_each(|entry| slots.touch(entry, touch));
            let emptied = self.near.replace(list);
            self.keep(emptied);
        } else {
            self.split(list);
        }
    }

    fn split(&mut self, list: Vec<TimerEntry>) {
        let deadlines = || list.iter().map(|entry| entry.deadline);
        let (least, most) = (deadlines().min().unwrap_or(0), deadlines().max().unwrap_or(0));
        let span = most - least;
        if span == 0 {
            self.relieve_at = HEAP_MOST.max(2 * list.len());
            self.near.replace(list);
            return;
        }
        let bits = (4 * list.len() / LIST_MOST).ilog2().clamp(1, SPLIT_BITS);
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(bits);
        let part = |entry: &TimerEntry| ((entry.deadline - least) >> shift) as usize;
        let mut lengths = [0_usize; 1 << SPLIT_BITS];
        list.iter().for_each(|entry| lengths[part(entry)] += 1);
        let lengths = &lengths[..=(span >> shift) as usize];
        let mut parts: Vec<Vec<TimerEntry>> =
            lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        list.iter().for_each(|entry| parts[part(entry)].push(*entry));
        for (part, list) in parts.into_iter().enumerate().rev().filter(|(_, list)| !list.is_empty()) {
            self.firsts.push(least + ((part as u64) << shift));
            self.lists.push(list);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.near.capacity() + self.lists.iter().map(Vec::capacity).sum::<usize>()
    }
}
