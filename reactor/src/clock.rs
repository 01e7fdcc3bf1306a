//! Where time comes from: what the reactor and a clock for tests have in common.

use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::{DelayedCall, Handle, Reactor};

/// A source of time: the reactor, through its [`Handle`], or a [`ManualClock`](crate::ManualClock) in tests.
///
/// What is written against this trait is tested without sleeping. Twisted's `IReactorTime`.
pub trait Clock {
    /// The time now; it never goes back.
    fn now(&self) -> Instant;

    /// Has `call` run after `delay`. [`call_later`](Clock::call_later) for those who have a box already, or a
    /// `dyn Clock`; `place` is who gets the blame for a panic.
    fn schedule(
        &self,
        delay: Duration,
        call: Box<dyn FnOnce()>,
        place: &'static Location<'static>,
    ) -> DelayedCall;

    /// The same clock, to keep: for what schedules again and again.
    fn shared(&self) -> Rc<dyn Clock>;

    /// Has `call` run after `delay`, which may be anything from zero to for ever.
    #[track_caller]
    fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> DelayedCall
    where
        Self: Sized,
    {
        self.schedule(delay, Box::new(call), Location::caller())
    }
}

impl Clock for Handle {
    fn now(&self) -> Instant {
        Handle::now(self)
    }

    fn schedule(
        &self,
        delay: Duration,
        call: Box<dyn FnOnce()>,
        place: &'static Location<'static>,
    ) -> DelayedCall {
        self.schedule_at(delay, call, place)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        Rc::new(Handle::clone(self))
    }
}

impl Clock for Reactor {
    fn now(&self) -> Instant {
        Handle::now(self)
    }

    fn schedule(
        &self,
        delay: Duration,
        call: Box<dyn FnOnce()>,
        place: &'static Location<'static>,
    ) -> DelayedCall {
        self.schedule_at(delay, call, place)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        Rc::new(Handle::clone(self))
    }
}
