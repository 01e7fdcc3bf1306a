//! A future that waits for a time.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use twistor_deferred::Failure;

use crate::{DelayedCall, Handle, ReactorGone};

impl Handle {
    /// Returns a future that completes after `delay`, counted from now. Twisted: `deferLater`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let done = reactor.spawn(async move { handle.sleep(Duration::from_millis(1)).await });
    /// reactor.run_until(done)?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReactorGone`] if the run ends, or the reactor is dropped, before `delay` has passed.
    #[track_caller]
    pub fn sleep(&self, delay: Duration) -> Sleep {
        let state = Rc::new(Cell::new(SleepState::Waiting(None)));
        let end = SleepEnd(state.clone());
        let call = self.call_later(delay, move || end.set(SleepState::Over));
        Sleep { state, call }
    }
}

/// The future returned by [`Handle::sleep`].
///
/// # Dropping
///
/// Dropping it cancels its timer, so a sleep that lost a race costs nothing more.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    state: Rc<Cell<SleepState>>,
    call: DelayedCall,
}

enum SleepState {
    Waiting(Option<Waker>),
    Over,
    Lost,
}

/// The timer's side. If it is dropped without being called, the sleep fails.
struct SleepEnd(Rc<Cell<SleepState>>);

impl SleepEnd {
    fn set(self, state: SleepState) {
        if let SleepState::Waiting(Some(waker)) = self.0.replace(state) {
            waker.wake();
        }
    }
}

impl Drop for SleepEnd {
    fn drop(&mut self) {
        match self.0.replace(SleepState::Lost) {
            SleepState::Waiting(Some(waker)) => waker.wake(),
            SleepState::Waiting(None) | SleepState::Lost => {}
            SleepState::Over => self.0.set(SleepState::Over),
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state.replace(SleepState::Over) {
            SleepState::Waiting(_) => {
                self.state.set(SleepState::Waiting(Some(context.waker().clone())));
                Poll::Pending
            }
            SleepState::Over => Poll::Ready(Ok(())),
            SleepState::Lost => Poll::Ready(Err(ReactorGone.into())),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // Cancelling must not wake the task.
        self.state.set(SleepState::Over);
        // The timer may have run already.
        let _ = self.call.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("until", &self.call.time()).finish()
    }
}
