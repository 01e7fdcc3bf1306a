//! A channel that sends one value from one thread to another. Either side may wait, and either may give up.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Creates the two ends of a channel.
pub(crate) fn channel<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let channel = Arc::new(Channel {
        state: Mutex::new(ChannelState { value: None, open: true, sender: None, receiver: None }),
        changed: Condvar::new(),
    });
    (OneshotSender(channel.clone()), OneshotReceiver(channel))
}

struct Channel<T> {
    state: Mutex<ChannelState<T>>,
    changed: Condvar,
}

struct ChannelState<T> {
    value: Option<T>,
    /// Neither end has been dropped.
    open: bool,
    /// Woken when the receiver is dropped.
    sender: Option<Waker>,
    /// Woken by a value, and when the sender is dropped.
    receiver: Option<Waker>,
}

impl<T> Channel<T> {
    fn state(&self) -> MutexGuard<'_, ChannelState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks one end as dropped. Wakers are called after the lock is released, because they may run any code.
    fn close(&self) {
        let wakers = {
            let mut state = self.state();
            state.open = false;
            [state.sender.take(), state.receiver.take()]
        };
        self.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

pub(crate) struct OneshotSender<T>(Arc<Channel<T>>);

impl<T> OneshotSender<T> {
    /// Sends the value, unless the receiver was dropped.
    pub(crate) fn send(self, value: T) {
        let mut state = self.0.state();
        if state.open {
            state.value = Some(value);
        }
        // The lock is released before `self` is dropped, which wakes the receiver.
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.0.state().open
    }

    /// Ready when the receiver has been dropped.
    pub(crate) fn poll_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state();
        if !state.open {
            return Poll::Ready(());
        }
        state.sender = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(crate) struct OneshotReceiver<T>(Arc<Channel<T>>);

impl<T> OneshotReceiver<T> {
    /// Waits for the value. Returns `None` if the sender was dropped without one.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.state();
        if state.open && state.value.is_none() {
            state.receiver = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(state.value.take())
    }

    pub(crate) async fn receive(mut self) -> Option<T> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Does what `receive` does, blocking this thread.
    pub(crate) fn wait(self) -> Option<T> {
        let waiting = |state: &mut ChannelState<T>| state.open && state.value.is_none();
        let state = self.0.changed.wait_while(self.0.state(), waiting);
        state.unwrap_or_else(PoisonError::into_inner).value.take()
    }

    /// Returns the value if it has arrived.
    pub(crate) fn try_receive(&self) -> Option<T> {
        self.0.state().value.take()
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.0.close();
        let unread = self.0.state().value.take();
        drop(unread);
    }
}
