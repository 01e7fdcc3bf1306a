//! A clock for tests.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::delayed_call::TimerQueue;
use crate::time::{Time, nanos};
use crate::{Clock, DelayedCall, ScheduledCall};

/// The maximum number of turns at one moment of an advance. After them the clock moves on even if calls are still
/// due.
const TURNS_A_MOMENT: usize = 1000;

/// A clock that stands still until it is advanced, to test code that waits for time without waiting. Twisted:
/// `task.Clock`.
///
/// ```
/// use std::time::Duration;
/// use twistor::prelude::*;
///
/// let clock = ManualClock::new();
/// let call = clock.call_later(Duration::from_secs(60), || println!("a minute has passed"));
/// clock.advance(Duration::from_secs(59));
/// assert!(call.active());
/// clock.advance(Duration::from_secs(1));
/// assert!(!call.active());
/// ```
///
/// # Dropping
///
/// Clones refer to the same clock and own it. A call that captured one keeps itself and the clock alive until it
/// has run or was cancelled.
#[derive(Clone)]
pub struct ManualClock {
    queue: Rc<TimerQueue>,
}

impl ManualClock {
    /// Creates a clock on which nothing is scheduled.
    pub fn new() -> ManualClock {
        ManualClock { queue: TimerQueue::new(Time::manual()) }
    }

    /// Moves the time forward. The clock stops at each deadline on the way and takes a turn there: it runs the
    /// calls that are due and were scheduled before the turn began, in the order of their deadlines.
    ///
    /// A call scheduled during a turn runs in a later turn, as in a reactor. At each moment on the way, the clock
    /// takes turns until no call is due there, at most 1,000. At the end of the advance it takes a single turn. So
    /// `advance(Duration::ZERO)` is one turn, and an advance returns even if a call keeps rescheduling itself
    /// without a delay.
    ///
    /// # Panics
    ///
    /// If a call panics, so that a test sees it; a reactor catches the panic instead. The clock is then at that
    /// call's deadline.
    pub fn advance(&self, by: Duration) {
        let mut now = self.queue.time.now();
        let end = now.saturating_add(nanos(by));
        loop {
            let turns = if now < end { TURNS_A_MOMENT } else { 1 };
            for _ in 0..turns {
                if !self.turn(now) {
                    break;
                }
            }
            if now >= end {
                return;
            }
            now = self.queue.first_after(now).map_or(end, |deadline| deadline.min(end));
            self.queue.time.advance_to(now);
        }
    }

    /// Runs the calls that are due, except calls scheduled during this turn. Returns false if none was due.
    fn turn(&self, now: u64) -> bool {
        let mark = self.queue.timers.borrow().mark();
        let mut ran = false;
        while let Some(call) = self.queue.pop_due(now, mark) {
            ran = true;
            call.run();
        }
        ran
    }

    /// Returns the number of scheduled calls, to assert that none is left. Twisted: `getDelayedCalls`.
    pub fn pending(&self) -> usize {
        self.queue.timers.borrow().len()
    }
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.queue.time.instant(self.queue.time.now())
    }

    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall {
        self.queue.call_later(delay, call)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        Rc::new(self.clone())
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("pending", &self.pending()).finish()
    }
}
