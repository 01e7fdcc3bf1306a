//! Time as the timer queues count it: nanoseconds since the queue was created, in a `u64` that lasts for 584 years.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds within which a delay in nanoseconds cannot overflow: 272 years.
const CENTURIES: u64 = 1 << 33;

/// The time source of a timer queue. A clone of a manual clock is the same clock.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    epoch: Instant,
    /// The time of a manual clock. `None` for the system's monotonic clock. Other threads may read it, and not every
    /// target has an atomic `u64`.
    manual: Option<Arc<Mutex<u64>>>,
}

impl Time {
    pub(crate) fn system() -> Time {
        Time::new(None)
    }

    pub(crate) fn manual() -> Time {
        Time::new(Some(Arc::default()))
    }

    #[allow(clippy::disallowed_methods)] // Only differences from the epoch are visible.
    fn new(manual: Option<Arc<Mutex<u64>>>) -> Time {
        Time { epoch: Instant::now(), manual }
    }

    #[inline]
    #[allow(clippy::disallowed_methods)] // Not on a simulated reactor.
    pub(crate) fn now(&self) -> u64 {
        match &self.manual {
            Some(now) => read(now),
            // Not `nanos`: it cannot overflow.
            None => self.epoch.elapsed().as_nanos() as u64,
        }
    }

    /// Returns the time `delay` from now.
    #[inline]
    pub(crate) fn after(&self, delay: Duration) -> u64 {
        let now = self.now();
        if delay.as_secs() < CENTURIES {
            now.saturating_add(delay.as_secs() * 1_000_000_000 + u64::from(delay.subsec_nanos()))
        } else {
            now.saturating_add(nanos(delay))
        }
    }

    /// Returns the current time as an `Instant`.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(crate) fn now_instant(&self) -> Instant {
        match &self.manual {
            Some(now) => self.instant(read(now)),
            None => Instant::now(),
        }
    }

    /// Returns the time of day. A manual clock starts in 1970.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(crate) fn system_time(&self) -> SystemTime {
        match &self.manual {
            Some(now) => UNIX_EPOCH + Duration::from_nanos(read(now)),
            None => SystemTime::now(),
        }
    }

    /// Moves a manual clock forward, never back. Does nothing for the system's clock.
    pub(crate) fn advance_to(&self, time: u64) {
        if let Some(now) = &self.manual {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = time.max(*now);
        }
    }

    pub(crate) fn instant(&self, time: u64) -> Instant {
        let offset = Duration::from_nanos(time);
        // If an `Instant` cannot hold the sum, a century stands for "never".
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.epoch
            .checked_add(offset)
            .unwrap_or_else(|| self.epoch.checked_add(CENTURY).unwrap_or(self.epoch))
    }
}

#[cold]
fn read(now: &Mutex<u64>) -> u64 {
    *now.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a duration in nanoseconds. More than 584 years count as "never".
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
