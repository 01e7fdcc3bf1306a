//! How many results a future may take in one poll.

use std::cell::Cell;

thread_local! {
    // `Future::poll` has no argument that could carry it from the executor to a Deferred.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Runs `f`, in which at most `results` results of awaited Deferreds are ready at once. For executors, which poll a
/// task inside; the reactor does.
///
/// A task that awaits one Deferred after another, each of which has fired already, would otherwise never return from its
/// poll. When the budget is used up, awaiting a fired Deferred wakes the task and returns `Pending`, and the result is
/// there for the next poll. Outside `with_budget` there is no limit.
///
/// ```
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
/// use twistor_deferred::{Failure, succeed, with_budget};
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
///
/// A call inside `f` has its own budget; the outer one continues after it.
pub fn with_budget<R>(results: u32, f: impl FnOnce() -> R) -> R {
    let _restored = RestoredBudget(LEFT.replace(Some(results)));
    f()
}

/// Whether this poll has taken all the results that it may.
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

/// Sets the budget back to what it was, also when `f` panics.
struct RestoredBudget(Option<u32>);

impl Drop for RestoredBudget {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}
