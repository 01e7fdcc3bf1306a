//! A future that lets the rest of the loop run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets everything else in the loop run before the task continues. For a task that computes for a long time between
/// two awaits.
///
/// ```
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let sum = reactor.spawn(async {
///     let mut sum = 0_u64;
///     for n in 0..10_000 {
///         sum += n;
///         if n % 1_000 == 0 {
///             yield_now().await;
///         }
///     }
///     Ok(sum)
/// });
/// assert_eq!(reactor.run_until(sum)?, 49_995_000);
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
///
/// The task continues in the next turn, after the sources, the calls from other threads and the timers of that
/// turn, and after tasks that were woken earlier.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future returned by [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
