//! A hierarchical wheel of ticks of 65 µs, eight levels of 64 buckets. Within a tick the order is exact: the timers of the
//! tick that is due are sorted. It knows its earliest deadline only to the bucket.

use slab::Slab;

use super::{TimerQueue, Value};

const TICK_BITS: u32 = 16;
const LEVEL_BITS: u32 = 6;
const LEVELS: usize = 8;
const BUCKETS: usize = 1 << LEVEL_BITS;

struct Slot {
    deadline: u64,
    sequence: u64,
    /// The timer's bucket and its place there. `DUE`: among the due timers.
    bucket: usize,
    place: usize,
    value: Value,
}

const DUE: usize = usize::MAX;

pub struct Wheel {
    slots: Slab<Slot>,
    buckets: Vec<Vec<usize>>,
    /// One bit for each bucket that is not empty.
    occupied: [u64; LEVELS],
    /// The tick up to which timers were removed.
    now: u64,
    /// The timers of that tick, in reverse order.
    due: Vec<usize>,
    sequence: u64,
}

impl Wheel {
    fn place(&mut self, key: usize) {
        let tick = self.slots[key].deadline >> TICK_BITS;
        let differing = tick ^ self.now;
        let level = (u64::BITS - differing.leading_zeros()).saturating_sub(1) / LEVEL_BITS;
        let index = (tick >> (LEVEL_BITS * level)) as usize % BUCKETS;
        let bucket = level as usize * BUCKETS + index;
        let slot = &mut self.slots[key];
        (slot.bucket, slot.place) = (bucket, self.buckets[bucket].len());
        self.buckets[bucket].push(key);
        self.occupied[level as usize] |= 1 << index;
    }

    /// Advances to the next tick that has timers.
    fn advance(&mut self) {
        while let Some(level) = self.occupied.iter().position(|bits| *bits != 0) {
            let index = self.occupied[level].trailing_zeros();
            let bucket = level * BUCKETS + index as usize;
            let mut keys = std::mem::take(&mut self.buckets[bucket]);
            self.occupied[level] &= !(1 << index);
            let shift = LEVEL_BITS * level as u32;
            self.now = (self.now >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS)) | u64::from(index) << shift;
            if level == 0 {
                keys.sort_unstable_by_key(|key| {
                    let slot = &self.slots[*key];
                    std::cmp::Reverse((slot.deadline, slot.sequence))
                });
                keys.iter().for_each(|key| self.slots[*key].bucket = DUE);
                self.buckets[bucket] = std::mem::replace(&mut self.due, keys);
                return;
            }
            keys.drain(..).for_each(|key| self.place(key));
            self.buckets[bucket] = keys;
        }
    }
}

impl TimerQueue for Wheel {
    type Id = usize;

    fn new() -> Wheel {
        Wheel {
            slots: Slab::new(),
            buckets: vec![Vec::new(); LEVELS * BUCKETS],
            occupied: [0; LEVELS],
            now: 0,
            due: Vec::new(),
            sequence: 0,
        }
    }

    fn insert(&mut self, deadline: u64, value: Value) -> usize {
        self.sequence += 1;
        let slot = Slot { deadline, sequence: self.sequence, bucket: 0, place: 0, value };
        let key = self.slots.insert(slot);
        self.place(key);
        key
    }

    fn cancel(&mut self, key: usize) -> Value {
        let Slot { bucket, place, value, .. } = self.slots.remove(key);
        if bucket == DUE {
            self.due.retain(|due| *due != key);
            return value;
        }
        let keys = &mut self.buckets[bucket];
        keys.swap_remove(place);
        match keys.get(place) {
            Some(moved) => self.slots[*moved].place = place,
            None if keys.is_empty() => self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS)),
            None => {}
        }
        value
    }

    fn first(&mut self) -> Option<u64> {
        if let Some(key) = self.due.last() {
            return Some(self.slots[*key].deadline);
        }
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let shift = LEVEL_BITS * level as u32;
        let index = u64::from(self.occupied[level].trailing_zeros());
        let tick = (self.now >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS)) | index << shift;
        Some(tick << TICK_BITS)
    }

    fn pop(&mut self) -> Option<Value> {
        if self.due.is_empty() {
            self.advance();
        }
        self.due.pop().map(|key| self.slots.remove(key).value)
    }
}
