//! Where time comes from: what the reactor and a clock for tests have in common.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::{DelayedCall, Handle, Reactor, ScheduledCall};

/// A source of time: the reactor, through its [`Handle`], or a [`ManualClock`](crate::ManualClock) in tests.
///
/// What is written against this trait is tested without sleeping. Twisted's `IReactorTime`.
pub trait Clock {
    /// The time now; it never goes back.
    fn now(&self) -> Instant;

    /// Schedules `call` to run after `delay`: [`call_later`](Clock::call_later) for a `dyn Clock`.
    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall;

    /// The same clock, to keep: for what schedules again and again.
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
