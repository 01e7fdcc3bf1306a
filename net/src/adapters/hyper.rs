//! The traits of `hyper::rt`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};
use twistor_reactor::{Handle, Remote};

use super::AsyncStream;

impl Read for AsyncStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_with(context, |bytes| {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            count
        });
        read.map_ok(|_| ())
    }
}

impl Write for AsyncStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_some(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drained(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(context)
    }
}

/// Runs the background tasks of hyper on the reactor.
#[derive(Clone, Debug)]
pub struct HyperExecutor(Handle);

impl HyperExecutor {
    /// Creates an executor that spawns tasks on the reactor of `handle`.
    pub fn new(handle: &Handle) -> HyperExecutor {
        HyperExecutor(handle.clone())
    }
}

impl<F: Future + 'static> Executor<F> for HyperExecutor {
    fn execute(&self, future: F) {
        self.0
            .spawn(async {
                future.await;
                Ok(())
            })
            .detach();
    }
}

/// The timers of hyper, on the reactor.
///
/// hyper may move its timers between threads, so starting one is a call from another thread: it takes effect in the
/// reactor's next turn. hyper reads the reactor's clock, so the timeouts of a connection on a simulated reactor take
/// simulated time.
#[derive(Clone, Debug)]
pub struct HyperTimer(Remote);

impl HyperTimer {
    /// Creates a timer whose sleeps end in the reactor of `handle`.
    pub fn new(handle: &Handle) -> HyperTimer {
        HyperTimer(handle.remote())
    }
}

impl Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let now = self.now();
        // A sleep of centuries does not end.
        self.sleep_until(now.checked_add(duration).unwrap_or(now + Duration::from_secs(u32::MAX.into())))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let shared =
            Arc::new(Mutex::new(SleepState { deadline, armed: Some(deadline), over: false, waker: None }));
        arm(&self.0, &shared, deadline);
        Box::pin(HyperSleep(shared))
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    /// Moves the deadline, without another timer for each request of a connection.
    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(sleep) => {
                let shared = &sleep.get_mut().0;
                let rearm = lock(shared).reset(deadline);
                if rearm {
                    arm(&self.0, shared, deadline);
                }
            }
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct HyperSleep(Arc<Mutex<SleepState>>);

struct SleepState {
    deadline: Instant,
    /// When the reactor looks at the deadline next.
    armed: Option<Instant>,
    over: bool,
    waker: Option<Waker>,
}

impl SleepState {
    /// Returns whether the reactor has to look earlier than it would.
    fn reset(&mut self, deadline: Instant) -> bool {
        (self.deadline, self.over) = (deadline, false);
        let rearm = self.armed.is_none_or(|at| deadline < at);
        if rearm {
            self.armed = Some(deadline);
        }
        rearm
    }
}

/// Makes the reactor check the deadline at the time `at`.
fn arm(remote: &Remote, shared: &Arc<Mutex<SleepState>>, at: Instant) {
    let sleep = Arc::downgrade(shared);
    // After the end of the reactor, the task that sleeps is gone too.
    let _ = remote.call_from_thread(move |handle| look_at(handle, sleep, at));
}

/// Ends the sleep if it is due, and otherwise comes back then. Does nothing for a sleep that was dropped.
fn look_at(handle: &Handle, sleep: Weak<Mutex<SleepState>>, at: Instant) {
    let wait = at.saturating_duration_since(handle.now());
    if !wait.is_zero() {
        let again = handle.clone();
        handle.call_later(wait, move || look_at(&again, sleep, at));
        return;
    }
    let Some(shared) = sleep.upgrade() else { return };
    let mut state = lock(&shared);
    if state.armed != Some(at) {
        // An earlier look has replaced this one.
        return;
    }
    if state.deadline > at {
        let deadline = state.deadline;
        state.armed = Some(deadline);
        drop(state);
        return look_at(handle, sleep, deadline);
    }
    (state.armed, state.over) = (None, true);
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(shared: &Mutex<SleepState>) -> MutexGuard<'_, SleepState> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Future for HyperSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.over {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Sleep for HyperSleep {}
