//! The floor: closures in an ordered map of the standard library, no loop around it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::peers::timer_plan::{FirePlan, cancel_plan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

#[derive(Default)]
struct Timers {
    calls: BTreeMap<(Instant, u64), Box<dyn FnOnce()>>,
    number: u64,
}

impl Timers {
    fn call_later(&mut self, delay: Duration, call: impl FnOnce() + 'static) -> (Instant, u64) {
        self.number += 1;
        let key = (Instant::now() + delay, self.number);
        self.calls.insert(key, Box::new(call));
        key
    }
}

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    let fired = Rc::new(Cell::new(0));
    let mut timers = Timers::default();
    let clock = Stopwatch::start();
    for delay in &plan.delays {
        let fired = fired.clone();
        timers.call_later(*delay, move || fired.set(fired.get() + 1));
    }
    plan.wait_until_due();
    let now = Instant::now();
    while let Some(entry) = timers.calls.first_entry().filter(|entry| entry.key().0 <= now) {
        entry.remove()();
    }
    let sample = clock.stop(plan.count());
    assert_eq!(fired.get(), plan.count());
    sample.report();
}

pub fn cancel(arguments: &Arguments<'_>) {
    let (delays, order) = cancel_plan(arguments);
    let fired = Rc::new(Cell::new(0));
    let mut timers = Timers::default();
    let clock = Stopwatch::start();
    let mut keys = Vec::with_capacity(delays.len());
    for delay in &delays {
        let fired = fired.clone();
        keys.push(timers.call_later(*delay, move || fired.set(fired.get() + 1)));
    }
    for index in &order {
        timers.calls.remove(&keys[*index]);
    }
    let sample = clock.stop(order.len() as u64);
    assert!(timers.calls.is_empty());
    sample.report();
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    let fired = Rc::new(Cell::new(0));
    let mut timers = Timers::default();
    let insert = |timers: &mut Timers, delay| {
        let fired = fired.clone();
        timers.call_later(delay, move || fired.set(fired.get() + 1))
    };
    let mut keys: Vec<_> = first.into_iter().map(|delay| insert(&mut timers, delay)).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &churns {
        timers.calls.remove(&keys[*index]);
        keys[*index] = insert(&mut timers, *delay);
    }
    clock.stop(churns.len() as u64).report();
}
