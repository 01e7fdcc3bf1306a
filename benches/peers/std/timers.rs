//! The floor: closures in a slot table, their deadlines in a binary heap of the standard library, and no loop.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::peers::timer_plan::{CancelPlan, ExpirePlan, FirePlan, Lateness, MemoryPlan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

struct Timers {
    epoch: Instant,
    /// Deadline, order of insertion, slot.
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// The insertion number of the current entry, and the callback.
    slots: Vec<(u32, Option<Box<dyn FnOnce()>>)>,
    free: Vec<u32>,
    number: u32,
}

impl Timers {
    fn new() -> Timers {
        Timers {
            epoch: Instant::now(),
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            number: 0,
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn push(&mut self, delay: Duration, slot: u32) {
        self.number += 1;
        let deadline = self.now() + delay.as_nanos() as u64;
        self.heap.push(Reverse((deadline, self.number, slot)));
    }

    fn call_later(&mut self, delay: Duration, call: impl FnOnce() + 'static) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.push(delay, slot);
        let value = (self.number, Some(Box::new(call) as Box<dyn FnOnce()>));
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = value,
            None => self.slots.push(value),
        }
        slot
    }

    /// The entry stays until it reaches the top, or until there are too many stale ones.
    fn cancel(&mut self, slot: u32) {
        drop(self.slots[slot as usize].1.take().expect("it was pending"));
        self.free.push(slot);
        self.prune();
    }

    fn reset(&mut self, delay: Duration, slot: u32) {
        self.push(delay, slot);
        self.slots[slot as usize].0 = self.number;
        self.prune();
    }

    fn prune(&mut self) {
        let pending = self.slots.len() - self.free.len();
        if pending == 0 {
            self.heap.clear();
        } else if self.heap.len() > 1024.max(4 * pending) {
            let slots = &self.slots;
            self.heap.retain(|Reverse((_, number, slot))| {
                let (counts, call) = &slots[*slot as usize];
                counts == number && call.is_some()
            });
        }
    }

    fn run_due(&mut self) {
        let now = self.now();
        while let Some(Reverse((deadline, number, slot))) = self.heap.peek().copied() {
            if deadline > now {
                return;
            }
            self.heap.pop();
            let (counts, call) = &mut self.slots[slot as usize];
            if *counts == number {
                if let Some(call) = call.take() {
                    self.free.push(slot);
                    call();
                }
            }
        }
    }

    /// Waits at least for the kernel's timer slack of ordinary threads, so that real-time threads batch timers, too.
    fn sleep(&self) {
        if let Some(Reverse((deadline, ..))) = self.heap.peek() {
            match deadline.saturating_sub(self.now()) {
                0 => {}
                left => std::thread::sleep(Duration::from_nanos(left.max(50_000))),
            }
        }
    }
}

struct Calls {
    timers: Timers,
    fired: Rc<Cell<u64>>,
}

impl Calls {
    fn new() -> Calls {
        Calls { timers: Timers::new(), fired: Rc::default() }
    }

    fn later(&mut self, delay: Duration) -> u32 {
        let fired = self.fired.clone();
        self.timers.call_later(delay, move || fired.set(fired.get() + 1))
    }
}

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    let mut calls = Calls::new();
    let clock = Stopwatch::start();
    for delay in &plan.delays {
        calls.later(*delay);
    }
    plan.wait_until_due();
    calls.timers.run_due();
    let sample = clock.stop(plan.count());
    assert_eq!(calls.fired.get(), plan.count());
    sample.report();
}

pub fn expire(arguments: &Arguments<'_>) {
    let plan = ExpirePlan::new(arguments);
    let (mut calls, late, mut turns) = (Calls::new(), Rc::new(Lateness::default()), 0);
    let clock = Stopwatch::start();
    for round in 1..=plan.rounds {
        for (index, delay) in plan.delays.iter().enumerate() {
            if ExpirePlan::is_watched(index) {
                let (fired, late, due) = (calls.fired.clone(), late.clone(), Instant::now() + *delay);
                calls.timers.call_later(*delay, move || {
                    late.ran(due);
                    fired.set(fired.get() + 1);
                });
            } else {
                calls.later(*delay);
            }
        }
        while calls.fired.get() < round * plan.count() {
            calls.timers.sleep();
            calls.timers.run_due();
            turns += 1;
        }
    }
    late.report(clock.stop(plan.rounds * plan.count()), Some(turns));
}

pub fn cancel(arguments: &Arguments<'_>) {
    let plan = CancelPlan::new(arguments);
    let mut calls = Calls::new();
    let clock = Stopwatch::start();
    let mut slots = Vec::with_capacity(plan.delays.len());
    for _ in 0..plan.rounds {
        slots.clear();
        for delay in &plan.delays {
            slots.push(calls.later(*delay));
        }
        for index in &plan.order {
            calls.timers.cancel(slots[*index]);
        }
    }
    clock.stop(plan.count()).report();
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    let mut calls = Calls::new();
    let mut slots: Vec<_> = first.into_iter().map(|delay| calls.later(delay)).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &churns {
        calls.timers.cancel(slots[*index]);
        slots[*index] = calls.later(*delay);
    }
    clock.stop(churns.len() as u64).report();
}

pub fn reset(arguments: &Arguments<'_>) {
    let (first, resets) = churn_plan(arguments);
    let mut calls = Calls::new();
    let slots: Vec<_> = first.into_iter().map(|delay| calls.later(delay)).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &resets {
        calls.timers.reset(*delay, slots[*index]);
    }
    clock.stop(resets.len() as u64).report();
}

pub fn memory(arguments: &Arguments<'_>) {
    let mut plan = MemoryPlan::new(arguments);
    let mut calls = Calls::new();
    let slots: Vec<_> = plan.delays.iter().map(|delay| calls.later(*delay)).collect();
    plan.all_pending();
    slots.into_iter().for_each(|slot| calls.timers.cancel(slot));
    calls.timers = Timers::new();
    plan.all_cancelled();
}
