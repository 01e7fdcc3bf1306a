//! The callback of a scheduled call.

use std::fmt;
use std::panic::Location;

use crate::recorder::TimerNumber;

/// A callback and the place that scheduled it, in one allocation. A [`Clock`](crate::Clock) schedules it.
///
/// Dropping it drops the callback and its captures.
pub struct ScheduledCall(Box<dyn RunCall>, TimerNumber);

impl ScheduledCall {
    /// Creates a call. If `call` panics, the log names the caller of this function.
    #[track_caller]
    pub fn new(call: impl FnOnce() + 'static) -> ScheduledCall {
        ScheduledCall::at(Location::caller(), call)
    }

    /// Creates a call. If `call` panics, the log names `place`.
    pub fn at(place: &'static Location<'static>, call: impl FnOnce() + 'static) -> ScheduledCall {
        ScheduledCall(Box::new(PlacedCall { place, call }), TimerNumber::default())
    }

    /// Creates a call that is not the program's, such as the arrival of data in a simulated network: recordings leave it
    /// out.
    #[doc(hidden)]
    #[track_caller]
    pub fn unrecorded(call: impl FnOnce() + 'static) -> ScheduledCall {
        let scheduled = ScheduledCall::new(call);
        ScheduledCall(scheduled.0, TimerNumber::UNRECORDED)
    }

    #[cfg(feature = "trace")]
    pub(crate) fn number(&self) -> TimerNumber {
        self.1
    }

    #[cfg(feature = "trace")]
    pub(crate) fn set_number(&mut self, number: TimerNumber) {
        self.1 = number;
    }

    /// Runs the callback.
    pub fn run(self) {
        self.0.run();
    }

    /// Returns the place that scheduled the call.
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place()
    }
}

impl fmt::Debug for ScheduledCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScheduledCall({})", self.place())
    }
}

trait RunCall {
    fn run(self: Box<Self>);
    fn place(&self) -> &'static Location<'static>;
}

struct PlacedCall<F> {
    place: &'static Location<'static>,
    call: F,
}

impl<F: FnOnce()> RunCall for PlacedCall<F> {
    fn run(self: Box<Self>) {
        (self.call)();
    }

    fn place(&self) -> &'static Location<'static> {
        self.place
    }
}
