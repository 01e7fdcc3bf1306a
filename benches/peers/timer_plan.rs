//! The deadlines for all timer peers.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::random::{Random, far_away};
use crate::runner::child::Arguments;
use crate::runner::memory::own_anonymous_memory;
use crate::runner::sample::Sample;

/// A fire workload: all timers are inserted, expire while the process sleeps, and then run. The figure includes
/// inserting, ordering and firing, and excludes waiting.
pub struct FirePlan {
    start: Instant,
    lead: Duration,
    /// The delays of the timers. Each peer reads the clock for them as its users would.
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

    /// Call this after inserting. Sleeps until all timers are due.
    pub fn wait_until_due(&self) {
        assert!(self.start.elapsed() < self.lead, "inserting took longer than the lead of {:?}", self.lead);
        std::thread::sleep(self.lead + Duration::from_millis(1_010));
    }
}

/// An expiry workload: the loop runs timers while they expire, and waits between them.
pub struct ExpirePlan {
    /// The number of times that all of `delays` are inserted and waited for.
    pub rounds: u64,
    pub delays: Vec<Duration>,
}

impl ExpirePlan {
    /// `COUNT FROM SPAN ROUNDS`: delays between FROM milliseconds and SPAN milliseconds more.
    pub fn new(arguments: &Arguments<'_>) -> ExpirePlan {
        let (from, span) = (Duration::from_millis(arguments.number(1)), arguments.number(2) * 1_000_000);
        let mut random = Random::new();
        let delays =
            (0..arguments.number(0)).map(|_| from + Duration::from_nanos(random.below(span))).collect();
        ExpirePlan { rounds: arguments.number(3), delays }
    }

    pub fn count(&self) -> u64 {
        self.delays.len() as u64
    }

    /// Returns whether the lateness of this timer is measured: of one in 64, so that the cost of reading the clock
    /// is small.
    pub fn is_watched(index: usize) -> bool {
        index % 64 == 0
    }
}

/// The lateness of the measured timers.
#[derive(Default)]
pub struct Lateness(RefCell<Vec<u64>>);

impl Lateness {
    /// Records that a timer due at `due` runs. It must not run early.
    pub fn ran(&self, due: Instant) {
        let late = Instant::now().checked_duration_since(due).expect("a timer ran early");
        self.0.borrow_mut().push(late.as_nanos() as u64);
    }

    /// Adds the median, the 99th percentile and the turns of the loop to a sample.
    pub fn report(&self, sample: Sample, turns: Option<u64>) {
        let mut late = self.0.take();
        late.sort_unstable();
        let at = |share: usize| late[late.len() * share / 100] as f64;
        let sample = sample.with("late", at(50)).with("late99", at(99));
        match turns {
            Some(turns) => sample.with("turns", turns as f64).report(),
            None => sample.report(),
        }
    }
}

/// A cancel workload: `COUNT BATCH`: batches of far timers, and the random order in which each batch is cancelled.
pub struct CancelPlan {
    pub rounds: u64,
    pub delays: Vec<Duration>,
    pub order: Vec<usize>,
}

impl CancelPlan {
    pub fn new(arguments: &Arguments<'_>) -> CancelPlan {
        let (count, batch) = (arguments.number(0), arguments.number(1));
        let mut random = Random::new();
        let delays = (0..batch).map(|_| far_away(&mut random)).collect();
        let mut order: Vec<usize> = (0..batch as usize).collect();
        random.shuffle(&mut order);
        CancelPlan { rounds: count / batch, delays, order }
    }

    pub fn count(&self) -> u64 {
        self.rounds * self.order.len() as u64
    }
}

/// A churn or reset workload: `PENDING CHURNS`: the pending timers, and which of them are replaced by which delays.
pub fn churn_plan(arguments: &Arguments<'_>) -> (Vec<Duration>, Vec<(usize, Duration)>) {
    let pending = arguments.number(0);
    let mut random = Random::new();
    let first = (0..pending).map(|_| far_away(&mut random)).collect();
    let churns =
        (0..arguments.number(1)).map(|_| (random.below(pending) as usize, far_away(&mut random))).collect();
    (first, churns)
}

/// A memory workload: `COUNT`: the memory of pending timers, and the memory left after all were cancelled and the
/// loop has taken one turn.
pub struct MemoryPlan {
    pub delays: Vec<Duration>,
    before: f64,
    pending: f64,
}

impl MemoryPlan {
    pub fn new(arguments: &Arguments<'_>) -> MemoryPlan {
        let mut random = Random::new();
        let delays = (0..arguments.number(0)).map(|_| far_away(&mut random)).collect();
        MemoryPlan { delays, before: own_anonymous_memory(), pending: 0.0 }
    }

    /// All timers are pending. The handles that cancel them count.
    pub fn all_pending(&mut self) {
        self.pending = own_anonymous_memory();
    }

    /// All timers and their handles are gone.
    pub fn all_cancelled(&self) {
        let each = |memory: f64| (memory - self.before).max(0.0) / self.delays.len() as f64;
        Sample::default()
            .with("memory", each(self.pending))
            .with("left", each(own_anonymous_memory()))
            .report();
    }
}
