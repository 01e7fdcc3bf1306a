//! A four-way heap whose timers know the positions of their entries, so that a cancelled timer is removed
//! immediately.

use slab::Slab;

use super::{TimerQueue, Value};

const ARITY: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    sequence: u64,
    slot: usize,
}

impl Entry {
    fn key(&self) -> u128 {
        u128::from(self.deadline) << 64 | u128::from(self.sequence)
    }
}

pub struct IndexedHeap {
    /// Each value with the position of its entry.
    slots: Slab<(usize, Value)>,
    heap: Vec<Entry>,
    sequence: u64,
}

impl IndexedHeap {
    fn put(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot].0 = position;
    }

    fn sift_up(&mut self, mut hole: usize, entry: Entry) {
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.put(hole, self.heap[parent]);
            hole = parent;
        }
        self.put(hole, entry);
    }

    fn sift_down(&mut self, mut hole: usize, entry: Entry) {
        loop {
            let first = hole * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(child) = children.min_by_key(|child| self.heap[*child].key()) else { break };
            if entry.key() <= self.heap[child].key() {
                break;
            }
            self.put(hole, self.heap[child]);
            hole = child;
        }
        self.put(hole, entry);
    }

    fn take(&mut self, position: usize) -> Value {
        let (_, value) = self.slots.remove(self.heap[position].slot);
        let last = self.heap.pop().expect("it has an entry");
        if position < self.heap.len() {
            if position > 0 && last.key() < self.heap[(position - 1) / ARITY].key() {
                self.sift_up(position, last);
            } else {
                self.sift_down(position, last);
            }
        }
        value
    }
}

impl TimerQueue for IndexedHeap {
    type Id = usize;

    fn new() -> IndexedHeap {
        IndexedHeap { slots: Slab::new(), heap: Vec::new(), sequence: 0 }
    }

    fn insert(&mut self, deadline: u64, value: Value) -> usize {
        let position = self.heap.len();
        let slot = self.slots.insert((position, value));
        self.sequence += 1;
        let entry = Entry { deadline, sequence: self.sequence, slot };
        self.heap.push(entry);
        self.sift_up(position, entry);
        slot
    }

    fn cancel(&mut self, slot: usize) -> Value {
        self.take(self.slots[slot].0)
    }

    fn first(&mut self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    fn pop(&mut self) -> Option<Value> {
        (!self.heap.is_empty()).then(|| self.take(0))
    }
}
