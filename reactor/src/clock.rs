//! The clock interface that the reactor and the clock for tests share.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::{DelayedCall, Handle, Reactor, ScheduledCall};

/// A source of time: the reactor, through its [`Handle`], or a [`ManualClock`](crate::ManualClock) in tests.
///
/// Code written against this trait is tested without sleeping. Twisted: `IReactorTime`.
pub trait Clock {
    /// Returns the current time, which never goes back.
    fn now(&self) -> Instant;

    /// Schedules `call` to run after `delay`. Does what [`call_later`](Clock::call_later) does, also on a `dyn
    /// Clock`.
    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall;

    /// Returns another reference to the same clock, for code that keeps it to schedule repeatedly.
    fn shared(&self) -> Rc<dyn Clock>;

    /// Schedules `call` to run after `delay`. Any duration is accepted.
    #[track_caller]
    fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> DelayedCall
    where
        Self: Sized,
    {
        self.schedule(delay, ScheduledCall::new(call))
    }
}

impl Clock for Handle {
    fn now(&self) -> Instant {
        Handle::now(self)
    }

    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall {
        Handle::schedule_call(self, delay, call)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        Rc::new(Handle::clone(self))
    }
}

impl Clock for Reactor {
    fn now(&self) -> Instant {
        Handle::now(self)
    }

    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall {
        Handle::schedule_call(self, delay, call)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        Rc::new(Handle::clone(self))
    }
}
