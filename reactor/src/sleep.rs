//! Waiting for a time, in a future.

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
    /// A future that is ready after `delay`, counted from now. Twisted's `deferLater`, for those who await.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let reactor = twistor_reactor::Reactor::new()?;
    /// let handle = reactor.clone();
    /// let done = reactor.spawn(async move { handle.sleep(Duration::from_millis(1)).await });
    /// reactor.run_until(done)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Awaiting it gives [`ReactorGone`] when the run has ended, or the reactor is gone, before its time.
    #[track_caller]
    pub fn sleep(&self, delay: Duration) -> Sleep {
        let state = Rc::new(Cell::new(SleepState::Waiting(None)));
        let end = SleepEnd(state.clone());
        let call = self.call_later(delay, move || end.set(SleepState::Over));
        Sleep { state, call }
    }
}

/// The future that [`Handle::sleep`] gives.
///
/// # Dropping
///
/// Dropping it takes its timer back, so a sleep that lost a race costs nothing more.
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

/// The timer's side: dropped without a call, it tells that the time will not come.
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
        // Nobody is to be woken by what follows.
        self.state.set(SleepState::Over);
        // It may be over already.
        let _ = self.call.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("until", &self.call.time()).finish()
    }
}
