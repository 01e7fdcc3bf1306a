//! A clock for tests.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::delayed_call::TimerQueue;
use crate::time::{Time, nanos};
use crate::{Clock, DelayedCall, ScheduledCall};

/// Turns at one moment of an advance, after which the clock moves on although calls are still due.
const TURNS_A_MOMENT: usize = 1000;

/// A clock that stands still until it is told to move, so that what waits for time is tested without waiting.
/// Twisted's `task.Clock`.
///
/// ```
/// use std::time::Duration;
/// use twistor_reactor::{Clock, ManualClock};
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
/// Clones are the same clock, and own it: a call that captured one stays, and keeps the clock, until it has run or
/// was cancelled.
#[derive(Clone)]
pub struct ManualClock {
    queue: Rc<TimerQueue>,
}

impl ManualClock {
    /// A clock on which nothing is scheduled.
    pub fn new() -> ManualClock {
        ManualClock { queue: TimerQueue::new(Time::manual()) }
    }

    /// Moves the time forward. The clock stops at each deadline on the way and takes a turn there: it runs the calls
    /// that are due and were scheduled before the turn began, in the order of their deadlines.
    ///
    /// A call that is scheduled during a turn runs in a later one, as in a reactor. On the way, the clock takes turns at
    /// one moment until no call is due there, at most 1,000. At the end of the advance it takes a single turn. So
    /// `advance(Duration::ZERO)` is one turn, and an advance returns although a call schedules itself again and again
    /// without a delay.
    ///
    /// # Panics
    ///
    /// When a call does: unlike a reactor, it lets a test see that. The clock stands at that call's deadline then.
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

    /// Runs the calls that are due, except those that are scheduled meanwhile; false when there were none.
    fn turn(&self, now: u64) -> bool {
        let mark = self.queue.timers.borrow().mark();
        let mut ran = false;
        while let Some(call) = self.queue.pop_due(now, mark) {
            ran = true;
            call.run();
        }
        ran
    }

    /// Advances by each of these, one after the other.
    ///
    /// # Panics
    ///
    /// As [`advance`](ManualClock::advance).
    pub fn pump(&self, steps: impl IntoIterator<Item = Duration>) {
        steps.into_iter().for_each(|step| self.advance(step));
    }

    /// How many calls wait for their time. Twisted's `getDelayedCalls`, for asserting that nothing is left over.
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
