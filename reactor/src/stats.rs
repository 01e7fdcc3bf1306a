//! Counts of the reactor's work, and the duration of its callbacks.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use twistor_deferred::guarded;

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

/// Something that held the loop for longer than its limit, as [`on_slow`](crate::Builder::on_slow) reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// A callback, with the limit of [`slow_callback`](crate::Builder::slow_callback).
    Callback {
        /// The user's code that the loop called.
        call_site: CallSite,
        /// The duration of the call.
        took: Duration,
    },
    /// A turn without its wait, with the limit of [`slow_turn`](crate::Builder::slow_turn).
    Turn {
        /// The number of the turn, counting from one as [`Stats::turns`] does.
        number: u64,
        /// The number of callbacks that ran in it: of sources, calls from other threads, delayed calls and tasks.
        callbacks: u64,
        /// The time from the end of the wait to the end of the turn.
        took: Duration,
    },
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slow::Callback { call_site, took } => write!(f, "{call_site} held the loop for {took:?}"),
            Slow::Turn { number, callbacks, took } => {
                write!(f, "turn {number} took {took:?} for {callbacks} callbacks")
            }
        }
    }
}

pub(crate) type SlowCallback = Box<dyn Fn(&Slow)>;

/// The limits of a reactor, and a callback that is called when one is exceeded.
#[derive(Default)]
pub(crate) struct SlowLimits {
    pub(crate) callback: Option<Duration>,
    pub(crate) turn: Option<Duration>,
    pub(crate) report: Option<SlowCallback>,
}

impl SlowLimits {
    fn report(&self, slow: &Slow) {
        let Some(report) = &self.report else { return log::warn!("{slow}") };
        if let Err(message) = guarded(|| report(slow)) {
            log::error!("the `on_slow` callback panicked: {message}");
        }
    }
}

pub(crate) struct Meter {
    limits: SlowLimits,
    pub(crate) turns: Counter,
    pub(crate) events: Counter,
    pub(crate) timers: Counter,
    pub(crate) remote_calls: Counter,
    pub(crate) polls: Counter,
    slow_callbacks: Counter,
    longest: Cell<Option<(Duration, CallSite)>>,
}

impl Meter {
    pub(crate) fn new(limits: SlowLimits) -> Meter {
        Meter {
            limits,
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
        self.limits.callback.map(|_| Instant::now())
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
        let Some(limit) = self.limits.callback else { return };
        let took = started.elapsed();
        if self.longest.get().is_none_or(|(longest, _)| longest < took) {
            self.longest.set(Some((took, call_site)));
        }
        if took > limit {
            self.slow_callbacks.count();
            self.limits.report(&Slow::Callback { call_site, took });
        }
    }

    /// Returns the time and the number of callbacks so far, if turns are timed.
    #[allow(clippy::disallowed_methods)] // As above.
    #[inline]
    pub(crate) fn turn_began(&self) -> Option<(Instant, u64)> {
        self.limits.turn.map(|_| (Instant::now(), self.callbacks()))
    }

    #[inline]
    pub(crate) fn turn_ended(&self, began: Option<(Instant, u64)>) {
        if let Some((began, callbacks)) = began {
            self.turn_took(began, callbacks);
        }
    }

    #[allow(clippy::disallowed_methods)] // As above.
    #[cold]
    fn turn_took(&self, began: Instant, before: u64) {
        let took = began.elapsed();
        if self.limits.turn.is_some_and(|limit| took > limit) {
            let (number, callbacks) = (self.turns.get(), self.callbacks() - before);
            self.limits.report(&Slow::Turn { number, callbacks, took });
        }
    }

    fn callbacks(&self) -> u64 {
        self.events.get() + self.timers.get() + self.remote_calls.get() + self.polls.get()
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
