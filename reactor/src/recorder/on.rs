//! Records the events of the reactor while a recording is active.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};

use twistor_deferred::trace::{Observation, observe};

use super::CallbackKind;
use crate::delayed_call::TimerQueue;
use crate::sources::ReadySource;
use crate::trace::{ConnectionEvent, Happening, Log};
use crate::{CallSite, ScheduledCall};

#[derive(Default)]
pub(crate) struct Recorder {
    recording: RefCell<Option<(Rc<Log>, Observation)>>,
    timers: Cell<u64>,
    /// The address of a simulated host, and the timer queue of its world: it adds to the recording of the world.
    host: OnceCell<(IpAddr, Weak<TimerQueue>)>,
}

/// The number of a timer in a recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerNumber(pub(crate) u64);

impl TimerNumber {
    pub(crate) const UNRECORDED: TimerNumber = TimerNumber(u64::MAX);

    fn is_recorded(self) -> bool {
        self.0 != TimerNumber::UNRECORDED.0
    }
}

impl Recorder {
    /// Records only in `log` from now on.
    pub(crate) fn start(&self, log: Rc<Log>) {
        let before = self.recording.replace(Some((log.clone(), observe(log))));
        drop(before);
    }

    /// Ends the recording in `log` if it is active.
    pub(crate) fn stop(&self, log: &Rc<Log>) {
        let is_this = self.recording.borrow().as_ref().is_some_and(|(current, _)| Rc::ptr_eq(current, log));
        if is_this {
            drop(self.recording.take());
        }
    }

    /// Makes this the recorder of a simulated host.
    #[cfg(feature = "simulation")]
    pub(crate) fn set_host(&self, address: IpAddr, world: Weak<TimerQueue>) {
        let _ = self.host.set((address, world));
    }

    /// Returns the log of the active recording, and the host under which events are added.
    fn log(&self) -> Option<(Rc<Log>, Option<IpAddr>)> {
        let log = |recorder: &Recorder| recorder.recording.borrow().as_ref().map(|(log, _)| log.clone());
        log(self).map(|log| (log, None)).or_else(|| {
            let (address, world) = self.host.get()?;
            Some((log(&world.upgrade()?.recorder)?, Some(*address)))
        })
    }

    fn add(&self, what: impl FnOnce() -> Happening) {
        if let Some((log, host)) = self.log() {
            log.add(host, what());
        }
    }

    pub(crate) fn turn_began(&self, number: u64) {
        self.add(|| Happening::TurnBegan { number });
    }

    pub(crate) fn wait_began(&self) {
        self.add(|| Happening::WaitBegan);
    }

    pub(crate) fn wait_ended(&self, ready: impl FnOnce() -> Vec<ReadySource>) {
        if self.log().is_none() {
            return;
        }
        self.add(|| Happening::WaitEnded);
        // Nothing may stay borrowed while the user's `call_site` runs.
        for (source, handler, ready) in ready() {
            self.add(|| Happening::Ready { source, call_site: handler.call_site(), ready });
        }
    }

    pub(crate) fn turn_ended(&self) {
        self.add(|| Happening::TurnEnded);
    }

    pub(crate) fn began(&self, kind: CallbackKind, number: u64, call_site: impl FnOnce() -> CallSite) {
        self.add(|| Happening::Began { kind, number, call_site: call_site() });
    }

    pub(crate) fn timer_began(&self, call: &ScheduledCall) -> TimerNumber {
        if call.number().is_recorded() {
            self.began(CallbackKind::Timer, call.number().0, || call.place().into());
        }
        call.number()
    }

    pub(crate) fn timer_ended(&self, number: TimerNumber) {
        if number.is_recorded() {
            self.ended();
        }
    }

    pub(crate) fn ended(&self) {
        self.add(|| Happening::Ended);
    }

    pub(crate) fn panicked(&self, message: &str) {
        self.add(|| Happening::Panicked(message.into()));
    }

    pub(crate) fn timer_set(&self, call: &mut ScheduledCall, due: u64) -> TimerNumber {
        if !call.number().is_recorded() {
            return TimerNumber::UNRECORDED;
        }
        let number = self.timers.get() + 1;
        self.timers.set(number);
        call.set_number(TimerNumber(number));
        self.add(|| Happening::TimerSet { timer: number, due, place: call.place() });
        TimerNumber(number)
    }

    pub(crate) fn timer_moved(&self, TimerNumber(timer): TimerNumber, due: u64) {
        if TimerNumber(timer).is_recorded() {
            self.add(|| Happening::TimerMoved { timer, due });
        }
    }

    pub(crate) fn timer_cancelled(&self, TimerNumber(timer): TimerNumber) {
        if TimerNumber(timer).is_recorded() {
            self.add(|| Happening::TimerCancelled { timer });
        }
    }

    pub(crate) fn timer_dropped(&self, call: &ScheduledCall) {
        self.timer_cancelled(call.number());
    }

    pub(crate) fn task_spawned(&self, task: u64, place: &'static Location<'static>) {
        self.add(|| Happening::TaskSpawned { task, place });
    }

    pub(crate) fn task_ended(&self, task: u64) {
        self.add(|| Happening::TaskEnded { task });
    }

    pub(crate) fn job_given(&self, job: u64, place: &'static Location<'static>) {
        self.add(|| Happening::JobGiven { job, place });
    }

    pub(crate) fn job_done(&self, job: u64) {
        self.add(|| Happening::JobDone { job });
    }

    pub(crate) fn mark(&self, text: impl FnOnce() -> String) {
        self.add(|| Happening::Mark(text().into()));
    }

    pub(crate) fn connection(&self, number: u64, event: impl FnOnce() -> ConnectionEvent) {
        self.add(|| Happening::Connection { number, event: event() });
    }

    pub(crate) fn network(&self, text: impl FnOnce() -> String) {
        self.add(|| Happening::Network(text().into()));
    }
}
