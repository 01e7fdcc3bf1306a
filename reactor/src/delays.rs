//! Deferreds that wait for time, or not longer than a time.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Canceller, Deferred, Outcome};

use crate::{Clock, DelayedCall, ScheduledCall};

/// Calls `f` after `delay`; the Deferred fires with its outcome. Twisted's `task.deferLater`.
///
/// Cancelling before then takes the call back: `f` is dropped, and not called.
///
/// ```
/// use std::time::Duration;
/// use twistor_reactor::{Reactor, defer_later};
///
/// let reactor = Reactor::new()?;
/// let greeting = defer_later(&reactor, Duration::from_millis(1), || Ok("good morning"));
/// assert_eq!(reactor.run_until(greeting)?, "good morning");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Cancelling takes the timer away; the function is not called.
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
            // It was pending: else the Deferred had fired.
            let _ = call.cancel();
        }
    });
    call.set(Some(clock.schedule(delay, ScheduledCall::new(move || trigger.callback(())))));
    deferred.add_callback(move |()| f())
}

/// Time limits for Deferreds; `use` it to have [`add_timeout`](AddTimeout::add_timeout).
pub trait AddTimeout {
    /// Cancels the Deferred if it has not fired after `limit`: it fails with [`TimedOut`], unless its canceller
    /// fires something of its own, which goes on instead. Twisted's `addTimeout`.
    ///
    /// The limit is for the chain as it is now: callbacks added to what this returns are not timed. When the result
    /// comes first, the timer goes away with it. When the run ends first, or the clock is dropped, the Deferred is
    /// cancelled at once, and fails with [`Cancelled`] unless its canceller fires something else.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::{AddTimeout, Reactor, TimedOut};
    /// use twistor_deferred::Deferred;
    ///
    /// let reactor = Reactor::new()?;
    /// let (answer, _never) = Deferred::<u64>::new();
    /// let failure = reactor.run_until(answer.add_timeout(Duration::from_millis(1), &reactor)).unwrap_err();
    /// assert!(failure.is::<TimedOut>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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
            // Not pending when it is what cancelled.
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

/// The timer's side. Dropped without a call, because the run ended or the clock is gone, it cancels: a Deferred that
/// was to wait for a limited time is not to wait for ever.
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

/// The error of a Deferred that did not fire in time. Twisted's `TimeoutError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    limit: Duration,
}

impl TimedOut {
    /// For limits that are kept by other means than [`AddTimeout`].
    pub fn after(limit: Duration) -> TimedOut {
        TimedOut { limit }
    }

    /// The time that was not enough.
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
