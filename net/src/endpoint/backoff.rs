//! The waits of a client that reconnects.

use std::time::Duration;

/// The waits between attempts to connect. They grow exponentially, with jitter, so that the clients of a
/// restarted server do not all return at once. Twisted: `backoffPolicy`.
///
/// This struct stays exhaustive, so that programs can write `Backoff { longest, ..Backoff::default() }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// The ratio of each wait to the previous one.
    pub factor: f64,
    /// The largest deviation, as a fraction of the wait: 0.25 means up to a quarter more or less.
    pub jitter: f64,
}

impl Default for Backoff {
    /// One second, at most one minute, factor 1.5, jitter 0.25.
    fn default() -> Backoff {
        let (initial, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        Backoff { initial, longest, factor: 1.5, jitter: 0.25 }
    }
}

impl Backoff {
    /// Returns the wait after `failures` consecutive failures (from 1), for a random `chance` from 0 to 1.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = (self.initial.as_secs_f64() * self.factor.powi(exponent)).min(self.longest.as_secs_f64());
        let wait = wait * (1.0 + self.jitter * (2.0 * chance - 1.0));
        Duration::try_from_secs_f64(wait).unwrap_or(self.longest)
    }
}
