//! The same deadlines for all timer peers.

use std::time::{Duration, Instant};

use super::random::{Random, far_away};
use crate::runner::child::Arguments;

/// A fire workload: all timers are inserted, then all fall due while nobody looks, then the loop runs them. So the figure
/// holds inserting, ordering and firing, and no waiting.
pub struct FirePlan {
    start: Instant,
    lead: Duration,
    /// What each peer's timers are given; each peer reads the clock for them as its users would have it do.
    pub delays: Vec<Duration>,
}

impl FirePlan {
    /// `COUNT LEAD`: delays between LEAD milliseconds and a second more.
    pub fn new(arguments: &Arguments<'_>) -> FirePlan {
        let lead = Duration::from_millis(arguments.number(1));
        let mut random = Random::new();
        let mut delay = || lead + Duration::from_nanos(random.below(1_000_000_000));
        let delays = (0..arguments.number(0)).map(|_| delay()).collect();
        FirePlan { start: Instant::now(), lead, delays }
    }

    pub fn count(&self) -> u64 {
        self.delays.len() as u64
    }

    /// To be called after inserting: sleeps until all are due.
    pub fn wait_until_due(&self) {
        assert!(self.start.elapsed() < self.lead, "inserting took longer than the lead of {:?}", self.lead);
        std::thread::sleep(self.lead + Duration::from_millis(1_010));
    }
}

/// A cancel workload: `COUNT` timers, all far away, and the random order in which they are cancelled.
pub fn cancel_plan(arguments: &Arguments<'_>) -> (Vec<Duration>, Vec<usize>) {
    let count = arguments.number(0);
    let mut random = Random::new();
    let delays = (0..count).map(|_| far_away(&mut random)).collect();
    let mut order: Vec<usize> = (0..count as usize).collect();
    random.shuffle(&mut order);
    (delays, order)
}

/// A churn workload: `PENDING CHURNS`: the timers that wait, and then which is replaced by what.
pub fn churn_plan(arguments: &Arguments<'_>) -> (Vec<Duration>, Vec<(usize, Duration)>) {
    let pending = arguments.number(0);
    let mut random = Random::new();
    let first = (0..pending).map(|_| far_away(&mut random)).collect();
    let churns =
        (0..arguments.number(1)).map(|_| (random.below(pending) as usize, far_away(&mut random))).collect();
    (first, churns)
}
