//! `call_later`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use twistor::reactor::{DelayedCall, Reactor};

use crate::peers::timer_plan::{FirePlan, cancel_plan, churn_plan};
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

pub fn cancel(arguments: &Arguments<'_>) {
    let (delays, order) = cancel_plan(arguments);
    let calls = Calls::new();
    let clock = Stopwatch::start();
    let mut delayed = Vec::with_capacity(delays.len());
    for delay in &delays {
        delayed.push(calls.later(*delay));
    }
    for index in &order {
        delayed[*index].cancel().expect("it was pending");
    }
    clock.stop(order.len() as u64).report();
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
