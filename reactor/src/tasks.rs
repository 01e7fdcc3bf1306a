//! Futures that the reactor runs.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use twistor_deferred::{Deferred, Failure, Outcome, Panicked, Trigger, fail, guarded, with_budget};

use crate::core::Core;
use crate::mailbox::Mailbox;
use crate::memory::{Table, pop_front};
use crate::recorder::CallbackKind;
use crate::remote::RemoteShared;
use crate::{Handle, ReactorGone};

/// The maximum number of tasks that run in one turn. The rest wait for the next turn, so that sources and timers run.
const TASKS_A_TURN: usize = 1024;

/// The number of awaited results that a task may receive in one poll. After them, it waits for the next turn.
const RESULTS_A_POLL: u32 = 128;

impl Handle {
    /// Runs a future in the reactor's thread, and returns its result as a Deferred. Twisted: `ensureDeferred` and
    /// `Deferred.fromCoroutine`.
    ///
    /// Unlike in Twisted, no part of the future runs before this method returns. The future's output is an
    /// [`Outcome`], like a callback's: a `Result` with a [`Failure`], a Deferred that is then waited for, or `()`.
    /// The future may await Deferreds, [`sleep`](Handle::sleep), and anything else that calls its waker, from any
    /// thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let sum = reactor.spawn(async move {
    ///     let number = handle.defer_to_thread(|| Ok("41".parse::<u64>()?)).await?;
    ///     handle.sleep(Duration::from_millis(1)).await?;
    ///     Ok(number + 1)
    /// });
    /// assert_eq!(reactor.run_until(sum)?, 42);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// A task that is spawned or woken runs at the end of the same turn, after the timers. The tasks of one turn
    /// run in the order in which they were woken. A task that is woken while tasks run, by itself or by another,
    /// runs in the next turn: no task runs twice in one turn. A task that receives 128 results of Deferreds in one
    /// poll also continues in the next turn. A task that computes for a long time between two awaits should call
    /// [`yield_now`](crate::yield_now).
    ///
    /// # Errors
    ///
    /// The failure that the future returns; [`Panicked`] if it panics; [`ReactorGone`]. When the run ends,
    /// unfinished tasks are dropped and their Deferreds fail with [`Abandoned`](twistor_deferred::Abandoned). If
    /// that failure is not handled, it is logged at debug level ([`ending`](twistor_deferred::ending)).
    ///
    /// # Dropping
    ///
    /// Cancelling the Deferred drops the future immediately, or after the current poll if it is being polled.
    /// Dropping the Deferred cancels nothing. The future is dropped before callbacks receive its result.
    ///
    /// # Cancel safety
    ///
    /// Cancelling drops the future, which cancels the Deferreds that it awaits. So if one task awaits another,
    /// cancelling the first also cancels the second. To let the second continue, [`detach`](Deferred::detach) its
    /// Deferred, or drop it before it is polled.
    #[track_caller]
    pub fn spawn<O: Outcome + 'static>(
        &self,
        future: impl Future<Output = O> + 'static,
    ) -> Deferred<O::Value> {
        self.spawn_at(future, Location::caller())
    }

    /// Runs a future. Log messages name `place`.
    pub(crate) fn spawn_at<O: Outcome + 'static>(
        &self,
        future: impl Future<Output = O> + 'static,
        place: &'static Location<'static>,
    ) -> Deferred<O::Value> {
        let Some(core) = self.core() else { return fail(ReactorGone).attributed_to(place) };
        let table = core.tasks.table();
        let id = table.next_id();
        let (deferred, trigger) = Deferred::with_canceller({
            let handle = self.clone();
            move |_| handle.drop_task(id)
        });
        core.recorder().task_spawned(id.recorded(), place);
        table.insert(
            id,
            place,
            Box::new(TaskRun { place, job: Some((TaskStep::Future(Box::pin(future)), trigger)) }),
        );
        core.shared.wake_task(TaskWaker::new(id, core.shared.clone()));
        deferred.attributed_to(place)
    }

    fn drop_task(&self, id: TaskId) {
        let Some(core) = self.core() else { return };
        let task = core.tasks.table().remove(id);
        if let Some(task) = task {
            core.recorder().task_ended(id.recorded());
            core.discard(task.place, task.run);
        }
    }
}

/// A task's slot in the table, and a number that is never reused.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskId {
    key: usize,
    number: u64,
}

/// The waker of a task.
pub(crate) struct TaskWaker {
    id: TaskId,
    shared: Arc<RemoteShared>,
    /// Whether the task is in the list of woken tasks.
    queued: AtomicBool,
}

impl TaskWaker {
    /// Creates the waker of a new task, which is about to be queued.
    fn new(id: TaskId, shared: Arc<RemoteShared>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { id, shared, queued: AtomicBool::new(true) })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.shared.wake_task(self.clone());
        }
    }
}

/// The tasks, and the code that runs them. The first task makes this trait object, so that a program without tasks
/// contains none of that code. Only `run` polls futures, and none of the methods drops one.
trait TaskTable {
    /// Returns the id that the next task will have.
    fn next_id(&self) -> TaskId;
    fn insert(&self, id: TaskId, place: &'static Location<'static>, run: Box<dyn PollTask>);
    fn remove(&self, id: TaskId) -> Option<SpawnedTask>;
    /// Polls a task, unless it is gone.
    fn run(&self, core: &Core, ring: Arc<TaskWaker>);
    /// Returns the places that spawned the tasks, in the order of spawning.
    fn places(&self) -> Vec<&'static Location<'static>>;
    fn clear(&self, core: &Core, leaks: bool) -> bool;
}

struct SpawnedTask {
    id: TaskId,
    place: &'static Location<'static>,
    /// `None` while the task is being polled.
    run: Option<Box<dyn PollTask>>,
}

/// The table of tasks, and the list of woken ones.
#[derive(Default)]
pub(crate) struct Tasks {
    table: OnceCell<Box<dyn TaskTable>>,
    /// Tasks that were woken and have not run yet.
    pub(crate) woken: RefCell<VecDeque<Arc<TaskWaker>>>,
}

impl TaskId {
    /// The number of the task, in a recording.
    #[inline]
    fn recorded(self) -> u64 {
        self.number + 1
    }
}

impl Tasks {
    /// The table, from the first task on.
    fn table(&self) -> &dyn TaskTable {
        &**self.table.get_or_init(|| Box::new(SpawnedTasks::default()))
    }

    /// Returns the places that spawned the tasks, in the order of spawning.
    pub(crate) fn places(&self) -> Vec<&'static Location<'static>> {
        self.table.get().map_or_else(Vec::new, |table| table.places())
    }

    /// Drops or leaks all tasks. Returns whether there were any.
    pub(crate) fn clear(&self, core: &Core, leaks: bool) -> bool {
        self.table.get().is_some_and(|table| table.clear(core, leaks))
    }
}

#[derive(Default)]
struct SpawnedTasks {
    tasks: RefCell<Table<SpawnedTask>>,
    spawned: Cell<u64>,
}

impl SpawnedTasks {
    /// Takes a task's future out to be polled, unless the task is gone.
    fn begin(&self, id: TaskId) -> Option<(Box<dyn PollTask>, &'static Location<'static>)> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(id.key).filter(|task| task.id == id)?;
        Some((task.run.take()?, task.place))
    }

    /// Puts the future back. Returns it if the task was cancelled while it was polled.
    fn put_back(&self, id: TaskId, run: Box<dyn PollTask>) -> Option<Box<dyn PollTask>> {
        match self.tasks.borrow_mut().get_mut(id.key).filter(|task| task.id == id) {
            Some(task) => task.run.replace(run),
            None => Some(run),
        }
    }
}

impl TaskTable for SpawnedTasks {
    fn next_id(&self) -> TaskId {
        let number = self.spawned.replace(self.spawned.get() + 1);
        TaskId { key: self.tasks.borrow().vacant_key(), number }
    }

    fn insert(&self, id: TaskId, place: &'static Location<'static>, run: Box<dyn PollTask>) {
        self.tasks.borrow_mut().insert(SpawnedTask { id, place, run: Some(run) });
    }

    fn remove(&self, id: TaskId) -> Option<SpawnedTask> {
        self.tasks.borrow_mut().remove_if(id.key, |task| task.id == id)
    }

    fn run(&self, core: &Core, ring: Arc<TaskWaker>) {
        let id = ring.id;
        // Cleared before the poll, so that the task can wake itself. A wake that found the task queued happened
        // before this, so the poll sees everything that was done before that wake.
        ring.queued.swap(false, Ordering::AcqRel);
        let Some((mut run, place)) = self.begin(id) else { return };
        let waker = Waker::from(ring);
        core.meter.polls.count();
        core.recorder().began(CallbackKind::Task, id.recorded(), || place.into());
        let polled =
            core.call(place, || with_budget(RESULTS_A_POLL, || run.poll(&mut Context::from_waker(&waker))));
        core.recorder().ended();
        let done = match polled {
            Some(Poll::Pending) => self.put_back(id, run),
            Some(Poll::Ready(())) | None => {
                drop(self.remove(id));
                core.recorder().task_ended(id.recorded());
                Some(run)
            }
        };
        if done.is_some() {
            core.discard(place, done);
        }
    }

    fn places(&self) -> Vec<&'static Location<'static>> {
        let tasks = self.tasks.borrow();
        let mut tasks: Vec<_> = tasks.values().map(|task| (task.id.number, task.place)).collect();
        tasks.sort_unstable_by_key(|(number, _)| *number);
        tasks.into_iter().map(|(_, place)| place).collect()
    }

    fn clear(&self, core: &Core, leaks: bool) -> bool {
        let tasks = self.tasks.take();
        let any = !tasks.is_empty();
        if leaks {
            std::mem::forget(tasks);
            return any;
        }
        tasks.for_each(|task| {
            core.recorder().task_ended(task.id.recorded());
            core.discard(task.place, task.run);
        });
        any
    }
}

impl Core {
    /// Runs the woken tasks, each once. Tasks woken from now on wait for the next turn.
    pub(crate) fn run_tasks(&self) {
        if self.shared.is_pending() {
            self.fetch();
        }
        let Some(table) = self.tasks.table.get() else { return };
        let snapshot = self.tasks.woken.borrow().len().min(TASKS_A_TURN);
        for _ in 0..snapshot {
            let Some(ring) = pop_front(&mut self.tasks.woken.borrow_mut()) else { break };
            table.run(self, ring);
        }
    }
}

/// A task of any result type.
trait PollTask {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

struct TaskRun<F, T: 'static> {
    place: &'static Location<'static>,
    job: Option<(TaskStep<F, T>, Trigger<T>)>,
}

enum TaskStep<F, T: 'static> {
    Future(Pin<Box<F>>),
    /// The future has completed and returned a Deferred.
    Deferred(Deferred<T>),
}

impl<F, T> TaskStep<F, T>
where
    T: 'static,
    F: Future<Output: Outcome<Value = T>>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        if let TaskStep::Future(future) = self {
            let given = ready!(future.as_mut().poll(context)).into_deferred();
            *self = TaskStep::Deferred(given);
        }
        match self {
            // It has been polled, so dropping it cancels it.
            TaskStep::Deferred(deferred) => Pin::new(deferred).poll(context),
            TaskStep::Future(_) => Poll::Pending,
        }
    }
}

impl<F, T> PollTask for TaskRun<F, T>
where
    T: 'static,
    F: Future<Output: Outcome<Value = T>>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((step, _)) = &mut self.job else { return Poll::Ready(()) };
        let result = match guarded(|| step.poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(message) => Err(Failure::new(Panicked::new(message, self.place))),
        };
        if let Some((step, trigger)) = self.job.take() {
            // The future's captures are dropped before callbacks receive the result.
            if let Err(message) = guarded(|| drop(step)) {
                log::error!("{}", Panicked::new(message, self.place));
            }
            trigger.fire(result);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::task::Poll;
    use std::time::Duration;

    use crate::Reactor;

    #[test]
    fn nothing_is_left_of_finished_tasks() {
        // R9
        let reactor = Reactor::simulated(0);
        let core = reactor.core().unwrap();
        for _ in 0..10 {
            drop(reactor.spawn(ready(())));
            drop(reactor.spawn(poll_fn(|_| -> Poll<()> { panic!("out of cheese") })).add_both(|_| ()));
            let cancelled = reactor.spawn(pending::<()>());
            cancelled.cancel();
            drop(cancelled.add_both(|_| ()));
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(!core.tasks.clear(&core, false) && core.tasks.woken.borrow().is_empty());
    }
}
