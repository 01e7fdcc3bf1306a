//! Startup and shutdown, each in three phases.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Outcome, maybe_deferred_at, succeed};

use crate::core::Core;
use crate::recorder::CallbackKind;

/// The phase in which a startup or shutdown trigger runs. Triggers of one phase run in the order in which they were
/// added.
///
/// A phase of the shutdown ends when no woken [task](crate::Handle::spawn) is left. So async code that a trigger
/// wakes runs until it waits for something else. Tasks that keep waking each other extend a phase by at most 100
/// turns.
// Exhaustive: the three phases are Twisted's, and code that treats phases differently should cover all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The first phase. The loop keeps running until every Deferred that its triggers return has fired.
    Before,
    /// The second phase. It does not wait for Deferreds that its triggers return.
    During,
    /// The last phase. It does not wait for Deferreds that its triggers return. After this phase of the shutdown,
    /// all tasks, timers and sources are dropped: connections that are still open are lost, with their unsent data.
    /// Close them gracefully in the phase `Before`.
    After,
}

/// The maximum number of turns by which woken tasks extend a phase of the shutdown.
const TASK_TURNS: u32 = 100;

/// A startup or shutdown trigger that can be removed. Dropping this leaves the trigger in place.
pub struct PhaseTrigger {
    core: Weak<Core>,
    event: Event,
    id: u64,
}

impl PhaseTrigger {
    /// Creates a trigger of a reactor that is gone.
    pub(crate) fn dead(event: Event) -> PhaseTrigger {
        PhaseTrigger { core: Weak::new(), event, id: 0 }
    }

    /// Removes the trigger. Returns false if it has already run, or is gone with its reactor. Twisted:
    /// `removeSystemEventTrigger`.
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
    /// Waiting for the Deferreds that the startup triggers of phase `Before` returned.
    Starting,
    Running,
    /// The triggers of this shutdown phase have run. The phase waits for the tasks that they woke and, in `Before`,
    /// for the Deferreds that they returned.
    Stopping(Phase),
    /// The phases are over, and leftovers are being dropped.
    Ending,
}

struct PhaseCall {
    id: u64,
    phase: Phase,
    place: &'static Location<'static>,
    run: Box<dyn FnOnce() -> Deferred<()>>,
}

/// The triggers of one event: startup or shutdown.
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
    /// `stop` was called: this turn is the last before the shutdown.
    stop: Cell<bool>,
    startup: RefCell<Triggers>,
    shutdown: RefCell<Triggers>,
    /// The number of Deferreds that the phase `Before` waits for. Each start and each stop has a counter of its
    /// own, so that a late Deferred of an earlier one does not count for a later one.
    waiting: RefCell<Rc<Cell<usize>>>,
    /// Turns of this phase that were only for woken tasks.
    task_turns: Cell<u32>,
}

/// The response to a request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopRequest {
    Accepted,
    /// The run is already stopping.
    Stopping,
    NoRun,
}

impl Lifecycle {
    pub(crate) fn is_running(&self) -> bool {
        self.state.get() == RunState::Running
    }

    /// Returns whether the reactor has started and not ended. It still takes turns while the shutdown waits.
    pub(crate) fn has_started(&self) -> bool {
        matches!(self.state.get(), RunState::Running | RunState::Stopping(_))
    }

    /// Whether everything that is left is being dropped.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.get() == RunState::Ending
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state.get() == RunState::Idle
    }

    /// Requests that the next `step` begins the shutdown.
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

    /// Returns whether the next turn moves on to another phase.
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

    /// Moves on to the phases that are due, at the end of a turn. Returns false when the reactor has stopped.
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

    /// Returns whether this phase gets another turn for woken tasks.
    fn waits_for_tasks(&self, core: &Core) -> bool {
        let turns = self.task_turns.get();
        self.task_turns.set(turns + 1);
        turns < TASK_TURNS && core.has_woken_tasks()
    }

    /// Ends the run without a shutdown, because the loop cannot continue or the reactor is dropped.
    pub(crate) fn give_up(&self) {
        self.state.set(RunState::Ending);
    }

    /// Marks that nothing is left of the run.
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

    fn run(&self, core: &Core, event: Event, phase: Phase) {
        while self.run_next(core, event, phase).is_some() {}
    }

    fn run_next(&self, core: &Core, event: Event, phase: Phase) -> Option<Deferred<()>> {
        let call = self.triggers(event).borrow_mut().pop(phase)?;
        core.recorder().began(CallbackKind::Phase, 0, || call.place.into());
        let outcome = core.call(call.place, call.run);
        core.recorder().ended();
        outcome.or_else(|| Some(succeed(())))
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
