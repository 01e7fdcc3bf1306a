//! Replacements of the recorder when the feature is off.

use std::panic::Location;

use super::CallbackKind;
use crate::sources::ReadySource;
use crate::{CallSite, ScheduledCall};

#[derive(Default)]
pub(crate) struct Recorder(());

/// The number of a timer in a recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerNumber(());

impl TimerNumber {
    pub(crate) const UNRECORDED: TimerNumber = TimerNumber(());
}

impl Recorder {
    #[inline]
    #[cfg(feature = "simulation")]
    pub(crate) fn set_host(&self, _: std::net::IpAddr, _: std::rc::Weak<crate::delayed_call::TimerQueue>) {}

    #[inline]
    pub(crate) fn turn_began(&self, _: u64) {}

    #[inline]
    pub(crate) fn wait_began(&self) {}

    #[inline]
    pub(crate) fn wait_ended(&self, _: impl FnOnce() -> Vec<ReadySource>) {}

    #[inline]
    pub(crate) fn turn_ended(&self) {}

    #[inline]
    pub(crate) fn began(&self, _: CallbackKind, _: u64, _: impl FnOnce() -> CallSite) {}

    #[inline]
    pub(crate) fn timer_began(&self, _: &ScheduledCall) -> TimerNumber {
        TimerNumber(())
    }

    #[inline]
    pub(crate) fn timer_ended(&self, _: TimerNumber) {}

    #[inline]
    pub(crate) fn ended(&self) {}

    #[inline]
    pub(crate) fn panicked(&self, _: &str) {}

    #[inline]
    pub(crate) fn timer_set(&self, _: &mut ScheduledCall, _: u64) -> TimerNumber {
        TimerNumber(())
    }

    #[inline]
    pub(crate) fn timer_moved(&self, _: TimerNumber, _: u64) {}

    #[inline]
    pub(crate) fn timer_cancelled(&self, _: TimerNumber) {}

    #[inline]
    pub(crate) fn timer_dropped(&self, _: &ScheduledCall) {}

    #[inline]
    pub(crate) fn task_spawned(&self, _: u64, _: &'static Location<'static>) {}

    #[inline]
    pub(crate) fn task_ended(&self, _: u64) {}

    #[inline]
    pub(crate) fn job_given(&self, _: u64, _: &'static Location<'static>) {}

    #[inline]
    pub(crate) fn job_done(&self, _: u64) {}

    #[inline]
    pub(crate) fn mark(&self, _: impl FnOnce() -> String) {}
}
