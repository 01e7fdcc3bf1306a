//! The triggers of the phases.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;

use twistor_deferred::{Deferred, succeed};

use super::{Event, Phase};
use crate::core::Core;
use crate::recorder::CallbackKind;

pub(super) struct PhaseCall {
    pub(super) phase: Phase,
    pub(super) place: &'static Location<'static>,
    pub(super) run: Box<dyn FnOnce() -> Deferred<()>>,
}

/// The triggers of both events. A trait object, so that a program that adds none does not contain the code for
/// Deferreds, of 25 kB.
pub(super) trait Triggers {
    fn add(&self, event: Event, call: PhaseCall) -> u64;
    /// Removes a trigger. Returns false if it is gone.
    fn remove(&self, event: Event, id: u64) -> bool;
    /// Runs the triggers of a phase.
    fn run(&self, core: &Core, event: Event, phase: Phase);
    /// Returns whether the Deferreds of the last phase `Before` have fired.
    fn waited(&self) -> bool;
    /// Drops all triggers without running them.
    fn clear(&self, core: &Core);
}

#[derive(Default)]
pub(super) struct AddedTriggers {
    startup: RefCell<PhaseCalls>,
    shutdown: RefCell<PhaseCalls>,
    /// The number of Deferreds that the phase `Before` waits for. Each start and each stop has a counter of its
    /// own, so that a late Deferred of an earlier one does not count for a later one.
    waiting: RefCell<Rc<Cell<usize>>>,
}

/// The triggers of one event, each with its number.
#[derive(Default)]
struct PhaseCalls {
    calls: VecDeque<(u64, PhaseCall)>,
    next_id: u64,
}

impl AddedTriggers {
    fn of(&self, event: Event) -> &RefCell<PhaseCalls> {
        match event {
            Event::Startup => &self.startup,
            Event::Shutdown => &self.shutdown,
        }
    }

    fn take(&self, event: Event, meant: impl Fn(u64, &PhaseCall) -> bool) -> Option<PhaseCall> {
        let calls = &mut self.of(event).borrow_mut().calls;
        let at = calls.iter().position(|(id, call)| meant(*id, call))?;
        calls.remove(at).map(|(_, call)| call)
    }

    fn run_next(&self, core: &Core, event: Event, phase: Phase) -> Option<Deferred<()>> {
        let call = self.take(event, |_, call| call.phase == phase)?;
        core.recorder().began(CallbackKind::Phase, 0, || call.place.into());
        let outcome = core.call(call.place, call.run);
        core.recorder().ended();
        outcome.or_else(|| Some(succeed(())))
    }
}

impl Triggers for AddedTriggers {
    fn add(&self, event: Event, call: PhaseCall) -> u64 {
        let mut triggers = self.of(event).borrow_mut();
        let id = triggers.next_id;
        triggers.next_id += 1;
        triggers.calls.push_back((id, call));
        id
    }

    fn remove(&self, event: Event, id: u64) -> bool {
        self.take(event, |other, _| other == id).is_some()
    }

    fn run(&self, core: &Core, event: Event, phase: Phase) {
        if phase != Phase::Before {
            while self.run_next(core, event, phase).is_some() {}
            return;
        }
        let waiting = Rc::new(Cell::new(0));
        self.waiting.replace(waiting.clone());
        while let Some(deferred) = self.run_next(core, event, phase) {
            if deferred.is_fired() {
                continue;
            }
            waiting.set(waiting.get() + 1);
            let (waiting, handle) = (waiting.clone(), core.handle.clone());
            // A failure passes through, and is logged when the Deferred returned by `add_both` is dropped.
            drop(deferred.add_both(move |result| {
                waiting.set(waiting.get() - 1);
                if waiting.get() == 0 {
                    handle.tell_host_now();
                }
                result
            }));
        }
    }

    fn waited(&self) -> bool {
        self.waiting.borrow().get() == 0
    }

    fn clear(&self, core: &Core) {
        for event in [Event::Startup, Event::Shutdown] {
            for (_, call) in std::mem::take(&mut *self.of(event).borrow_mut()).calls {
                core.discard(call.place, call.run);
            }
        }
    }
}
