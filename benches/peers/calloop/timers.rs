//! calloop's timers: each is a source with a callback.

use std::time::Duration;

use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopHandle, RegistrationToken};

use crate::peers::timer_plan::{FirePlan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

fn insert(handle: &LoopHandle<'static, u64>, delay: Duration) -> RegistrationToken {
    let count = |_, _: &mut (), fired: &mut u64| {
        *fired += 1;
        TimeoutAction::Drop
    };
    handle.insert_source(Timer::from_duration(delay), count).expect("insert")
}

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    let mut event_loop = EventLoop::<u64>::try_new().expect("a loop");
    let handle = event_loop.handle();
    let mut fired = 0;
    let clock = Stopwatch::start();
    for delay in &plan.delays {
        insert(&handle, *delay);
    }
    plan.wait_until_due();
    while fired < plan.count() {
        event_loop.dispatch(None, &mut fired).expect("dispatch");
    }
    clock.stop(plan.count()).report();
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    let event_loop = EventLoop::<u64>::try_new().expect("a loop");
    let handle = event_loop.handle();
    let call_later = |delay: Duration| insert(&handle, delay);
    let mut tokens: Vec<_> = first.into_iter().map(call_later).collect();
    let clock = Stopwatch::start();
    for (index, delay) in &churns {
        handle.remove(tokens[*index]);
        tokens[*index] = call_later(*delay);
    }
    clock.stop(churns.len() as u64).report();
}
