//! Scheduled calls, and the timer queue that a reactor and a [`ManualClock`](crate::ManualClock) share.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::hint::black_box;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use twistor_deferred::Trigger;

use crate::ScheduledCall;
use crate::recorder::{Recorder, TimerNumber};
use crate::time::{Time, nanos};
use crate::timers::{TimerId, Timers};

/// The error of changing a [`DelayedCall`] that is no longer pending: it has run, is running, was cancelled, or was
/// dropped with its clock. Twisted: `AlreadyCalled` and `AlreadyCancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPending;

impl fmt::Display for NotPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the delayed call is no longer pending: it has run or was cancelled")
    }
}

impl std::error::Error for NotPending {}

/// A handle to a scheduled call, returned by [`call_later`](crate::Handle::call_later). Twisted: `DelayedCall`.
///
/// Clones refer to the same call.
///
/// # Ordering
///
/// Calls run by deadline; calls with the same deadline run in the order in which they were scheduled. `reset` and
/// `delay` schedule the call anew: it runs after calls that already wait for the same deadline.
///
/// # Dropping
///
/// Dropping it does not cancel the call. Cancelling drops the callback and its captures before it returns.
#[derive(Clone)]
pub struct DelayedCall {
    queue: Weak<TimerQueue>,
    id: TimerId,
    number: TimerNumber,
}

impl DelayedCall {
    /// Creates a call on a clock that is gone.
    pub(crate) fn dead() -> DelayedCall {
        DelayedCall { queue: Weak::new(), id: TimerId::NONE, number: TimerNumber::default() }
    }

    /// Cancels the call. Its callback is dropped before this returns.
    ///
    /// # Errors
    ///
    /// [`NotPending`] if the call has run, is running, or was cancelled.
    pub fn cancel(&self) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let call = queue.timers.borrow_mut().remove(self.id).ok_or(NotPending)?;
        queue.recorder.timer_cancelled(self.number);
        drop(call);
        Ok(())
    }

    /// Reschedules the call to run `delay` from now.
    ///
    /// # Errors
    ///
    /// [`NotPending`] if the call has run, is running, or was cancelled.
    pub fn reset(&self, delay: Duration) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let deadline = queue.time.after(delay);
        queue.reschedule(self, deadline)?;
        queue.note_delay(delay);
        Ok(())
    }

    /// Postpones the call by `delay`, counted from its deadline.
    ///
    /// # Errors
    ///
    /// [`NotPending`] if the call has run, is running, or was cancelled.
    pub fn delay(&self, delay: Duration) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let deadline = queue.timers.borrow().deadline(self.id).ok_or(NotPending)?;
        queue.reschedule(self, deadline.saturating_add(nanos(delay)))
    }

    /// Returns a canceller for a [`Deferred`](twistor_deferred::Deferred) that waits for this call: it cancels the
    /// call, and the Deferred fails with [`Cancelled`](twistor_deferred::Cancelled).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let sender = Rc::new(Cell::new(None::<Trigger<&str>>));
    /// let poem = sender.clone();
    /// let send = reactor.call_later(Duration::from_secs(5), move || {
    ///     if let Some(trigger) = poem.take() {
    ///         trigger.callback("This is a poem.");
    ///     }
    /// });
    /// let (deferred, trigger) = Deferred::with_canceller(send.canceller());
    /// sender.set(Some(trigger));
    /// deferred.cancel();
    /// assert!(!send.active());
    /// # deferred.add_both(|_| ()).detach();
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// [`defer_later`](crate::defer_later) combines both: it schedules a call, and its Deferred fires with the
    /// call's result.
    pub fn canceller<T: 'static>(&self) -> impl FnOnce(Trigger<T>) + 'static + use<T> {
        let call = self.clone();
        // The call may have run without firing the Deferred.
        move |_| _ = call.cancel()
    }

    /// Returns whether the call is pending: it has not run, is not running, and was not cancelled.
    pub fn active(&self) -> bool {
        self.time().is_some()
    }

    /// Returns the deadline of the call while it is [`active`](DelayedCall::active).
    pub fn time(&self) -> Option<Instant> {
        let queue = self.queue.upgrade()?;
        let deadline = queue.timers.borrow().deadline(self.id)?;
        Some(queue.time.instant(deadline))
    }
}

impl fmt::Debug for DelayedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedCall").field("time", &self.time()).finish()
    }
}

/// A function, called from any thread when the reactor needs a turn sooner than its host expects.
pub(crate) type HostHook = Arc<dyn Fn() + Send + Sync>;

/// A clock and the calls scheduled on it. No borrow is held while a callback runs or is dropped.
pub(crate) struct TimerQueue {
    pub(crate) time: Time,
    pub(crate) timers: RefCell<Timers<ScheduledCall>>,
    /// Called when the earliest deadline moves forward outside a turn.
    pub(crate) hook: OnceCell<HostHook>,
    pub(crate) in_turn: Cell<bool>,
    /// A call without a delay was scheduled since the last timers ran, so the next turn is not put off to make a
    /// batch.
    pub(crate) at_once: Cell<bool>,
    pub(crate) recorder: Recorder,
}

#[cold]
fn refused() -> DelayedCall {
    log::error!("dropped a delayed call: the timer queue is full");
    DelayedCall::dead()
}

impl TimerQueue {
    pub(crate) fn new(time: Time) -> Rc<TimerQueue> {
        Rc::new(TimerQueue {
            time,
            timers: RefCell::new(Timers::new(|call: &ScheduledCall| _ = black_box(call.place()))),
            hook: OnceCell::new(),
            in_turn: Cell::new(false),
            at_once: Cell::new(false),
            recorder: Recorder::default(),
        })
    }

    // One frame less on the way from `Handle::call_later`.
    #[inline(always)]
    pub(crate) fn call_later(self: &Rc<TimerQueue>, delay: Duration, mut call: ScheduledCall) -> DelayedCall {
        self.note_delay(delay);
        let deadline = self.time.after(delay);
        let first = self.first_for_host();
        let number = self.recorder.timer_set(&mut call, deadline);
        // A separate statement ends the borrow: dropping a refused call runs the user's code.
        let inserted = self.timers.borrow_mut().insert(deadline, call);
        let Ok(id) = inserted else { return refused() };
        self.scheduled(deadline, first);
        DelayedCall { queue: Rc::downgrade(self), id, number }
    }

    fn reschedule(&self, call: &DelayedCall, deadline: u64) -> Result<(), NotPending> {
        let first = self.first_for_host();
        if !self.timers.borrow_mut().reschedule(call.id, deadline) {
            return Err(NotPending);
        }
        self.recorder.timer_moved(call.number, deadline);
        self.scheduled(deadline, first);
        Ok(())
    }

    #[inline]
    fn note_delay(&self, delay: Duration) {
        if delay.is_zero() {
            self.at_once.set(true);
        }
    }

    #[inline]
    fn scheduled(&self, deadline: u64, first: u64) {
        if deadline < first {
            self.tell_host_now();
        }
    }

    /// Returns the deadline until which a host sleeps, for the comparison with an earlier one. Returns 0, the earliest
    /// possible deadline, without a host, and during a turn, because the host does not sleep then.
    #[inline]
    fn first_for_host(&self) -> u64 {
        if self.hook.get().is_none() { 0 } else { self.first_for_sleeping_host() }
    }

    #[cold]
    fn first_for_sleeping_host(&self) -> u64 {
        if self.in_turn.get() { 0 } else { self.first().unwrap_or(u64::MAX) }
    }

    /// Calls the hook because work is pending, for a host that may be asleep.
    pub(crate) fn tell_host_now(&self) {
        if let Some(hook) = self.hook.get().filter(|_| !self.in_turn.get()) {
            hook();
        }
    }

    /// Begins a turn. Returns the mark for `pop_due`: calls scheduled from now on run in a later turn.
    pub(crate) fn begin_turn(&self) -> u64 {
        self.at_once.set(false);
        self.timers.borrow().mark()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<u64> {
        // Two looks in each turn, mostly at an empty queue.
        if self.timers.borrow().is_clear() { None } else { self.first_pending() }
    }

    fn first_pending(&self) -> Option<u64> {
        self.timers.borrow_mut().first()
    }

    /// Returns the deadlines and places of the pending calls, in the order in which they are due.
    pub(crate) fn places(&self) -> Vec<(Instant, &'static Location<'static>)> {
        let timers = self.timers.borrow();
        timers.in_order().iter().map(|(due, call)| (self.time.instant(*due), call.place())).collect()
    }

    /// Returns the earliest deadline later than `time`.
    pub(crate) fn first_after(&self, time: u64) -> Option<u64> {
        let mut timers = self.timers.borrow_mut();
        match timers.first() {
            Some(first) if first <= time => timers.first_after(time),
            first => first,
        }
    }

    /// Removes the next call that is due and was scheduled before the mark.
    pub(crate) fn pop_due(&self, now: u64, mark: u64) -> Option<ScheduledCall> {
        self.timers.borrow_mut().pop_due(now, mark)
    }
}
