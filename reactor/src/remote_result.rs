//! Results of calls between a reactor and other threads, in both directions.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};

use twistor_deferred::{Abandoned, Canceller, Deferred, Failure, Outcome, maybe_deferred_at};

use crate::oneshot::{self, OneshotReceiver, OneshotSender};
use crate::remote::RemoteCall;
use crate::{Handle, ReactorGone, Remote};

type RemoteOutcome<T> = Result<T, Failure>;

impl Remote {
    /// Calls `f` in the reactor's thread, with a handle to the reactor, and returns its result to this thread. The
    /// caller can [block](RemoteResult::wait) until the result arrives, or await it in any runtime. Twisted:
    /// `blockingCallFromThread`.
    ///
    /// `f` may return anything that a callback may return. If it returns a Deferred, the result is that of the
    /// Deferred.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let worker = std::thread::spawn(move || {
    ///     let later = remote.call(|reactor| defer_later(reactor, Duration::from_millis(1), || Ok(42)));
    ///     assert_eq!(later.wait().unwrap(), 42);
    ///     remote.stop()
    /// });
    /// reactor.run()?;
    /// worker.join().unwrap()?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// As [`call_from_thread`](Remote::call_from_thread).
    ///
    /// # Errors
    ///
    /// The failure of `f` or of its Deferred; [`Panicked`](twistor_deferred::Panicked) if `f` panics;
    /// [`ReactorGone`] if the reactor was dropped, or if the run ends before there is a result. A Deferred that has
    /// not fired is then cancelled.
    ///
    /// # Dropping
    ///
    /// Dropping the [`RemoteResult`] cancels the call: `f` is not called, or its Deferred is cancelled.
    #[track_caller]
    pub fn call<O: Outcome>(&self, f: impl FnOnce(&Handle) -> O + Send + 'static) -> RemoteResult<O::Value>
    where
        O::Value: Send,
    {
        let place = Location::caller();
        let (sender, receiver) = oneshot::channel();
        let run = move |handle: &Handle| {
            if sender.is_closed() {
                return;
            }
            let deferred = maybe_deferred_at(place, || f(handle));
            let answer = RemoteAnswer { canceller: deferred.canceller(), deferred, sender: Some(sender) };
            // The task is dropped at the end of the run, and the sender with it.
            drop(handle.spawn_at(answer, place));
        };
        // A refused call drops the sender, too.
        let _ = self.shared.post(RemoteCall { run: Box::new(run), place });
        RemoteResult { receiver, reactor: self.shared.owner }
    }
}

/// Waits for a Deferred on behalf of another thread.
struct RemoteAnswer<T: 'static> {
    deferred: Deferred<T>,
    canceller: Canceller,
    sender: Option<OneshotSender<RemoteOutcome<T>>>,
}

impl<T: Send + 'static> Future for RemoteAnswer<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(result) = Pin::new(&mut self.deferred).poll(context) {
            if let Some(sender) = self.sender.take() {
                sender.send(result);
            }
            return Poll::Ready(());
        }
        match &self.sender {
            Some(sender) => sender.poll_closed(context),
            None => Poll::Ready(()),
        }
    }
}

impl<T: 'static> Drop for RemoteAnswer<T> {
    fn drop(&mut self) {
        self.canceller.cancel();
    }
}

/// The result of [`Remote::call`] in another thread. Await it, or block with [`wait`](RemoteResult::wait).
#[must_use = "dropping it cancels the call"]
pub struct RemoteResult<T> {
    receiver: OneshotReceiver<RemoteOutcome<T>>,
    reactor: ThreadId,
}

impl<T> RemoteResult<T> {
    /// Blocks this thread until the result arrives.
    ///
    /// # Errors
    ///
    /// As [`Remote::call`]. In the reactor's own thread, which would wait for itself, this fails without blocking,
    /// with an [`io::Error`] of the kind `Deadlock`, unless the result has already arrived.
    pub fn wait(self) -> Result<T, Failure> {
        if thread::current().id() == self.reactor {
            return self.receiver.try_receive().unwrap_or_else(|| {
                let message =
                    "cannot wait for a remote call in the reactor's own thread: it would wait forever";
                Err(io::Error::new(io::ErrorKind::Deadlock, message).into())
            });
        }
        self.receiver.wait().unwrap_or_else(|| Err(ReactorGone.into()))
    }
}

impl<T> Future for RemoteResult<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll(context).map(|result| result.unwrap_or_else(|| Err(ReactorGone.into())))
    }
}

impl<T> fmt::Debug for RemoteResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteResult").finish_non_exhaustive()
    }
}

impl Handle {
    /// Returns a Deferred, and a trigger that fires it from any thread.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let (answer, trigger) = reactor.remote_trigger();
    /// let worker = std::thread::spawn(move || trigger.callback(42));
    /// assert_eq!(reactor.run_until(answer)?, 42);
    /// worker.join().unwrap();
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The Deferred fires in the reactor's thread, at the end of a turn, together with the [tasks](Handle::spawn).
    ///
    /// # Errors
    ///
    /// [`Abandoned`] if the trigger is dropped without firing, or if the run ends first; [`ReactorGone`] if the
    /// reactor is already gone.
    #[track_caller]
    pub fn remote_trigger<T: Send + 'static>(&self) -> (Deferred<T>, RemoteTrigger<T>) {
        let (sender, receiver) = oneshot::channel::<RemoteOutcome<T>>();
        let answer = async { receiver.receive().await.unwrap_or_else(|| Err(Abandoned.into())) };
        (self.spawn(answer), RemoteTrigger(sender))
    }
}

/// A [`Trigger`](twistor_deferred::Trigger) that is `Send`: fires a Deferred from any thread. Created by
/// [`Handle::remote_trigger`].
///
/// # Dropping
///
/// If it is dropped without firing, the Deferred fails with [`Abandoned`].
#[must_use = "if the trigger is dropped, the Deferred fails with `Abandoned`"]
pub struct RemoteTrigger<T>(OneshotSender<RemoteOutcome<T>>);

impl<T> RemoteTrigger<T> {
    /// Fires with a value. Twisted: `callback`.
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Fires with a failure. Twisted: `errback`.
    pub fn errback(self, failure: impl Into<Failure>) {
        self.fire(Err(failure.into()));
    }

    /// Fires with a result. The result is dropped in this thread if the Deferred was cancelled or the run has ended.
    pub fn fire(self, result: Result<T, Failure>) {
        self.0.send(result);
    }

    /// Returns whether the Deferred still waits: it was not cancelled, and the run has not ended.
    pub fn is_live(&self) -> bool {
        !self.0.is_closed()
    }
}

impl<T> fmt::Debug for RemoteTrigger<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteTrigger").finish_non_exhaustive()
    }
}
