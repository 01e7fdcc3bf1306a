//! Calls of a function at regular intervals.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::{Deferred, Failure, Outcome, Trigger, fail, maybe_deferred_at};

use crate::time::nanos;
use crate::{Clock, DelayedCall, ScheduledCall};

/// Calls a function at regular intervals. Twisted: `task.LoopingCall`.
///
/// Calls are scheduled at `start + k * interval`. If the function, or something else in the loop, takes longer than
/// an interval, the missed times are skipped and the next call is on schedule again. A function passed to
/// [`with_count`](LoopingCall::with_count) receives the number of intervals that its call stands for. With an
/// interval of zero, the function is called once in every turn.
///
/// If the function returns a Deferred, the next call waits for it. A failure stops the loop.
///
/// ```
/// use std::time::Duration;
/// use twistor::prelude::*;
///
/// let clock = ManualClock::new();
/// let tick = LoopingCall::new(&clock, || println!("tick"));
/// tick.start(Duration::from_secs(1)).add_callback(|()| println!("no more ticks")).detach();
/// clock.advance(Duration::from_secs(3)); // four ticks: at 0, 1, 2 and 3
/// tick.stop();
/// ```
///
/// # Dropping
///
/// Clones refer to the same loop. Dropping all of them does not stop the calls. The loop ends with its clock, or
/// with the reactor's run: then the Deferred of `start` fails with [`Abandoned`](twistor_deferred::Abandoned), and
/// the loop can be started again.
#[derive(Clone)]
pub struct LoopingCall {
    task: Rc<LoopTask>,
}

struct LoopTask {
    clock: Rc<dyn Clock>,
    place: &'static Location<'static>,
    /// Taken out while it runs.
    function: Cell<Option<Function>>,
    run: RefCell<Option<Rc<LoopRun>>>,
}

type Function = Box<dyn FnMut(&LoopingCall, u64) -> Deferred<()>>;

/// The state from one `start` to its end.
struct LoopRun {
    interval: Duration,
    /// The time that the schedule counts from.
    grid_start: Cell<Instant>,
    /// The number of scheduled times that have been counted.
    counted: Cell<u64>,
    /// The next call, unless a call is in progress.
    next: Cell<Option<DelayedCall>>,
    /// Fires the Deferred of `start`.
    end: Cell<Option<Trigger<()>>>,
    stopped: Cell<bool>,
}

impl LoopingCall {
    /// Creates a loop that is not running yet.
    #[track_caller]
    pub fn new<O: Outcome>(clock: &(impl Clock + ?Sized), mut f: impl FnMut() -> O + 'static) -> LoopingCall {
        LoopingCall::from_function(clock, move |_, _| f())
    }

    /// Creates a loop whose function receives the loop itself, to stop or reset it. In Twisted, the function calls
    /// `loop.stop()`, too.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let mut left = 5;
    /// let countdown = LoopingCall::with_self(&reactor, move |countdown| {
    ///     println!("{left}");
    ///     left -= 1;
    ///     if left == 0 {
    ///         countdown.stop();
    ///     }
    /// });
    /// reactor.run_until(countdown.start(Duration::from_secs(1)))?;
    /// # Ok::<(), Failure>(())
    /// ```
    #[track_caller]
    pub fn with_self<O: Outcome>(
        clock: &(impl Clock + ?Sized),
        mut f: impl FnMut(&LoopingCall) -> O + 'static,
    ) -> LoopingCall {
        LoopingCall::from_function(clock, move |looping, _| f(looping))
    }

    /// Creates a loop whose function receives the number of intervals since its last call: one, if it keeps up. The
    /// counts of a run add up to the number of intervals that have passed. Twisted: `LoopingCall.withCount`.
    #[track_caller]
    pub fn with_count<O: Outcome>(
        clock: &(impl Clock + ?Sized),
        mut f: impl FnMut(u64) -> O + 'static,
    ) -> LoopingCall {
        LoopingCall::from_function(clock, move |_, count| f(count))
    }

    #[track_caller]
    fn from_function<O: Outcome>(
        clock: &(impl Clock + ?Sized),
        mut f: impl FnMut(&LoopingCall, u64) -> O + 'static,
    ) -> LoopingCall {
        let function: Function =
            Box::new(move |looping, count| f(looping, count).into_deferred().add_callback(|_| ()));
        LoopingCall {
            task: Rc::new(LoopTask {
                clock: clock.shared(),
                place: Location::caller(),
                function: Cell::new(Some(function)),
                run: RefCell::default(),
            }),
        }
    }

    /// Starts the loop: the first call runs before this returns, and the others every `interval` from now. Twisted:
    /// `start(interval)`.
    ///
    /// The Deferred fires when the loop is stopped, or with the failure that stopped it.
    ///
    /// # Errors
    ///
    /// [`AlreadyLooping`] if the loop is running.
    ///
    /// # Cancel safety
    ///
    /// Cancelling stops the loop.
    #[track_caller]
    pub fn start(&self, interval: Duration) -> Deferred<()> {
        self.begin(interval, true)
    }

    /// Starts the loop, with the first call after one interval. Twisted: `start(interval, now=False)`.
    ///
    /// # Errors
    ///
    /// [`AlreadyLooping`] if the loop is running.
    ///
    /// # Cancel safety
    ///
    /// Cancelling stops the loop.
    #[track_caller]
    pub fn start_later(&self, interval: Duration) -> Deferred<()> {
        self.begin(interval, false)
    }

    #[track_caller]
    fn begin(&self, interval: Duration, at_once: bool) -> Deferred<()> {
        if self.is_running() {
            return fail(AlreadyLooping);
        }
        let task = Rc::downgrade(&self.task);
        let (deferred, end) = Deferred::with_canceller(move |_| {
            if let Some(task) = task.upgrade() {
                task.stop(|run| drop(run.end.take()));
            }
        });
        let run = Rc::new(LoopRun {
            interval,
            grid_start: Cell::new(self.task.clock.now()),
            counted: Cell::new(if at_once { 0 } else { 1 }),
            next: Cell::default(),
            end: Cell::new(Some(end)),
            stopped: Cell::new(false),
        });
        self.task.run.replace(Some(run.clone()));
        if at_once {
            self.task.call(run);
        } else {
            self.task.schedule(run);
        }
        deferred
    }

    /// Stops the loop: immediately if it is between two calls, otherwise when the Deferred that the function
    /// returned has fired. Does nothing if the loop is not running.
    pub fn stop(&self) {
        self.task.stop(|_| ());
    }

    /// Restarts the schedule: the next call runs one interval from now. Does nothing if the loop is not running.
    pub fn reset(&self) {
        let Some(run) = self.task.run.borrow().clone() else { return };
        run.grid_start.set(self.task.clock.now());
        run.counted.set(1);
        if let Some(next) = run.next.take() {
            let _ = next.cancel();
            self.task.schedule(run);
        }
    }

    /// Returns whether the loop was started, and has neither been stopped nor failed.
    pub fn is_running(&self) -> bool {
        self.task.run.borrow().is_some()
    }
}

impl LoopTask {
    fn stop(&self, before: impl FnOnce(&LoopRun)) {
        let Some(run) = self.run.take() else { return };
        before(&run);
        run.stopped.set(true);
        if let Some(next) = run.next.take() {
            let _ = next.cancel();
            run.finish(Ok(()));
        }
    }

    /// Calls the function, and waits for the Deferred that it returns.
    fn call(self: &Rc<Self>, run: Rc<LoopRun>) {
        let Some(mut function) = self.function.take() else {
            // The function itself restarted the loop. It cannot be called from inside itself, so it is called in
            // the next turn.
            self.call_after(run, Duration::ZERO);
            return;
        };
        let count = run.count(self.clock.now());
        let looping = LoopingCall { task: self.clone() };
        let outcome = maybe_deferred_at(self.place, || function(&looping, count));
        self.function.set(Some(function));
        let LoopingCall { task } = looping;
        drop(outcome.add_both(move |result| task.done(run, result)));
    }

    fn done(self: &Rc<Self>, run: Rc<LoopRun>, result: Result<(), Failure>) {
        if result.is_ok() && !run.stopped.get() {
            return self.schedule(run);
        }
        self.forget(&run);
        run.finish(result);
    }

    fn forget(&self, run: &Rc<LoopRun>) {
        let current = self.run.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, run));
        if current {
            self.run.replace(None);
        }
    }

    fn schedule(self: &Rc<Self>, run: Rc<LoopRun>) {
        let delay = run.until_next(self.clock.now());
        self.call_after(run, delay);
    }

    fn call_after(self: &Rc<Self>, run: Rc<LoopRun>, delay: Duration) {
        let due = LoopDue { task: self.clone(), run: run.clone() };
        // Set before scheduling: a clock that is gone drops the call inside `schedule`, and `LoopDue` then has to
        // find one.
        run.next.set(Some(DelayedCall::dead()));
        let next = self.clock.schedule(delay, ScheduledCall::at(self.place, move || due.call()));
        if run.next.take().is_some() {
            run.next.set(Some(next));
        }
    }
}

/// The next call, as the clock holds it.
struct LoopDue {
    task: Rc<LoopTask>,
    run: Rc<LoopRun>,
}

impl LoopDue {
    fn call(self) {
        self.run.next.take();
        let (task, run) = (self.task.clone(), self.run.clone());
        drop(self);
        task.call(run);
    }
}

impl Drop for LoopDue {
    /// Dropped while the call is pending: the clock has dropped its calls, as a reactor does at the end of a run.
    /// That ends the loop, even if clones of it are left, and its Deferred fails with `Abandoned`.
    fn drop(&mut self) {
        if self.run.next.take().is_some() {
            self.task.forget(&self.run);
            drop(self.run.end.take());
        }
    }
}

impl LoopRun {
    /// Returns the number of intervals that have passed by `now` and were not counted before.
    fn count(&self, now: Instant) -> u64 {
        let Some(passed) = self.elapsed(now).checked_div(nanos(self.interval)) else { return 1 };
        let due = passed.saturating_add(1);
        due - self.counted.replace(due).min(due)
    }

    /// Returns the time from `now` to the next scheduled call.
    fn until_next(&self, now: Instant) -> Duration {
        let elapsed = self.elapsed(now);
        match elapsed.checked_rem(nanos(self.interval)) {
            Some(into_slot) => self.interval - Duration::from_nanos(into_slot),
            None => Duration::ZERO,
        }
    }

    fn elapsed(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.grid_start.get()))
    }

    fn finish(&self, result: Result<(), Failure>) {
        if let Some(end) = self.end.take() {
            end.fire(result);
        }
    }
}

impl fmt::Debug for LoopingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopingCall").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

/// The error of starting a [`LoopingCall`] that is already running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyLooping;

impl fmt::Display for AlreadyLooping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the looping call is already running")
    }
}

impl std::error::Error for AlreadyLooping {}
