//! A Deferred can be awaited.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::chain::{Awaited, Node, Stage};
use crate::deferred::{Pending, State, Tail};
use crate::failure::Unhandled;
use crate::slot::Slot;
use crate::{Deferred, Failure};

/// Nothing in a Deferred is pinned: it moves freely between polls.
impl<T> Unpin for Deferred<T> {}

/// Awaiting a Deferred gives its result. Dropping the future cancels nothing, as dropping any handle.
///
/// Polled again after it gave its result, it gives [`Abandoned`](crate::Abandoned).
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
        match mem::replace(&mut this.0, State::Fired(Err(Unhandled::taken()))) {
            State::Fired(result) => Poll::Ready(result.map_err(Unhandled::into_failure)),
            State::Pending(pending) => {
                if let Some(result) = pending.tail.take_result() {
                    return Poll::Ready(result.map_err(Unhandled::into_failure));
                }
                this.0 = State::Pending(pending.awaited(cx));
                Poll::Pending
            }
        }
    }
}

impl<T: 'static> Pending<T> {
    fn awaited(self, cx: &Context<'_>) -> Pending<T> {
        if self.tail.set_waker(cx.waker()) {
            return self;
        }
        let end = Node::new(Awaited::default());
        end.stage.set_waker(cx.waker());
        if let Some(tail) = self.tail.into_end() {
            tail.out.put(Slot::Next(end.clone()));
        }
        Pending { origin: self.origin, tail: Tail::new(end) }
    }
}
