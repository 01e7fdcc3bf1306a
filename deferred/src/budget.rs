//! The number of results that a task may take in one poll.

use std::cell::Cell;

thread_local! {
    // Thread-local, because `Future::poll` has no argument that could carry the budget from the executor to a Deferred.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Runs `f`, in which awaiting Deferreds returns at most `results` results. For executors, which poll one task inside
/// `f`; the reactor does this.
///
/// Without a budget, a task that awaits one fired Deferred after another never returns from its poll. When the budget is
/// used up, awaiting a fired Deferred wakes the task and returns `Pending`. The next poll returns the result. Outside of
/// `with_budget` there is no limit.
///
/// ```
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
/// use twistor::deferred::with_budget;
/// use twistor::prelude::*;
///
/// let mut task = pin!(async {
///     for _ in 0..10 {
///         succeed(()).await?;
///     }
///     Ok::<(), Failure>(())
/// });
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(with_budget(8, || task.as_mut().poll(&mut context)).is_pending());
/// assert!(with_budget(8, || task.as_mut().poll(&mut context)).is_ready());
/// ```
///
/// # Re-entrancy
/// A nested call has its own budget. The outer budget continues after it.
pub fn with_budget<R>(results: u32, f: impl FnOnce() -> R) -> R {
    let _restored = RestoredBudget(LEFT.replace(Some(results)));
    f()
}

/// Returns whether the budget of this poll is used up.
#[inline]
pub(crate) fn is_spent() -> bool {
    LEFT.get() == Some(0)
}

/// Takes one result from the budget.
#[inline]
pub(crate) fn spend() {
    if let Some(left) = LEFT.get() {
        LEFT.set(Some(left.saturating_sub(1)));
    }
}

/// Restores the outer budget, even if `f` panics.
struct RestoredBudget(Option<u32>);

impl Drop for RestoredBudget {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}
