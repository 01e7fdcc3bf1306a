//! Starting and stopping, each in three phases.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Outcome, maybe_deferred_at, succeed};

use crate::core::Core;

/// When a startup or shutdown trigger runs. Those of one phase run in the order in which they were added.
///
/// A phase of the shutdown ends when no woken [task](crate::Handle::spawn) is left, so async code that a trigger wakes
/// runs until it waits for something else. Tasks that keep waking each other hold a phase for at most 100 turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// First. The loop goes on turning until every Deferred that these return has fired.
    Before,
    /// Second. Deferreds that these return are not waited for.
    During,
    /// Last. Deferreds that these return are not waited for. After this phase of the shutdown all tasks, timers and
    /// sources are dropped: connections that are still open are lost, with their unsent data. Close them gracefully in
    /// the phase `Before`.
    After,
}

/// Turns that a phase of the shutdown lasts at most because tasks are woken.
const TASK_TURNS: u32 = 100;

/// A startup or shutdown trigger, for taking it back. Dropping this leaves the trigger in place.
pub struct PhaseTrigger {
    core: Weak<Core>,
    event: Event,
    id: u64,
}

impl PhaseTrigger {
    /// A trigger of a reactor that is gone.
    pub(crate) fn dead(event: Event) -> PhaseTrigger {
        PhaseTrigger { core: Weak::new(), event, id: 0 }
    }

    /// Takes the trigger back; false when it has run already, or is gone with its reactor.
    /// Twisted's `removeSystemEventTrigger`.
    pub fn remove(self) -> bool {
        let Some(core) = self.core.upgrade() else { return false };
        let call = core.lifecycle.triggers(self.event).borrow_mut().remove(self.id);
        call.is_some()
    }
}

impl fmt::Debug for PhaseTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhaseTrigger").field("event", &self.event).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Startup,
    Shutdown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RunState {
    #[default]
    Idle,
    /// Waiting for what the triggers before the startup returned.
    Starting,
    Running,
    /// The triggers of this phase of the shutdown have run. The phase waits for the tasks that they woke and, in
    /// `Before`, for the Deferreds that they returned.
    Stopping(Phase),
    /// The phases are over, and everything that is left is being dropped.
    Ending,
}

struct PhaseCall {
    id: u64,
    phase: Phase,
    place: &'static Location<'static>,
    run: Box<dyn FnOnce() -> Deferred<()>>,
}

/// The triggers of one event.
#[derive(Default)]
struct Triggers {
    calls: VecDeque<PhaseCall>,
    next_id: u64,
}

impl Triggers {
    fn remove(&mut self, id: u64) -> Option<PhaseCall> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        self.calls.remove(at)
    }

    fn pop(&mut self, phase: Phase) -> Option<PhaseCall> {
        let at = self.calls.iter().position(|call| call.phase == phase)?;
        self.calls.remove(at)
    }
}

#[derive(Default)]
pub(crate) struct Lifecycle {
    state: Cell<RunState>,
    /// `stop` was called, and this turn is to be the last before the shutdown.
    stop: Cell<bool>,
    startup: RefCell<Triggers>,
    shutdown: RefCell<Triggers>,
    /// How many Deferreds the phase before is waiting for. Each start and each stop counts for itself, so that a
    /// Deferred of an earlier one, fired late, is not taken for one of a later.
    waiting: RefCell<Rc<Cell<usize>>>,
    /// Turns of this phase that were for woken tasks alone.
    task_turns: Cell<u32>,
}

/// What `stop` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopRequest {
    Accepted,
    /// The run is stopping already.
    Stopping,
    NoRun,
}

impl Lifecycle {
    pub(crate) fn is_running(&self) -> bool {
        self.state.get() == RunState::Running
    }

    /// Whether it has started, and not yet ended: it turns still while the shutdown waits.
    pub(crate) fn has_started(&self) -> bool {
        matches!(self.state.get(), RunState::Running | RunState::Stopping(_))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state.get() == RunState::Idle
    }

    /// Makes the next `step` begin the shutdown.
    pub(crate) fn request_stop(&self) -> StopRequest {
        match self.state.get() {
            RunState::Idle => StopRequest::NoRun,
            RunState::Starting | RunState::Running if !self.stop.replace(true) => StopRequest::Accepted,
            RunState::Starting | RunState::Running | RunState::Stopping(_) | RunState::Ending => {
                StopRequest::Stopping
            }
        }
    }

    pub(crate) fn add<O: Outcome>(
        &self,
        core: Weak<Core>,
        event: Event,
        phase: Phase,
        f: impl FnOnce() -> O + 'static,
        place: &'static Location<'static>,
    ) -> PhaseTrigger {
        let run = Box::new(move || maybe_deferred_at(place, || f().into_deferred().add_callback(|_| ())));
        let mut triggers = self.triggers(event).borrow_mut();
        let id = triggers.next_id;
        triggers.next_id += 1;
        triggers.calls.push_back(PhaseCall { id, phase, place, run });
        PhaseTrigger { core, event, id }
    }

    fn triggers(&self, event: Event) -> &RefCell<Triggers> {
        match event {
            Event::Startup => &self.startup,
            Event::Shutdown => &self.shutdown,
        }
    }

    /// Whether the next turn moves on to another phase.
    pub(crate) fn has_work(&self) -> bool {
        match self.state.get() {
            RunState::Idle => true,
            RunState::Starting | RunState::Stopping(_) => self.waited() || self.stop.get(),
            RunState::Running => self.stop.get(),
            RunState::Ending => false,
        }
    }

    fn waited(&self) -> bool {
        self.waiting.borrow().get() == 0
    }

    pub(crate) fn start(&self, core: &Core) {
        self.stop.set(false);
        self.state.set(RunState::Starting);
        self.run_before(core, Event::Startup);
        self.finish_start(core);
    }

    fn finish_start(&self, core: &Core) {
        if self.state.get() == RunState::Starting && self.waited() {
            self.state.set(RunState::Running);
            self.run(core, Event::Startup, Phase::During);
            self.run(core, Event::Startup, Phase::After);
        }
    }

    /// At the end of a turn: does what has become due. False when the reactor has stopped.
    pub(crate) fn step(&self, core: &Core) -> bool {
        self.finish_start(core);
        if self.stop.replace(false) {
            self.enter(RunState::Stopping(Phase::Before));
            self.run_before(core, Event::Shutdown);
        }
        while let RunState::Stopping(phase) = self.state.get() {
            if !self.waited() || self.waits_for_tasks(core) {
                return true;
            }
            match phase {
                Phase::Before => self.enter_phase(core, Phase::During),
                Phase::During => self.enter_phase(core, Phase::After),
                Phase::After => {
                    self.state.set(RunState::Ending);
                    return false;
                }
            }
        }
        true
    }

    fn enter(&self, state: RunState) {
        self.state.set(state);
        self.task_turns.set(0);
    }

    fn enter_phase(&self, core: &Core, phase: Phase) {
        self.enter(RunState::Stopping(phase));
        self.run(core, Event::Shutdown, phase);
    }

    /// Whether this phase has another turn, for the tasks that are woken.
    fn waits_for_tasks(&self, core: &Core) -> bool {
        let turns = self.task_turns.get();
        self.task_turns.set(turns + 1);
        turns < TASK_TURNS && core.has_woken_tasks()
    }

    /// The run is ending without a shutdown, because the loop cannot go on or the reactor is dropped.
    pub(crate) fn give_up(&self) {
        self.state.set(RunState::Ending);
    }

    /// Nothing is left of the run.
    pub(crate) fn finish(&self) {
        self.state.set(RunState::Idle);
    }

    fn run_before(&self, core: &Core, event: Event) {
        let waiting = Rc::new(Cell::new(0));
        self.waiting.replace(waiting.clone());
        while let Some(deferred) = self.run_next(core, event, Phase::Before) {
            if deferred.is_fired() {
                continue;
            }
            waiting.set(waiting.get() + 1);
            let (waiting, handle) = (waiting.clone(), core.handle.clone());
            // A failure passes on, to be logged when the Deferred that add_both returns is dropped.
            drop(deferred.add_both(move |result| {
                waiting.set(waiting.get() - 1);
                if waiting.get() == 0 {
                    handle.tell_host_now();
                }
                result
            }));
        }
    }

    fn run(&self, core: &Core, event: Event, phase: Phase) {
        while self.run_next(core, event, phase).is_some() {}
    }

    fn run_next(&self, core: &Core, event: Event, phase: Phase) -> Option<Deferred<()>> {
        let call = self.triggers(event).borrow_mut().pop(phase)?;
        core.call(call.place, call.run).or_else(|| Some(succeed(())))
    }

    /// Drops all triggers without running them.
    pub(crate) fn clear(&self, core: &Core) {
        for event in [Event::Startup, Event::Shutdown] {
            for call in std::mem::take(&mut *self.triggers(event).borrow_mut()).calls {
                core.discard(call.place, call.run);
            }
        }
    }
}
