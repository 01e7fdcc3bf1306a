//! Startup and shutdown, each in three phases.

mod triggers;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::panic::Location;
use std::rc::Weak;

use twistor_deferred::{Outcome, maybe_deferred_at};

use crate::core::Core;
use triggers::{AddedTriggers, PhaseCall, Triggers};

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
        core.lifecycle.triggers.get().is_some_and(|triggers| triggers.remove(self.event, self.id))
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

#[derive(Default)]
pub(crate) struct Lifecycle {
    state: Cell<RunState>,
    /// `stop` was called: this turn is the last before the shutdown.
    stop: Cell<bool>,
    /// Created with the first trigger.
    triggers: OnceCell<Box<dyn Triggers>>,
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
        let triggers = self.triggers.get_or_init(|| Box::new(AddedTriggers::default()));
        let id = triggers.add(event, PhaseCall { phase, place, run });
        PhaseTrigger { core, event, id }
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
        self.triggers.get().is_none_or(|triggers| triggers.waited())
    }

    pub(crate) fn start(&self, core: &Core) {
        self.stop.set(false);
        self.state.set(RunState::Starting);
        self.run(core, Event::Startup, Phase::Before);
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
            self.run(core, Event::Shutdown, Phase::Before);
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

    fn run(&self, core: &Core, event: Event, phase: Phase) {
        if let Some(triggers) = self.triggers.get() {
            triggers.run(core, event, phase);
        }
    }

    /// Drops all triggers without running them.
    pub(crate) fn clear(&self, core: &Core) {
        if let Some(triggers) = self.triggers.get() {
            triggers.clear(core);
        }
    }
}
