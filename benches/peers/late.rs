//! Shared by the lateness peers: the delays and the report.

use std::time::{Duration, Instant};

use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

/// `MICROSECONDS TIMES`.
pub struct Late {
    pub delay: Duration,
    pub times: usize,
    late: Vec<Duration>,
}

impl Late {
    pub fn new(arguments: &Arguments<'_>) -> Late {
        let (delay, times) = (Duration::from_micros(arguments.number(0)), arguments.number(1) as usize);
        Late { delay, times, late: Vec::with_capacity(times) }
    }

    /// Records that a timer requested at `asked` has run.
    pub fn ran(&mut self, asked: Instant) {
        self.late.push(Instant::now().saturating_duration_since(asked + self.delay));
    }

    pub fn is_complete(&self) -> bool {
        self.late.len() >= self.times
    }

    pub fn report(mut self) {
        self.late.sort();
        let at = |share: usize| self.late[self.late.len() * share / 100].as_nanos() as f64;
        Sample::default().with("late", at(50)).with("late90", at(90)).report();
    }
}
