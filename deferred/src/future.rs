//! Deferreds as futures.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::budget;
use crate::chain::{AnyStage, Awaited, Node};
use crate::deferred::DeferredState;
use crate::failure::Unhandled;
use crate::pending_chain::PendingChain;
use crate::slot::Slot;
use crate::{Deferred, Failure};

/// A Deferred can move between polls, because it holds no reference to itself.
impl<T> Unpin for Deferred<T> {}

/// Awaiting a Deferred returns its result.
///
/// # Cancel safety
/// A Deferred that was polled and is dropped before it fires is [cancelled](Deferred::cancel), and its failure is not
/// logged. So a task that is cancelled, times out or loses a race cancels the operation it awaits, as with other Rust
/// futures. [`detach`](Deferred::detach) drops a Deferred without cancelling it. A Deferred that was never polled is not
/// cancelled.
///
/// A value that has arrived but was not read is dropped, unless its source takes it back: a
/// [`DeferredQueue`](crate::DeferredQueue) does, and a [`Permit`](crate::Permit) releases its slot. Other sources use
/// [`Trigger::lend`](crate::Trigger::lend).
///
/// # Errors
/// A Deferred that is polled again after it returned its result fails with [`Abandoned`](crate::Abandoned).
///
/// # Other executors
/// To convert a future to a Deferred on another executor, spawn a local task that fires a trigger:
/// `spawn_local(async move { trigger.fire(future.await) })`. If the task is dropped, the Deferred fails with
/// [`Abandoned`](crate::Abandoned).
///
/// ```
/// use twistor::prelude::*;
///
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
        let end = Rc::<Node<T, Awaited>>::default();
        end.stage.set_waker(cx.waker());
        tail.out.put(Slot::Next(end.clone()));
        Deferred(DeferredState::Pending(PendingChain::new(origin, end)), self.1)
    }
}
