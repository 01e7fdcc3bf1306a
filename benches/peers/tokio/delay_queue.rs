//! tokio-util's queue of values that become due.

use futures_util::StreamExt;
use tokio_util::time::DelayQueue;

use super::runtime::current_thread;
use crate::peers::timer_plan::{FirePlan, cancel_plan, churn_plan};
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

pub fn cancel(arguments: &Arguments<'_>) {
    let (delays, order) = cancel_plan(arguments);
    current_thread().block_on(async {
        let clock = Stopwatch::start();
        let mut queue = DelayQueue::new();
        let mut keys = Vec::with_capacity(delays.len());
        for (number, delay) in delays.iter().enumerate() {
            keys.push(queue.insert(number as u64, *delay));
        }
        for index in &order {
            queue.remove(&keys[*index]);
        }
        let sample = clock.stop(order.len() as u64);
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
