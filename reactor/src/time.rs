//! Time as the queues count it: nanoseconds since a queue's own beginning, in a `u64` that lasts for 584 years.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a timer queue takes its time from.
#[derive(Debug)]
pub(crate) struct Time {
    epoch: Instant,
    /// The time of a clock that only moves when it is told to; `None` is the system's monotonic clock.
    manual: Option<Cell<u64>>,
}

impl Time {
    pub(crate) fn system() -> Time {
        Time::new(None)
    }

    pub(crate) fn manual() -> Time {
        Time::new(Some(Cell::new(0)))
    }

    #[allow(clippy::disallowed_methods)] // Times are told apart by their distance from the epoch alone.
    fn new(manual: Option<Cell<u64>>) -> Time {
        Time { epoch: Instant::now(), manual }
    }

    #[allow(clippy::disallowed_methods)] // Not on a simulated reactor.
    pub(crate) fn now(&self) -> u64 {
        match &self.manual {
            Some(now) => now.get(),
            None => nanos(self.epoch.elapsed()),
        }
    }

    /// The same as an `Instant`.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(crate) fn now_instant(&self) -> Instant {
        match &self.manual {
            Some(now) => self.instant(now.get()),
            None => Instant::now(),
        }
    }

    /// The time of day: of a manual clock, counted from its beginning as from 1970.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(crate) fn system_time(&self) -> SystemTime {
        match &self.manual {
            Some(now) => UNIX_EPOCH + Duration::from_nanos(now.get()),
            None => SystemTime::now(),
        }
    }

    /// Moves a manual clock forward; it never goes back, and the system's clock stays as it is.
    pub(crate) fn advance_to(&self, time: u64) {
        if let Some(now) = &self.manual {
            now.set(now.get().max(time));
        }
    }

    pub(crate) fn instant(&self, time: u64) -> Instant {
        let offset = Duration::from_nanos(time);
        // Where an Instant cannot hold the sum, a century stands for "never".
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.epoch
            .checked_add(offset)
            .unwrap_or_else(|| self.epoch.checked_add(CENTURY).unwrap_or(self.epoch))
    }
}

/// A duration in nanoseconds; past 584 years it is "never".
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
