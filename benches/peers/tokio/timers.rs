//! tokio's own timers: a task that sleeps where something is to run later, a bare `Sleep` where it is dropped again.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

use super::runtime::current_thread;
use crate::peers::timer_plan::{FirePlan, cancel_plan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

thread_local! {
    static REGISTERED: Cell<u64> = const { Cell::new(0) };
}

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    let fired = Arc::new(AtomicU64::new(0));
    current_thread().block_on(async {
        let clock = Stopwatch::start();
        for delay in plan.delays.iter().copied() {
            let fired = fired.clone();
            tokio::spawn(async move {
                REGISTERED.set(REGISTERED.get() + 1);
                sleep(delay).await;
                fired.fetch_add(1, Relaxed);
            });
        }
        while REGISTERED.get() < plan.count() {
            yield_now().await;
        }
        plan.wait_until_due();
        while fired.load(Relaxed) < plan.count() {
            yield_now().await;
        }
        clock.stop(plan.count()).report();
    });
}

/// A sleep that the runtime's wheel knows of.
async fn registered(delay: Duration) -> Pin<Box<Sleep>> {
    let mut sleep = Box::pin(sleep(delay));
    poll_fn(|context| {
        assert!(sleep.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    sleep
}

pub fn cancel(arguments: &Arguments<'_>) {
    let (delays, order) = cancel_plan(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let clock = Stopwatch::start();
        let mut sleeps = Vec::with_capacity(delays.len());
        for delay in &delays {
            sleeps.push(Some(registered(*delay).await));
        }
        for index in &order {
            sleeps[*index] = None;
        }
        clock.stop(order.len() as u64).report();
    }));
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let mut sleeps = Vec::with_capacity(first.len());
        for delay in first {
            sleeps.push(Some(registered(delay).await));
        }
        let clock = Stopwatch::start();
        for (index, delay) in &churns {
            sleeps[*index] = None;
            sleeps[*index] = Some(registered(*delay).await);
        }
        clock.stop(churns.len() as u64).report();
    }));
}
