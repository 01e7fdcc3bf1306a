//! Scheduled calls, and the queue that a reactor and a [`ManualClock`](crate::ManualClock) share.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::time::{Time, nanos};
use crate::timers::{TimerId, Timers};

/// What a call on a [`DelayedCall`] says when there is nothing left to change: the call has run, is running, was
/// cancelled, or went away with its clock.
///
/// Twisted's `AlreadyCalled` and `AlreadyCancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPending;

impl fmt::Display for NotPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the delayed call is no longer pending: it has run or was cancelled")
    }
}

impl std::error::Error for NotPending {}

/// A call that waits for its time, as given by [`call_later`](crate::Handle::call_later).
///
/// Twisted's `DelayedCall`. Clones name the same call.
///
/// # Ordering
///
/// Calls run by deadline; calls with the same deadline run in the order in which they were scheduled. `reset` and
/// `delay` schedule anew: behind those that already wait for the same moment.
///
/// # Dropping
///
/// Dropping the handle does not cancel the call. Cancelling drops the callback, and what it captured, at once.
#[derive(Clone)]
pub struct DelayedCall {
    queue: Weak<TimerQueue>,
    id: TimerId,
}

impl DelayedCall {
    /// A call on a clock that is gone.
    pub(crate) fn dead() -> DelayedCall {
        DelayedCall { queue: Weak::new(), id: TimerId::NONE }
    }

    /// Takes the call back. Its callback is dropped before this returns.
    ///
    /// # Errors
    ///
    /// [`NotPending`] when it has run, is running, or was cancelled.
    pub fn cancel(&self) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let call = queue.timers.borrow_mut().remove(self.id);
        call.map(drop).ok_or(NotPending)
    }

    /// Has the call run `delay` from now instead.
    ///
    /// # Errors
    ///
    /// [`NotPending`] when it has run, is running, or was cancelled.
    pub fn reset(&self, delay: Duration) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let deadline = queue.time.now().saturating_add(nanos(delay));
        queue.reschedule(self.id, deadline)
    }

    /// Has the call run `delay` later than it would have.
    ///
    /// # Errors
    ///
    /// [`NotPending`] when it has run, is running, or was cancelled.
    pub fn delay(&self, delay: Duration) -> Result<(), NotPending> {
        let queue = self.queue.upgrade().ok_or(NotPending)?;
        let deadline = queue.timers.borrow().deadline(self.id).ok_or(NotPending)?;
        queue.reschedule(self.id, deadline.saturating_add(nanos(delay)))
    }

    /// Whether the call is still to come: not run, not running, not cancelled.
    pub fn active(&self) -> bool {
        self.time().is_some()
    }

    /// When the call is due, while it is [`active`](DelayedCall::active).
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

/// A callback and the place that scheduled it.
pub(crate) struct Call {
    pub(crate) run: Box<dyn FnOnce()>,
    pub(crate) place: &'static Location<'static>,
}

/// Told from any thread that the reactor wants a turn sooner than its host was told.
pub(crate) type HostHook = Arc<dyn Fn() + Send + Sync>;

/// A clock with the calls that wait on it. No borrow is held while a callback runs or is dropped.
pub(crate) struct TimerQueue {
    pub(crate) time: Time,
    pub(crate) timers: RefCell<Timers<Call>>,
    /// Called when the earliest deadline moves forward while nobody is inside a turn.
    pub(crate) hook: OnceCell<HostHook>,
    pub(crate) in_turn: Cell<bool>,
}

impl TimerQueue {
    pub(crate) fn new(time: Time) -> Rc<TimerQueue> {
        Rc::new(TimerQueue {
            time,
            timers: RefCell::new(Timers::new()),
            hook: OnceCell::new(),
            in_turn: Cell::new(false),
        })
    }

    pub(crate) fn call_later(self: &Rc<TimerQueue>, delay: Duration, call: Call) -> DelayedCall {
        let deadline = self.time.now().saturating_add(nanos(delay));
        let first = self.first();
        let id = self.timers.borrow_mut().insert(deadline, call);
        self.tell_host(first, deadline);
        DelayedCall { queue: Rc::downgrade(self), id }
    }

    fn reschedule(&self, id: TimerId, deadline: u64) -> Result<(), NotPending> {
        let first = self.first();
        if !self.timers.borrow_mut().reschedule(id, deadline) {
            return Err(NotPending);
        }
        self.tell_host(first, deadline);
        Ok(())
    }

    /// A host that sleeps until the earliest deadline has to hear of an earlier one. Within a turn it does not sleep.
    fn tell_host(&self, first: Option<u64>, deadline: u64) {
        if first.is_none_or(|first| deadline < first) {
            self.tell_host_now();
        }
    }

    /// There is work at hand, for a host that may be asleep.
    pub(crate) fn tell_host_now(&self) {
        if let Some(hook) = self.hook.get().filter(|_| !self.in_turn.get()) {
            hook();
        }
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.timers.borrow().first()
    }

    /// The earliest deadline later than `time`.
    pub(crate) fn first_after(&self, time: u64) -> Option<u64> {
        let timers = self.timers.borrow();
        match timers.first() {
            Some(first) if first <= time => timers.first_after(time),
            first => first,
        }
    }

    /// Takes out the next call that is due and was scheduled before the mark.
    pub(crate) fn pop_due(&self, now: u64, mark: u64) -> Option<Call> {
        self.timers.borrow_mut().pop_due(now, mark)
    }
}
