//! `call_later`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor::reactor::{DelayedCall, Reactor};

use crate::peers::timer_plan::{CancelPlan, ExpirePlan, FirePlan, Lateness, MemoryPlan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

struct Calls {
    reactor: Reactor,
    fired: Rc<Cell<u64>>,
}

impl Calls {
    fn new() -> Calls {
        Calls { reactor: Reactor::new().expect("a reactor"), fired: Rc::default() }
    }

    fn later(&self, delay: Duration) -> DelayedCall {
        let fired = self.fired.clone();
        self.reactor.call_later(delay, move || fired.set(fired.get() + 1))
    }
}

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    let calls = Calls::new();
    let clock = Stopwatch::start();
    for delay in &plan.delays {
        calls.later(*delay);
    }
    plan.wait_until_due();
    while calls.fired.get() < plan.count() {
        calls.reactor.turn(None).expect("a turn");
    }
    clock.stop(plan.count()).report();
}

pub fn expire(arguments: &Arguments<'_>) {
    let plan = ExpirePlan::new(arguments);
    let (calls, late) = (Calls::new(), Rc::new(Lateness::default()));
    let clock = Stopwatch::start();
    for round in 1..=plan.rounds {
        for (index, delay) in plan.delays.iter().enumerate() {
            if ExpirePlan::is_watched(index) {
                let (fired, late, due) = (calls.fired.clone(), late.clone(), Instant::now() + *delay);
                calls.reactor.call_later(*delay, move || {
                    late.ran(due);
                    fired.set(fired.get() + 1);
                });
            } else {
                calls.later(*delay);
            }
        }
        while calls.fired.get() < round * plan.count() {
            calls.reactor.turn(None).expect("a turn");
        }
    }
    let sample = clock.stop(plan.rounds * plan.count());
    late.report(sample, Some(calls.reactor.stats().turns));
}

pub fn cancel(arguments: &Arguments<'_>) {
    let plan = CancelPlan::new(arguments);
    let calls = Calls::new();
    let clock = Stopwatch::start();
    let mut delayed = Vec::with_capacity(plan.delays.len());
    for _ in 0..plan.rounds {
        delayed.clear();
        for delay in &plan.delays {
            delayed.push(calls.later(*delay));
        }
        for index in &plan.order {
            delayed[*index].cancel().expect("it was pending");
        }
    }
    clock.stop(plan.count()).report();
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    let calls = Calls::new();
    let mut delayed: Vec<_> = first.into_iter().map(|delay| calls.later(delay)).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &churns {
        delayed[*index].cancel().expect("it was pending");
        delayed[*index] = calls.later(*delay);
    }
    clock.stop(churns.len() as u64).report();
}

pub fn reset(arguments: &Arguments<'_>) {
    let (first, resets) = churn_plan(arguments);
    let calls = Calls::new();
    let delayed: Vec<_> = first.into_iter().map(|delay| calls.later(delay)).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &resets {
        delayed[*index].reset(*delay).expect("it was pending");
    }
    clock.stop(resets.len() as u64).report();
}

pub fn memory(arguments: &Arguments<'_>) {
    let mut plan = MemoryPlan::new(arguments);
    let calls = Calls::new();
    let delayed: Vec<_> = plan.delays.iter().map(|delay| calls.later(*delay)).collect();
    plan.all_pending();
    delayed.into_iter().for_each(|call| call.cancel().expect("it was pending"));
    calls.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    plan.all_cancelled();
}
