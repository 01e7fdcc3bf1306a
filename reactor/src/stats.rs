//! Counting what the reactor does, and timing its callbacks.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::Origin;

/// What a reactor has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns of the loop.
    pub turns: u64,
    /// Calls of sources' handlers.
    pub events: u64,
    /// Delayed calls that ran.
    pub timers: u64,
    /// Calls from other threads that ran.
    pub remote_calls: u64,
    /// Callbacks that took longer than [`slow_callback`](crate::Builder::slow_callback) allows.
    pub slow_callbacks: u64,
    /// What took longest, and where that came from. Only known when
    /// [`slow_callback`](crate::Builder::slow_callback) was set: looking at the clock twice costs more than calling.
    pub longest: Option<(Duration, Origin)>,
}

pub(crate) struct Meter {
    slow: Option<Duration>,
    stats: Cell<Stats>,
}

impl Meter {
    pub(crate) fn new(slow: Option<Duration>) -> Meter {
        Meter { slow, stats: Cell::default() }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.get()
    }

    fn update(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    pub(crate) fn turn(&self) {
        self.update(|stats| stats.turns += 1);
    }

    pub(crate) fn event(&self) {
        self.update(|stats| stats.events += 1);
    }

    pub(crate) fn timer(&self) {
        self.update(|stats| stats.timers += 1);
    }

    pub(crate) fn remote_call(&self) {
        self.update(|stats| stats.remote_calls += 1);
    }

    #[inline]
    pub(crate) fn start(&self) -> Option<Instant> {
        self.slow.map(|_| Instant::now())
    }

    #[inline]
    pub(crate) fn stop(&self, started: Option<Instant>, origin: impl FnOnce() -> Origin) {
        if let Some(started) = started {
            self.stopped(started, origin());
        }
    }

    #[cold]
    fn stopped(&self, started: Instant, origin: Origin) {
        let Some(slow) = self.slow else { return };
        let took = started.elapsed();
        self.update(|stats| {
            if stats.longest.is_none_or(|(longest, _)| longest < took) {
                stats.longest = Some((took, origin));
            }
            if took > slow {
                stats.slow_callbacks += 1;
            }
        });
        if took > slow {
            log::warn!("{origin} held the loop for {took:?}");
        }
    }
}
