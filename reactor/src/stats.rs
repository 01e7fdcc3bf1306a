//! Counts of the reactor's work, and the duration of its callbacks.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::CallSite;

/// Counts of a reactor's work since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns of the loop.
    pub turns: u64,
    /// Calls of source handlers.
    pub events: u64,
    /// Delayed calls that ran.
    pub timers: u64,
    /// Calls from other threads that ran.
    pub remote_calls: u64,
    /// Polls of [tasks](crate::Handle::spawn).
    pub polls: u64,
    /// Callbacks that took longer than the limit set by [`slow_callback`](crate::Builder::slow_callback).
    pub slow_callbacks: u64,
    /// The duration of the longest callback, and the code that it came from. Only measured if
    /// [`slow_callback`](crate::Builder::slow_callback) is set, because reading the clock twice costs more than the
    /// call.
    pub longest: Option<(Duration, CallSite)>,
}

pub(crate) struct Meter {
    slow: Option<Duration>,
    pub(crate) turns: Counter,
    pub(crate) events: Counter,
    pub(crate) timers: Counter,
    pub(crate) remote_calls: Counter,
    pub(crate) polls: Counter,
    slow_callbacks: Counter,
    longest: Cell<Option<(Duration, CallSite)>>,
}

impl Meter {
    pub(crate) fn new(slow: Option<Duration>) -> Meter {
        Meter {
            slow,
            turns: Counter::default(),
            events: Counter::default(),
            timers: Counter::default(),
            remote_calls: Counter::default(),
            polls: Counter::default(),
            slow_callbacks: Counter::default(),
            longest: Cell::default(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            turns: self.turns.get(),
            events: self.events.get(),
            timers: self.timers.get(),
            remote_calls: self.remote_calls.get(),
            polls: self.polls.get(),
            slow_callbacks: self.slow_callbacks.get(),
            longest: self.longest.get(),
        }
    }

    // A simulated reactor has no limit for callbacks.
    #[allow(clippy::disallowed_methods)]
    #[inline]
    pub(crate) fn start(&self) -> Option<Instant> {
        self.slow.map(|_| Instant::now())
    }

    #[inline]
    pub(crate) fn stop(&self, started: Option<Instant>, call_site: impl FnOnce() -> CallSite) {
        if let Some(started) = started {
            self.stopped(started, call_site());
        }
    }

    #[allow(clippy::disallowed_methods)] // As above.
    #[cold]
    fn stopped(&self, started: Instant, call_site: CallSite) {
        let Some(slow) = self.slow else { return };
        let took = started.elapsed();
        if self.longest.get().is_none_or(|(longest, _)| longest < took) {
            self.longest.set(Some((took, call_site)));
        }
        if took > slow {
            self.slow_callbacks.count();
            log::warn!("{call_site} held the loop for {took:?}");
        }
    }
}

#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.set(self.0.get() + 1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}
