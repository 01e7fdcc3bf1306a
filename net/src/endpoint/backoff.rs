//! The waits of a client that reconnects.

use std::hash::{self, BuildHasher, Hasher};
use std::time::Duration;

use twistor_reactor::Handle;

/// The waits between attempts to connect. They grow exponentially, with jitter, so that the clients of a
/// restarted server do not all return at once. Twisted: `backoffPolicy`.
///
/// They also fit any other operation that is repeated after a failure, through
/// [`random_delay`](Backoff::random_delay).
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

    /// Returns the wait after `failures` consecutive failures (from 1), with random jitter. On a simulated reactor, the
    /// jitter is drawn from its seed.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::{Backoff, Conversation};
    /// use twistor::prelude::*;
    ///
    /// async fn connect(reactor: &Handle, server: &ClientEndpoint) -> Result<Conversation, Failure> {
    ///     let mut failures = 0;
    ///     loop {
    ///         match server.converse(reactor).await {
    ///             Err(failure) if failures < 5 => println!("{failure}; trying again"),
    ///             result => return result,
    ///         }
    ///         failures += 1;
    ///         reactor.sleep(Backoff::default().random_delay(reactor, failures)).await?;
    ///     }
    /// }
    /// ```
    pub fn random_delay(&self, reactor: &Handle, failures: u32) -> Duration {
        self.delay(failures, chance(reactor))
    }
}

/// Returns a number from 0 to 1: in a simulation, drawn from its seed; otherwise from the random state of std's maps,
/// since the jitter need not be unpredictable.
#[allow(clippy::disallowed_types)] // Not reached in a simulation.
fn chance(reactor: &Handle) -> f64 {
    let bits = match reactor.simulation() {
        Some(simulation) => simulation.random(),
        None => hash::RandomState::new().build_hasher().finish(),
    };
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
