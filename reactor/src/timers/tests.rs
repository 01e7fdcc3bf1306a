use std::collections::BTreeMap;

use super::slots::TimerSlots;
use super::{ENTRIES_A_TIMER, SMALL, TimerEntry, TimerId, Timers};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Returns a delay of one kind: ties, dense, spread, skewed, or the largest possible.
    fn delay(&mut self, kind: u64) -> u64 {
        match kind {
            0 => self.below(4),
            1 => self.below(20_000),
            2 => self.below(2_000_000_000),
            3 => {
                let bits = self.below(63);
                self.below(1 << bits)
            }
            4 => u64::MAX - self.below(2),
            _ => {
                let kind = self.below(5);
                self.delay(kind)
            }
        }
    }
}

/// The queue, and a sorted map to compare it with.
struct Model {
    timers: Timers<usize>,
    sorted: BTreeMap<(u64, u64), usize>,
    scheduled: u64,
    /// The id of each value, and its key in the map while it is pending.
    ids: Vec<(TimerId, Option<(u64, u64)>)>,
    now: u64,
}

impl Model {
    fn new() -> Model {
        let (sorted, ids) = (BTreeMap::new(), Vec::new());
        Model { timers: Timers::new(|_| ()), sorted, scheduled: 0, ids, now: 0 }
    }

    fn place(&mut self, value: usize, deadline: u64) {
        self.scheduled += 1;
        self.ids[value].1 = Some((deadline, self.scheduled));
        self.sorted.insert((deadline, self.scheduled), value);
    }

    fn insert(&mut self, delay: u64) {
        let (value, deadline) = (self.ids.len(), self.now.saturating_add(delay));
        let id = self.timers.insert(deadline, value).unwrap();
        self.ids.push((id, None));
        self.place(value, deadline);
    }

    fn cancel(&mut self, value: usize) {
        let (id, place) = &mut self.ids[value];
        let expected = place.take().map(|place| self.sorted.remove(&place).unwrap());
        assert_eq!(self.timers.remove(*id), expected);
    }

    fn reset(&mut self, value: usize, delay: u64) {
        let (id, place) = &mut self.ids[value];
        let (deadline, pending) = (self.now.saturating_add(delay), place.take());
        assert_eq!(self.timers.deadline(*id), pending.map(|(deadline, _)| deadline));
        assert_eq!(self.timers.reschedule(*id, deadline), pending.is_some());
        if let Some(pending) = pending {
            self.sorted.remove(&pending);
            self.place(value, deadline);
        }
    }

    fn pop(&mut self, mark: u64, scheduled: u64) -> bool {
        let due = self.sorted.first_entry().filter(|first| {
            let (deadline, number) = *first.key();
            deadline <= self.now && number <= scheduled
        });
        let expected = due.map(|first| first.remove());
        assert_eq!(self.timers.pop_due(self.now, mark), expected);
        expected.inspect(|&value| self.ids[value].1 = None).is_some()
    }

    /// Runs due timers, and changes the queue in between as callbacks do.
    fn turn(&mut self, random: &mut Random, kind: u64) {
        let (mark, scheduled) = (self.timers.mark(), self.scheduled);
        let renumbered = self.timers.renumbered;
        for _ in 0..random.below(2000) {
            if self.timers.renumbered != renumbered || !self.pop(mark, scheduled) {
                break;
            }
            if random.below(8) == 0 {
                self.change(random, kind);
            }
        }
    }

    fn change(&mut self, random: &mut Random, kind: u64) {
        let delay = random.delay(kind);
        let Some(value) = self.ids.len().checked_sub(1).map(|last| random.below(last as u64 + 1) as usize)
        else {
            return self.insert(delay);
        };
        match random.below(4) {
            0 => self.cancel(value),
            1 => self.reset(value, delay),
            _ => self.insert(delay),
        }
    }

    fn check(&mut self) {
        assert_eq!(self.timers.len(), self.sorted.len());
        assert_eq!(self.timers.first(), self.sorted.first_key_value().map(|(key, _)| key.0));
        let after = self.sorted.range((self.now, 0)..).find(|(key, _)| key.0 > self.now);
        assert_eq!(self.timers.first_after(self.now), after.map(|(key, _)| key.0));
    }
}

#[test]
fn the_order_is_that_of_a_sorted_map() {
    // T1: covers every boundary of the ladder: a relieved heap, split lists, sweeps, and renumbering.
    for seed in 0..48 {
        let mut random = Random(seed);
        let mut model = Model::new();
        let kind = seed % 6;
        if seed % 3 == 0 {
            model.timers.next = u32::MAX - random.below(5000) as u32;
        }
        for _ in 0..25 {
            match random.below(6) {
                0 => (0..random.below(4000)).for_each(|_| model.insert(random.delay(kind))),
                1 => (0..random.below(2000)).for_each(|_| model.change(&mut random, kind)),
                2 => {
                    let delay = random.delay(kind);
                    (0..random.below(1500)).for_each(|_| model.insert(delay));
                }
                3 if !model.ids.is_empty() => {
                    let keep = random.below(10) as usize;
                    (0..model.ids.len())
                        .filter(|value| value % 10 >= keep)
                        .for_each(|value| model.cancel(value));
                }
                _ => {
                    model.now = model.now.saturating_add(random.delay(kind) / 4);
                    model.turn(&mut random, kind);
                }
            }
            if random.below(2) == 0 {
                model.check();
            }
        }
        model.now = u64::MAX;
        while model.pop(u64::MAX, u64::MAX) {}
        model.check();
        assert_eq!(model.timers.len(), 0);
    }
}

#[test]
fn leftovers_stay_in_proportion_to_pending_timers() {
    // T1
    let mut timers = Timers::new(|_| ());
    let first = timers.insert(1, ()).unwrap();
    let bound = |timers: &Timers<()>| SMALL.max(ENTRIES_A_TIMER * timers.len()) + 1;
    for deadline in 2..100_000 {
        let id = timers.insert(deadline, ()).unwrap();
        assert_eq!(timers.first(), Some(1));
        assert!(timers.remove(id).is_some());
        assert!(timers.entries.len() <= bound(&timers));
    }
    let moved = timers.insert(2, ()).unwrap();
    for deadline in 2..100_000 {
        assert!(timers.reschedule(moved, deadline));
        assert_eq!(timers.first(), Some(1));
        assert!(timers.entries.len() <= bound(&timers));
    }
    assert!(timers.remove(first).is_some() && timers.remove(moved).is_some());
    assert_eq!((timers.first(), timers.entries.len()), (None, 0));
}

#[test]
fn a_timer_has_no_entry_before_the_first_is_requested() {
    // T1
    let mut timers = Timers::new(|_| ());
    timers.insert(1, ()).unwrap();
    assert_eq!((timers.first(), timers.entries.len()), (Some(1), 1));
    let moved = timers.insert(2, ()).unwrap();
    for deadline in 3..100_000 {
        let id = timers.insert(deadline, ()).unwrap();
        assert!(timers.reschedule(moved, deadline) && timers.remove(id).is_some());
    }
    assert_eq!((timers.entries.len(), timers.slots.capacity() < SMALL), (1, true));
    assert_eq!((timers.first(), timers.entries.len()), (Some(1), 2));
}

#[test]
fn removed_timers_leave_no_deadline() {
    // R4
    let mut timers = Timers::new(|_| ());
    let ids = [3, 1, 2].map(|deadline| timers.insert(deadline, deadline).unwrap());
    let mut values = timers.take_all();
    values.sort_unstable();
    assert_eq!((values, timers.first(), timers.len()), (vec![1, 2, 3], None, 0));
    timers.insert(5, 5).unwrap();
    assert!(!ids.iter().any(|&id| timers.remove(id).is_some()));
    assert_eq!((timers.pop_due(4, u64::MAX), timers.pop_due(5, u64::MAX)), (None, Some(5)));
}

#[test]
fn many_timers_return_their_memory() {
    // T1.4
    const MANY: u64 = 100_000;
    let most = |timers: &Timers<()>| timers.entries.capacity().max(timers.slots.capacity());
    let (mut cancelled, mut run, mut taken) = (Timers::new(|_| ()), Timers::new(|_| ()), Timers::new(|_| ()));
    let mut ids = Vec::new();
    for deadline in 0..MANY {
        ids.push(cancelled.insert(deadline, ()).unwrap());
        run.insert(deadline, ()).unwrap();
        taken.insert(deadline, ()).unwrap();
    }
    let (few, many) = ids.split_at(100);
    assert!(many.iter().all(|&id| cancelled.remove(id).is_some()));
    assert_eq!(cancelled.first(), Some(0));
    assert!(most(&cancelled) <= ENTRIES_A_TIMER * SMALL, "a few still wait");
    assert!(few.iter().all(|&id| cancelled.remove(id).is_some()));
    while run.pop_due(u64::MAX, u64::MAX).is_some() {}
    assert_eq!(taken.take_all().len() as u64, MANY);
    for timers in [&mut cancelled, &mut run, &mut taken] {
        assert_eq!(timers.first(), None);
        assert!(most(timers) <= 2 * SMALL);
    }
    (0..MANY).for_each(|deadline| _ = cancelled.insert(deadline, ()).unwrap());
    assert!(!ids.iter().any(|&id| cancelled.remove(id).is_some()), "an id named a second timer");
}

#[test]
fn a_slot_is_retired_before_its_ids_repeat() {
    // T3
    let mut slots = TimerSlots::new();
    let old = slots.insert(1, 0, 'a').unwrap();
    slots.remove(old).unwrap();
    slots.age(u32::MAX - 1);
    let last = slots.insert(1, 1, 'b').unwrap();
    assert_eq!((last.slot(), slots.remove(old)), (0, None));
    assert_eq!(slots.remove(last), Some('b'));
    let new = slots.insert(1, 2, 'c').unwrap();
    assert_eq!((new.slot(), slots.remove(last), slots.remove(TimerId::NONE)), (1, None, None));
    assert_eq!(slots.remove(new), Some('c'));
    assert_eq!(slots.take_all(), []);
    assert_eq!(slots.insert(1, 3, 'd').unwrap().slot(), 2, "both are retired");
}

#[test]
#[cfg_attr(feature = "trace", ignore = "with the feature, a call has a number as well")]
fn entries_and_slots_are_small() {
    // T1.3
    assert_eq!(size_of::<TimerEntry>(), 16);
    assert_eq!(TimerSlots::<crate::ScheduledCall>::SLOT_SIZE, 24);
    assert_eq!(size_of::<TimerId>(), 8);
}
