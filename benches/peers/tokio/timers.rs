//! tokio's timers: a task that sleeps, or a bare `Sleep` for workloads that cancel.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep, sleep_until};

use super::runtime::current_thread;
use crate::peers::timer_plan::{CancelPlan, ExpirePlan, FirePlan, Lateness, MemoryPlan, churn_plan};
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

pub fn expire(arguments: &Arguments<'_>) {
    let plan = ExpirePlan::new(arguments);
    let (fired, all) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let late = Arc::new(Mutex::new(Lateness::default()));
    current_thread().block_on(async {
        let clock = Stopwatch::start();
        for round in 1..=plan.rounds {
            for (index, delay) in plan.delays.iter().copied().enumerate() {
                let (fired, all) = (fired.clone(), all.clone());
                let (due, last) = (Instant::now() + delay, round * plan.count());
                let count = move || {
                    if fired.fetch_add(1, Relaxed) + 1 == last {
                        all.notify_one();
                    }
                };
                if ExpirePlan::is_watched(index) {
                    let late = late.clone();
                    tokio::spawn(async move {
                        sleep_until(due.into()).await;
                        late.lock().expect("nobody panicked").ran(due);
                        count();
                    });
                } else {
                    tokio::spawn(async move {
                        sleep_until(due.into()).await;
                        count();
                    });
                }
            }
            all.notified().await;
        }
        let sample = clock.stop(plan.rounds * plan.count());
        late.lock().expect("nobody panicked").report(sample, None);
    });
}

/// A sleep that is registered in the runtime's wheel.
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
    let plan = CancelPlan::new(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let clock = Stopwatch::start();
        let mut sleeps = Vec::with_capacity(plan.delays.len());
        for _ in 0..plan.rounds {
            sleeps.clear();
            for delay in &plan.delays {
                sleeps.push(Some(registered(*delay).await));
            }
            for index in &plan.order {
                sleeps[*index] = None;
            }
        }
        clock.stop(plan.count()).report();
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

pub fn reset(arguments: &Arguments<'_>) {
    let (first, resets) = churn_plan(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let mut sleeps = Vec::with_capacity(first.len());
        for delay in first {
            sleeps.push(registered(delay).await);
        }
        let clock = Stopwatch::start();
        for (index, delay) in &resets {
            sleeps[*index].as_mut().reset(tokio::time::Instant::now() + *delay);
        }
        clock.stop(resets.len() as u64).report();
    }));
}

pub fn memory(arguments: &Arguments<'_>) {
    let mut plan = MemoryPlan::new(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let mut sleeps = Vec::with_capacity(plan.delays.len());
        for index in 0..plan.delays.len() {
            sleeps.push(registered(plan.delays[index]).await);
        }
        plan.all_pending();
        drop(sleeps);
        yield_now().await;
        plan.all_cancelled();
    }));
}
