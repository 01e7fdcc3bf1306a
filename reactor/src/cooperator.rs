//! Long work in short steps, so that the rest of the loop runs in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use twistor_deferred::{
    Abandoned, Cancelled, Canceller, Deferred, DeferredEvent, Failure, Outcome, maybe_deferred_at, succeed,
};

use crate::memory::{Table, pop_front};
use crate::{Clock, DelayedCall, ScheduledCall};

/// Runs iterators one step at a time, in rotation, and lets the rest of the loop run in between. Twisted:
/// `task.Cooperator`.
///
/// An iterator is a task, and each of its items is a step. An item that is a Deferred pauses its task until it
/// fires. A task fails if an item is an `Err`, if a Deferred fails, or if the iterator panics.
///
/// ```
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let cooperator = Cooperator::new(&reactor);
/// let steps = (1..=3).map(|n| println!("step {n}"));
/// reactor.run_until(cooperator.coiterate(steps))?;
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
///
/// Round robin, one step per task, in the order in which the tasks were added. The first step runs in a later turn.
/// In one turn, steps run for 10 milliseconds or until 10,000 have run, whichever comes first;
/// [`with_slice`](Cooperator::with_slice) sets other limits.
///
/// # Dropping
///
/// Clones refer to the same cooperator. Dropping all of them leaves the tasks running. When no task is left to
/// step, no timer is left in the clock.
#[derive(Clone)]
pub struct Cooperator {
    shared: Rc<CooperatorShared>,
}

struct CooperatorShared {
    clock: Rc<dyn Clock>,
    slice: (Duration, usize),
    place: &'static Location<'static>,
    /// All unfinished tasks, including paused ones.
    tasks: RefCell<Table<Rc<CooperatorTask>>>,
    next_number: Cell<u64>,
    line: RefCell<TaskLine>,
    next_slice: RefCell<Option<DelayedCall>>,
    in_slice: Cell<bool>,
    stopped: Cell<bool>,
}

impl Cooperator {
    /// Creates a cooperator that runs its steps on this clock.
    #[track_caller]
    pub fn new(clock: &(impl Clock + ?Sized)) -> Cooperator {
        Cooperator::with_slice(clock, Duration::from_millis(10), 10_000)
    }

    /// Creates a cooperator that works for at most `time`, and runs at most `steps` steps, in one turn. It runs at
    /// least one step.
    #[track_caller]
    pub fn with_slice(clock: &(impl Clock + ?Sized), time: Duration, steps: usize) -> Cooperator {
        Cooperator {
            shared: Rc::new(CooperatorShared {
                clock: clock.shared(),
                slice: (time, steps),
                place: Location::caller(),
                tasks: RefCell::default(),
                next_number: Cell::new(0),
                line: RefCell::default(),
                next_slice: RefCell::default(),
                in_slice: Cell::new(false),
                stopped: Cell::new(false),
            }),
        }
    }

    /// Runs the iterator. The Deferred fires when it has ended. Twisted: `coiterate`.
    ///
    /// # Errors
    ///
    /// [`TaskFailed`], with the failure of a step; [`SchedulerStopped`]; [`Abandoned`] when the run ends.
    ///
    /// # Cancel safety
    ///
    /// Cancelling stops the task: the iterator is dropped, and the Deferred that it waits for is cancelled. In
    /// Twisted the task continues.
    #[track_caller]
    pub fn coiterate<I>(&self, iterator: I) -> Deferred<()>
    where
        I: IntoIterator,
        I::IntoIter: 'static,
        I::Item: Outcome,
    {
        let CooperativeTask { task } = self.cooperate(iterator);
        task.observed.set(true);
        let weak = Rc::downgrade(&task);
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(task) = weak.upgrade() {
                task.cancel();
            }
        });
        drop(task.ended.wait().add_both(move |end| trigger.fire(end.and_then(|end| end.result()))));
        deferred
    }

    /// Runs the iterator, and returns a task to pause, stop and watch it. Twisted: `cooperate`.
    #[track_caller]
    pub fn cooperate<I>(&self, iterator: I) -> CooperativeTask
    where
        I: IntoIterator,
        I::IntoIter: 'static,
        I::Item: Outcome,
    {
        let mut iterator = iterator.into_iter();
        let step = move || iterator.next().map(|item| item.into_deferred().add_callback(|_| ()));
        let number = self.shared.next_number.replace(self.shared.next_number.get() + 1);
        let task = Rc::new(CooperatorTask {
            number,
            place: Location::caller(),
            key: self.shared.tasks.borrow().vacant_key(),
            cooperator: Rc::downgrade(&self.shared),
            step: Cell::new(Some(Box::new(step))),
            pauses: Cell::new(0),
            waits: Cell::new(false),
            waits_for: Cell::default(),
            ticket: Cell::new(None),
            ended: DeferredEvent::new(),
            end: RefCell::default(),
            observed: Cell::new(false),
        });
        if self.shared.stopped.get() {
            task.finish(TaskEnd::SchedulerStopped);
        } else {
            self.shared.tasks.borrow_mut().insert(task.clone());
            self.shared.enqueue(&task);
        }
        CooperativeTask { task }
    }

    /// Fails all tasks with [`SchedulerStopped`], and every new task as soon as it is added. Twisted: `stop`.
    pub fn stop(&self) {
        self.shared.stopped.set(true);
        let mut tasks = Vec::new();
        self.shared.tasks.take().for_each(|task| tasks.push(task));
        tasks.sort_unstable_by_key(|task| task.number);
        tasks.into_iter().for_each(|task| task.finish(TaskEnd::SchedulerStopped));
    }

    /// Returns whether the cooperator accepts tasks, which it does until it is stopped.
    pub fn is_running(&self) -> bool {
        !self.shared.stopped.get()
    }
}

impl CooperatorShared {
    fn enqueue(self: &Rc<Self>, task: &Rc<CooperatorTask>) {
        self.line.borrow_mut().push(task);
        self.schedule();
    }

    fn schedule(self: &Rc<Self>) {
        // The clock may have dropped its calls without running them, as a reactor does between two runs.
        let scheduled = self.next_slice.borrow().as_ref().is_some_and(DelayedCall::active);
        if scheduled || self.in_slice.get() {
            return;
        }
        let slice = Slice(Some(self.clone()));
        let next = self.clock.schedule(Duration::ZERO, ScheduledCall::at(self.place, move || slice.run()));
        self.next_slice.replace(Some(next));
    }

    /// Fails the tasks that wait for a slice, because the clock has dropped it, as a reactor does at the end of a
    /// run.
    fn abandon(&self) {
        let count = self.line.borrow().len;
        for _ in 0..count {
            let Some(task) = self.line.borrow_mut().pop() else { break };
            task.finish(TaskEnd::Abandoned);
        }
    }

    fn dequeue(&self, task: &CooperatorTask) {
        let mut line = self.line.borrow_mut();
        if line.leave(task) && line.len == 0 {
            drop(line);
            if let Some(next) = self.next_slice.take() {
                let _ = next.cancel();
            }
        }
    }

    fn run_slice(self: &Rc<Self>) {
        let (time, most) = self.slice;
        let end = self.clock.now().checked_add(time);
        self.in_slice.set(true);
        for made in 0.. {
            let over = made > 0 && (made >= most || end.is_some_and(|end| self.clock.now() >= end));
            if over {
                break;
            }
            let Some(task) = self.line.borrow_mut().pop() else { break };
            task.make_step();
        }
        self.in_slice.set(false);
        let more = self.line.borrow().len > 0;
        if more {
            self.schedule();
        }
    }
}

/// The callback of the next slice.
struct Slice(Option<Rc<CooperatorShared>>);

impl Slice {
    fn run(mut self) {
        if let Some(shared) = self.0.take() {
            shared.run_slice();
        }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // If the slice was cancelled, no task is left in the line.
        if let Some(shared) = self.0.take() {
            shared.abandon();
        }
    }
}

/// The number of entries per task in the line beyond which stale entries are swept out.
const ENTRIES_A_TASK: usize = 4;
/// A line of at most this many entries is not swept.
const SHORT: usize = 64;

/// The tasks that can run a step, in order. A task that leaves the line leaves a stale entry, which is skipped.
#[derive(Default)]
struct TaskLine {
    entries: VecDeque<(u64, Weak<CooperatorTask>)>,
    next_ticket: u64,
    /// The number of tasks in the line.
    len: usize,
}

impl TaskLine {
    fn push(&mut self, task: &Rc<CooperatorTask>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        task.ticket.set(Some(ticket));
        self.entries.push_back((ticket, Rc::downgrade(task)));
        self.len += 1;
        if self.entries.len() > SHORT.max(ENTRIES_A_TASK * self.len) {
            self.entries.retain(|(ticket, task)| stands(*ticket, task).is_some());
        }
    }

    /// Returns false if the task was not in the line.
    fn leave(&mut self, task: &CooperatorTask) -> bool {
        let stood = task.ticket.take().is_some();
        if stood {
            self.len -= 1;
        }
        if self.len == 0 {
            self.entries = VecDeque::new();
        }
        stood
    }

    fn pop(&mut self) -> Option<Rc<CooperatorTask>> {
        loop {
            let (ticket, task) = pop_front(&mut self.entries)?;
            if let Some(task) = stands(ticket, &task) {
                self.len -= 1;
                task.ticket.set(None);
                return Some(task);
            }
        }
    }
}

/// Returns the task if this entry is current, not stale.
fn stands(ticket: u64, task: &Weak<CooperatorTask>) -> Option<Rc<CooperatorTask>> {
    task.upgrade().filter(|task| task.ticket.get() == Some(ticket))
}

type StepFn = Box<dyn FnMut() -> Option<Deferred<()>>>;

struct CooperatorTask {
    /// The task's number within its cooperator.
    number: u64,
    /// The place that started the task.
    place: &'static Location<'static>,
    /// The task's key in the table of its cooperator.
    key: usize,
    cooperator: Weak<CooperatorShared>,
    /// Taken out while a step runs, and when the task is finished.
    step: Cell<Option<StepFn>>,
    /// The number of pauses that were not resumed.
    pauses: Cell<usize>,
    /// A step is running, or its Deferred has not fired yet.
    waits: Cell<bool>,
    /// Cancels that Deferred.
    waits_for: Cell<Option<Canceller>>,
    /// The number of the task's entry while it is in the line.
    ticket: Cell<Option<u64>>,
    ended: DeferredEvent<TaskEnd>,
    end: RefCell<Option<TaskEnd>>,
    /// Whether a Deferred reports, or will report, how the task ended.
    observed: Cell<bool>,
}

#[derive(Clone)]
enum TaskEnd {
    Done,
    Failed(Arc<Failure>),
    Stopped,
    Cancelled,
    SchedulerStopped,
    Abandoned,
}

impl TaskEnd {
    fn result(&self) -> Result<(), Failure> {
        match self {
            TaskEnd::Done => Ok(()),
            TaskEnd::Failed(failure) => Err(TaskFailed(failure.clone()).into()),
            TaskEnd::Stopped => Err(TaskStopped.into()),
            TaskEnd::Cancelled => Err(Cancelled.into()),
            TaskEnd::SchedulerStopped => Err(SchedulerStopped.into()),
            TaskEnd::Abandoned => Err(Abandoned.into()),
        }
    }
}

impl CooperatorTask {
    fn is_finished(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn make_step(self: Rc<Self>) {
        let Some(mut step) = self.step.take() else { return };
        self.waits.set(true);
        let mut over = false;
        let outcome = maybe_deferred_at(self.place, || {
            step().unwrap_or_else(|| {
                over = true;
                succeed(())
            })
        });
        if over {
            drop(step);
            return self.finish(TaskEnd::Done);
        }
        if !self.is_finished() {
            self.step.set(Some(step));
        }
        if !outcome.is_fired() {
            self.waits_for.set(Some(outcome.canceller()));
        }
        let task = self.clone();
        drop(outcome.add_both(move |result| {
            task.waits.set(false);
            task.waits_for.take();
            match result {
                Ok(()) => task.run_on(),
                Err(failure) if task.is_cancelled() && failure.is::<Cancelled>() => {}
                // No waiter can receive this failure any more, so it is logged.
                Err(failure) if task.is_finished() => return Err(failure),
                Err(failure) => task.finish(TaskEnd::Failed(Arc::new(failure))),
            }
            Ok(())
        }));
        // A step may have cancelled its own task.
        if self.is_cancelled() {
            self.cancel_wait();
        }
    }

    /// Joins the line for the next step, unless the task is paused, waiting or finished.
    fn run_on(self: &Rc<Self>) {
        if self.pauses.get() == 0 && !self.waits.get() && !self.is_finished() {
            if let Some(cooperator) = self.cooperator.upgrade() {
                cooperator.enqueue(self);
            }
        }
    }

    /// Ends the task and cancels the Deferred that it waits for.
    fn cancel(self: &Rc<Self>) {
        self.finish(TaskEnd::Cancelled);
        self.cancel_wait();
    }

    fn cancel_wait(&self) {
        if let Some(canceller) = self.waits_for.take() {
            canceller.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        matches!(&*self.end.borrow(), Some(TaskEnd::Cancelled))
    }

    /// Ends the task. Only the first end counts.
    fn finish(self: &Rc<Self>, end: TaskEnd) {
        if self.is_finished() {
            return;
        }
        self.end.replace(Some(end.clone()));
        let step = self.step.take();
        if let Some(cooperator) = self.cooperator.upgrade() {
            cooperator.dequeue(self);
            // Dropped after the borrow has ended.
            let _task = cooperator.tasks.borrow_mut().remove_if(self.key, |task| Rc::ptr_eq(task, self));
        }
        drop(step);
        self.ended.fire(end);
    }
}

impl Drop for CooperatorTask {
    fn drop(&mut self) {
        if let (Some(TaskEnd::Failed(failure)), false) = (&*self.end.borrow(), self.observed.get()) {
            log::error!("unhandled failure in the cooperative task started at {}: {failure:#}", self.place);
        }
    }
}

/// A task of a [`Cooperator`]. Twisted: `CooperativeTask`.
///
/// Clones refer to the same task. Dropping them leaves it running.
#[derive(Clone)]
pub struct CooperativeTask {
    task: Rc<CooperatorTask>,
}

impl CooperativeTask {
    /// Pauses the task until [`resume`](CooperativeTask::resume) has been called as often as this method.
    ///
    /// # Errors
    ///
    /// [`TaskError::Finished`].
    pub fn pause(&self) -> Result<(), TaskError> {
        self.check()?;
        self.task.pauses.set(self.task.pauses.get() + 1);
        if let Some(cooperator) = self.task.cooperator.upgrade() {
            cooperator.dequeue(&self.task);
        }
        Ok(())
    }

    /// Undoes one [`pause`](CooperativeTask::pause). The task goes to the end of the line.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotPaused`], [`TaskError::Finished`].
    pub fn resume(&self) -> Result<(), TaskError> {
        self.check()?;
        let pauses = self.task.pauses.get().checked_sub(1).ok_or(TaskError::NotPaused)?;
        self.task.pauses.set(pauses);
        self.task.run_on();
        Ok(())
    }

    /// Stops the task. Deferreds that wait for it fail with [`TaskStopped`].
    ///
    /// # Errors
    ///
    /// [`TaskError::Finished`].
    pub fn stop(&self) -> Result<(), TaskError> {
        self.check()?;
        self.task.finish(TaskEnd::Stopped);
        Ok(())
    }

    /// Returns a new Deferred that fires when the task has ended.
    ///
    /// # Errors
    ///
    /// [`TaskFailed`], with the failure of a step; [`TaskStopped`]; [`SchedulerStopped`]; [`Abandoned`] if the run
    /// ends while the task could run a step.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The task continues.
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        self.task.observed.set(true);
        self.task.ended.wait().add_callback(|end| end.result())
    }

    fn check(&self) -> Result<(), TaskError> {
        if self.task.is_finished() { Err(TaskError::Finished) } else { Ok(()) }
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CooperativeTask")
            .field("finished", &self.task.is_finished())
            .field("pauses", &self.task.pauses.get())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooperator")
            .field("tasks", &self.shared.tasks.borrow().len())
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}

/// The failure of a task's step, shared by everything that waits for the task.
/// [`Failure::check`](twistor_deferred::Failure::check) finds the step's error in it.
#[derive(Clone, Debug)]
pub struct TaskFailed(Arc<Failure>);

impl TaskFailed {
    /// Returns the step's failure.
    pub fn failure(&self) -> &Failure {
        &self.0
    }
}

impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a step of the task failed: {}", self.0)
    }
}

impl std::error::Error for TaskFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.error())
    }
}

/// The error reported by a task that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStopped;

impl fmt::Display for TaskStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was stopped")
    }
}

impl std::error::Error for TaskStopped {}

/// The error reported by a task whose cooperator was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerStopped;

impl fmt::Display for SchedulerStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cooperator was stopped")
    }
}

impl std::error::Error for SchedulerStopped {}

/// The error of pausing, resuming or stopping a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The task has already ended.
    Finished,
    /// The task is not paused, so it cannot be resumed.
    NotPaused,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskError::Finished => "the task has already ended",
            TaskError::NotPaused => "the task is not paused",
        })
    }
}

impl std::error::Error for TaskError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn stale_entries_of_the_line_stay_in_proportion() {
        // T5.1
        let clock = ManualClock::new();
        let cooperator = Cooperator::new(&clock);
        let entries = || cooperator.shared.line.borrow().entries.len();
        let tasks: Vec<_> = (0..100).map(|_| cooperator.cooperate(std::iter::repeat(()))).collect();
        for task in tasks.iter().cycle().take(10_000) {
            task.pause().unwrap();
            task.resume().unwrap();
            assert!(entries() <= ENTRIES_A_TASK * tasks.len());
        }
        tasks.iter().for_each(|task| task.stop().unwrap());
        assert_eq!((entries(), clock.pending()), (0, 0));
    }
}
