//! Results of a reactor in other threads, and of other threads in a reactor.

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
    /// Calls `f` in the reactor's thread, with a handle to the reactor, and returns its result to this thread: to a
    /// thread that [blocks](RemoteResult::wait) or to a future in any runtime. Twisted: `blockingCallFromThread`.
    ///
    /// `f` returns what a callback may return; a Deferred is waited for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::{Reactor, defer_later};
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// As [`call_from_thread`](Remote::call_from_thread).
    ///
    /// # Errors
    ///
    /// The result is the failure of `f` or of its Deferred; [`Panicked`](twistor_deferred::Panicked) if `f` panics;
    /// [`ReactorGone`] when the run ends before there is a result, or the reactor was dropped. In that case a Deferred
    /// that has not fired is cancelled.
    ///
    /// # Dropping
    ///
    /// Dropping the [`RemoteResult`] cancels the call: `f` is not called any more, or its Deferred is cancelled.
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
        // A call that is refused drops the sender, too.
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

/// The result of [`Remote::call`], in another thread: a future, or something to wait for.
#[must_use = "dropping it cancels the call"]
pub struct RemoteResult<T> {
    receiver: OneshotReceiver<RemoteOutcome<T>>,
    reactor: ThreadId,
}

impl<T> RemoteResult<T> {
    /// Blocks this thread until the result is there.
    ///
    /// # Errors
    ///
    /// As [`Remote::call`]. In the reactor's own thread, which would wait for itself, an [`io::Error`] of the kind
    /// `Deadlock` at once, unless the result is there already.
    pub fn wait(self) -> Result<T, Failure> {
        if thread::current().id() == self.reactor {
            return self.receiver.try_receive().unwrap_or_else(|| {
                let message = "the reactor's thread cannot block until the reactor has made a call";
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
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let (answer, trigger) = reactor.remote_trigger();
    /// let worker = std::thread::spawn(move || trigger.callback(42));
    /// assert_eq!(reactor.run_until(answer)?, 42);
    /// worker.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The Deferred fires in the reactor's thread, at the end of a turn, with the [tasks](Handle::spawn).
    ///
    /// # Errors
    ///
    /// [`Abandoned`] when the trigger is dropped without firing, and when the run ends first; [`ReactorGone`] when the
    /// reactor is gone already.
    #[track_caller]
    pub fn remote_trigger<T: Send + 'static>(&self) -> (Deferred<T>, RemoteTrigger<T>) {
        let (sender, receiver) = oneshot::channel::<RemoteOutcome<T>>();
        let answer = async { receiver.receive().await.unwrap_or_else(|| Err(Abandoned.into())) };
        (self.spawn(answer), RemoteTrigger(sender))
    }
}

/// Fires a Deferred from any thread: a [`Trigger`](twistor_deferred::Trigger) that is `Send`. Made by
/// [`Handle::remote_trigger`].
///
/// # Dropping
///
/// Dropping it without firing fires [`Abandoned`].
#[must_use = "dropping it fires `Abandoned`"]
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

    /// Fires with a result. It is dropped in this thread if the Deferred was cancelled, or the run has ended.
    pub fn fire(self, result: Result<T, Failure>) {
        self.0.send(result);
    }

    /// Whether the Deferred still waits: it was not cancelled, and the run has not ended.
    pub fn is_live(&self) -> bool {
        !self.0.is_closed()
    }
}

impl<T> fmt::Debug for RemoteTrigger<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteTrigger").finish_non_exhaustive()
    }
}
