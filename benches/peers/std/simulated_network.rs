//! The floor of a simulated network: a heap of pieces of data, each with the time at which it arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::peers::random::Random;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// `TRIPS`.
pub fn run(arguments: &Arguments<'_>) {
    let trips = arguments.number(0);
    let mut random = Random::new();
    let mut latency = || 1_000_000 + random.below(9_000_000);
    let clock = Stopwatch::start();
    let mut events = BinaryHeap::new();
    events.push(Reverse((latency(), 0, vec![b'm'; 64])));
    let mut done = 0;
    while let Some(Reverse((time, to, data))) = events.pop() {
        done += u64::from(to == 1);
        if done == trips {
            break;
        }
        events.push(Reverse((time + latency(), 1 - to, data.to_vec())));
    }
    clock.stop(trips).report();
}
