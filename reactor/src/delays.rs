//! Deferreds that fire after a delay, and time limits for Deferreds.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Canceller, Deferred, Outcome};

use crate::{Clock, DelayedCall, ScheduledCall};

/// Calls `f` after `delay`. The Deferred fires with the result of `f`. Twisted: `task.deferLater`.
///
/// ```
/// use std::time::Duration;
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let greeting = defer_later(&reactor, Duration::from_millis(1), || Ok("good morning"));
/// assert_eq!(reactor.run_until(greeting)?, "good morning");
/// # Ok::<(), Failure>(())
/// ```
///
/// # Cancel safety
///
/// Cancelling before `delay` has passed cancels the timer: `f` is dropped without being called.
#[track_caller]
pub fn defer_later<O: Outcome>(
    clock: &(impl Clock + ?Sized),
    delay: Duration,
    f: impl FnOnce() -> O + 'static,
) -> Deferred<O::Value> {
    let call: Rc<Cell<Option<DelayedCall>>> = Rc::default();
    let slot = call.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(call) = slot.take() {
            // The call is pending: otherwise the Deferred would have fired.
            let _ = call.cancel();
        }
    });
    call.set(Some(clock.schedule(delay, ScheduledCall::new(move || trigger.callback(())))));
    deferred.add_callback(move |()| f())
}

/// Time limits for Deferreds. Import this trait to call [`add_timeout`](AddTimeout::add_timeout).
pub trait AddTimeout {
    /// Cancels the Deferred if it has not fired within `limit`. It then fails with [`TimedOut`], unless its
    /// canceller fires another result. Twisted: `addTimeout`.
    ///
    /// The limit covers the chain as it is now; callbacks added to the returned Deferred are not timed. If the
    /// result arrives in time, the timer is cancelled. If the run ends first, or the clock is dropped, the Deferred
    /// is cancelled then, and fails with [`Cancelled`] unless its canceller fires another result.
    ///
    /// For an HTTP request, the timeouts of the request itself are better: their errors name the server and the stage that
    /// took too long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    /// use twistor::reactor::TimedOut;
    ///
    /// let reactor = Reactor::new()?;
    /// let (answer, _never) = Deferred::<u64>::new();
    /// let failure = reactor.run_until(answer.add_timeout(Duration::from_millis(1), &reactor)).unwrap_err();
    /// assert!(failure.is::<TimedOut>());
    /// # Ok::<(), Failure>(())
    /// ```
    #[must_use = "a failure in a Deferred that is dropped can only be logged"]
    #[track_caller]
    fn add_timeout(self, limit: Duration, clock: &(impl Clock + ?Sized)) -> Self;
}

impl<T: 'static> AddTimeout for Deferred<T> {
    #[track_caller]
    fn add_timeout(self, limit: Duration, clock: &(impl Clock + ?Sized)) -> Deferred<T> {
        if self.is_fired() {
            return self;
        }
        let state = Rc::new(Cell::new(Limit::Pending));
        let limiter = Limiter { state: state.clone(), canceller: self.canceller() };
        let timer = clock.schedule(limit, ScheduledCall::new(move || limiter.cancel(Limit::Passed)));
        self.add_both(move |result| {
            let before = state.replace(Limit::Over);
            // The timer is no longer pending if it caused the cancellation.
            let _ = timer.cancel();
            match result {
                Err(failure) if before == Limit::Passed && failure.is::<Cancelled>() => {
                    Err(TimedOut { limit }.into())
                }
                result => result,
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Pending,
    Passed,
    /// The Deferred has fired, or is being cancelled because the clock has dropped its calls.
    Over,
}

/// The timer's side of a time limit. If it is dropped without being called, because the run ended or the clock is
/// gone, it cancels the Deferred: a Deferred with a time limit must not wait forever.
struct Limiter {
    state: Rc<Cell<Limit>>,
    canceller: Canceller,
}

impl Limiter {
    fn cancel(&self, state: Limit) {
        if self.state.get() == Limit::Pending {
            self.state.set(state);
            self.canceller.cancel();
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.cancel(Limit::Over);
    }
}

/// The error of a Deferred that did not fire in time. Twisted: `TimeoutError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    limit: Duration,
}

impl TimedOut {
    /// Creates the error, for time limits that are implemented without [`AddTimeout`].
    pub fn after(limit: Duration) -> TimedOut {
        TimedOut { limit }
    }

    /// Returns the time limit that was exceeded.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.limit)
    }
}

impl std::error::Error for TimedOut {}
