//! tokio-util's queue of values with deadlines.

use std::time::Instant;

use futures_util::StreamExt;
use tokio_util::time::DelayQueue;

use super::runtime::current_thread;
use crate::peers::timer_plan::{CancelPlan, ExpirePlan, FirePlan, Lateness, MemoryPlan, churn_plan};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

pub fn fire(arguments: &Arguments<'_>) {
    let plan = FirePlan::new(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let clock = Stopwatch::start();
        let mut queue = DelayQueue::new();
        for (number, delay) in plan.delays.iter().enumerate() {
            queue.insert(number as u64, *delay);
        }
        plan.wait_until_due();
        let mut sum = 0;
        while let Some(expired) = queue.next().await {
            sum += expired.into_inner();
        }
        let sample = clock.stop(plan.count());
        assert_eq!(sum, plan.count() * (plan.count() - 1) / 2);
        sample.report();
    }));
}

pub fn expire(arguments: &Arguments<'_>) {
    let plan = ExpirePlan::new(arguments);
    current_thread().block_on(tokio::task::unconstrained(async {
        let late = Lateness::default();
        let clock = Stopwatch::start();
        let mut queue = DelayQueue::new();
        for _ in 0..plan.rounds {
            for (index, delay) in plan.delays.iter().enumerate() {
                let due = ExpirePlan::is_watched(index).then(|| Instant::now() + *delay);
                queue.insert(due, *delay);
            }
            for _ in 0..plan.count() {
                let expired = queue.next().await.expect("one is left");
                if let Some(due) = expired.into_inner() {
                    late.ran(due);
                }
            }
        }
        late.report(clock.stop(plan.rounds * plan.count()), None);
    }));
}

pub fn cancel(arguments: &Arguments<'_>) {
    let plan = CancelPlan::new(arguments);
    current_thread().block_on(async {
        let clock = Stopwatch::start();
        let mut queue = DelayQueue::new();
        let mut keys = Vec::with_capacity(plan.delays.len());
        for _ in 0..plan.rounds {
            keys.clear();
            for (number, delay) in plan.delays.iter().enumerate() {
                keys.push(queue.insert(number as u64, *delay));
            }
            for index in &plan.order {
                queue.remove(&keys[*index]);
            }
        }
        let sample = clock.stop(plan.count());
        assert!(queue.is_empty());
        sample.report();
    });
}

pub fn churn(arguments: &Arguments<'_>) {
    let (first, churns) = churn_plan(arguments);
    current_thread().block_on(async {
        let mut queue = DelayQueue::new();
        let mut keys: Vec<_> = first.into_iter().map(|delay| queue.insert(0_u64, delay)).collect();
        let clock = Stopwatch::start();
        for (index, delay) in &churns {
            queue.remove(&keys[*index]);
            keys[*index] = queue.insert(0, *delay);
        }
        clock.stop(churns.len() as u64).report();
    });
}

pub fn reset(arguments: &Arguments<'_>) {
    let (first, resets) = churn_plan(arguments);
    current_thread().block_on(async {
        let mut queue = DelayQueue::new();
        let keys: Vec<_> = first.into_iter().map(|delay| queue.insert(0_u64, delay)).collect();
        let clock = Stopwatch::start();
        for (index, delay) in &resets {
            queue.reset(&keys[*index], *delay);
        }
        clock.stop(resets.len() as u64).report();
    });
}

pub fn memory(arguments: &Arguments<'_>) {
    let mut plan = MemoryPlan::new(arguments);
    current_thread().block_on(async {
        let mut queue = DelayQueue::new();
        let keys: Vec<_> = plan.delays.iter().map(|delay| queue.insert(0_u64, *delay)).collect();
        plan.all_pending();
        keys.into_iter().for_each(|key| _ = queue.remove(&key));
        tokio::task::yield_now().await;
        plan.all_cancelled();
    });
}
