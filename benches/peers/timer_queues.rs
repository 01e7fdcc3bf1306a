//! Data structures for a timer queue, measured alone: without a clock, callbacks or a loop.

mod indexed_heap;
mod wheel;

#[path = "../../reactor/src/timers/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the reactor uses more of it")]
mod ladder;

use std::collections::BTreeMap;
use std::hint::black_box;

use indexed_heap::IndexedHeap;
use ladder::{TimerId, Timers};
use wheel::Wheel;

use super::random::Random;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// As large as a boxed callback.
type Value = [u64; 2];

/// Deadlines in nanoseconds. Equal deadlines keep the order of insertion.
trait TimerQueue {
    type Id: Copy;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64, value: Value) -> Self::Id;
    fn cancel(&mut self, id: Self::Id) -> Value;
    /// A lower bound of the earliest deadline, until which a loop may wait.
    fn first(&mut self) -> Option<u64>;
    /// Removes the earliest timer.
    fn pop(&mut self) -> Option<Value>;
}

impl TimerQueue for Timers<Value> {
    type Id = TimerId;

    fn new() -> Self {
        Timers::new(|_| ())
    }

    fn insert(&mut self, deadline: u64, value: Value) -> TimerId {
        Timers::insert(self, deadline, value).expect("a free slot")
    }

    fn cancel(&mut self, id: TimerId) -> Value {
        self.remove(id).expect("it was pending")
    }

    fn first(&mut self) -> Option<u64> {
        Timers::first(self)
    }

    fn pop(&mut self) -> Option<Value> {
        self.pop_due(u64::MAX, u64::MAX)
    }
}

impl TimerQueue for (u64, BTreeMap<(u64, u64), Value>) {
    type Id = (u64, u64);

    fn new() -> Self {
        Default::default()
    }

    fn insert(&mut self, deadline: u64, value: Value) -> (u64, u64) {
        self.0 += 1;
        self.1.insert((deadline, self.0), value);
        (deadline, self.0)
    }

    fn cancel(&mut self, id: (u64, u64)) -> Value {
        self.1.remove(&id).expect("it was pending")
    }

    fn first(&mut self) -> Option<u64> {
        self.1.first_key_value().map(|(key, _)| key.0)
    }

    fn pop(&mut self) -> Option<Value> {
        self.1.pop_first().map(|(_, value)| value)
    }
}

/// `COUNT TIMERS`: inserts and fires `COUNT` at a time until `TIMERS` have fired.
fn fire<Q: TimerQueue>(arguments: &Arguments<'_>) {
    let (deadlines, _, rounds) = plan(arguments);
    let clock = Stopwatch::start();
    for _ in 0..rounds {
        let mut queue = Q::new();
        for deadline in &deadlines {
            queue.insert(*deadline, [*deadline; 2]);
        }
        let mut last = 0;
        while black_box(queue.first()).is_some() {
            let [deadline, ..] = queue.pop().expect("there is a first one");
            assert!(last <= deadline, "out of order");
            last = deadline;
        }
        black_box(last);
    }
    clock.stop(rounds * deadlines.len() as u64).report();
}

/// The same, but the timers are cancelled in another order.
fn cancel<Q: TimerQueue>(arguments: &Arguments<'_>) {
    let (deadlines, order, rounds) = plan(arguments);
    let clock = Stopwatch::start();
    for _ in 0..rounds {
        let mut queue = Q::new();
        let ids: Vec<Q::Id> =
            deadlines.iter().map(|deadline| queue.insert(*deadline, [*deadline; 2])).collect();
        for index in &order {
            assert_eq!(queue.cancel(ids[*index])[0], deadlines[*index]);
        }
    }
    clock.stop(rounds * deadlines.len() as u64).report();
}

fn plan(arguments: &Arguments<'_>) -> (Vec<u64>, Vec<usize>, u64) {
    let count = arguments.number(0);
    let mut random = Random::new();
    let deadlines = (0..count).map(|_| 50_000_000 + random.below(1_000_000_000)).collect();
    let mut order: Vec<usize> = (0..count as usize).collect();
    random.shuffle(&mut order);
    (deadlines, order, (arguments.number(1) / count).max(1))
}

pub fn find(role: &str) -> Option<fn(&Arguments<'_>)> {
    Some(match role {
        "map-fire" => fire::<(u64, BTreeMap<(u64, u64), Value>)>,
        "map-cancel" => cancel::<(u64, BTreeMap<(u64, u64), Value>)>,
        "ladder-fire" => fire::<Timers<Value>>,
        "ladder-cancel" => cancel::<Timers<Value>>,
        "indexed-heap-fire" => fire::<IndexedHeap>,
        "indexed-heap-cancel" => cancel::<IndexedHeap>,
        "wheel-fire" => fire::<Wheel>,
        "wheel-cancel" => cancel::<Wheel>,
        _ => return None,
    })
}
