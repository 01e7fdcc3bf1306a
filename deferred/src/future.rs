//! A Deferred can be awaited.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::budget;
use crate::chain::{AnyStage, Awaited, Node};
use crate::deferred::{DeferredState, PendingChain};
use crate::failure::Unhandled;
use crate::slot::Slot;
use crate::{Deferred, Failure};

/// Nothing in a Deferred is pinned: it moves freely between polls.
impl<T> Unpin for Deferred<T> {}

/// Awaiting a Deferred returns its result.
///
/// # Cancel safety
/// A Deferred that was polled, and is dropped before it fires, is [cancelled](Deferred::cancel), and what it fails with
/// is not logged. So a task that is cancelled, times out, or loses a race cancels what it awaits, as Twisted's coroutines
/// and Rust's futures do. [`detach`](Deferred::detach) lets it run on. A Deferred that was never polled is only dropped.
///
/// A value that came and was not read is dropped, unless its source takes it back: a
/// [`DeferredQueue`](crate::DeferredQueue) does, and a [`Permit`](crate::Permit) releases its slot. An
/// own source uses [`Trigger::lend`](crate::Trigger::lend).
///
/// # Other executors
/// The way back, with whatever spawns local futures: `spawn_local(async move { trigger.fire(future.await) })` fires the
/// Deferred of `trigger`, as [`Abandoned`](crate::Abandoned) where the task is dropped.
///
/// Polled again after it returned its result, it fails with [`Abandoned`](crate::Abandoned).
///
/// ```
/// # use twistor_deferred::{succeed, Deferred, Failure};
/// async fn sum(a: Deferred<u64>, b: Deferred<u64>) -> Result<u64, Failure> {
///     Ok(a.await? + b.await?)
/// }
/// # let _ = sum(succeed(1), succeed(2));
/// ```
impl<T: 'static> Future for Deferred<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if budget::is_spent() && this.is_fired() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match mem::replace(this, Deferred::fired(Err(Unhandled::taken()))).try_result() {
            Ok(result) => {
                budget::spend();
                Poll::Ready(result)
            }
            Err(waiting) => {
                *this = waiting.awaited(cx);
                Poll::Pending
            }
        }
    }
}

impl<T: 'static> Deferred<T> {
    fn awaited(self, cx: &Context<'_>) -> Deferred<T> {
        let pending = match self.0 {
            DeferredState::Pending(pending) if !pending.set_waker(cx.waker()) => pending,
            state => return Deferred(state, self.1),
        };
        let Some((origin, tail)) = pending.into_ends() else {
            return Deferred(DeferredState::Fired(Err(Unhandled::taken())), self.1);
        };
        let end = Node::new(Awaited::default());
        end.stage.set_waker(cx.waker(), &origin);
        tail.out.put(Slot::Next(end.clone()));
        Deferred(DeferredState::Pending(PendingChain::new(origin, end)), self.1)
    }
}
