//! Futures that the reactor runs.

use std::cell::{Cell, RefCell};
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
use crate::remote::RemoteShared;
use crate::{Handle, ReactorGone};

/// Tasks that run in one turn; the rest waits for the next, so that sources and timers get their share.
const TASKS_A_TURN: usize = 1024;

/// Results of awaited Deferreds that a task takes in one poll; after them it waits for the next turn.
const RESULTS_A_POLL: u32 = 128;

impl Handle {
    /// Runs a future in the reactor's thread, and gives its result as a Deferred. Twisted's `ensureDeferred` and
    /// `Deferred.fromCoroutine`, except that nothing of the future runs before this returns.
    ///
    /// The future's output is an [`Outcome`], like a callback's: a `Result` with a [`Failure`], a Deferred that is
    /// then waited for, or nothing. The future may wait for Deferreds, for [`sleep`](Handle::sleep), and for whatever
    /// else tells it by its waker, from any thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// let sum = reactor.spawn(async move {
    ///     let number = handle.defer_to_thread(|| Ok("41".parse::<u64>()?)).await?;
    ///     handle.sleep(Duration::from_millis(1)).await?;
    ///     Ok(number + 1)
    /// });
    /// assert_eq!(reactor.run_until(sum)?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// A task that was spawned or woken runs at the end of the same turn, after the timers; those of one turn in the
    /// order in which they were woken. One that wakes itself, or another while tasks run, goes on in the next turn,
    /// and no task runs twice in one. A task that takes 128 results of Deferreds in one poll also goes on in the next
    /// turn; one that computes for a long time between two awaits calls [`yield_now`](crate::yield_now).
    ///
    /// # Errors
    ///
    /// The future's own; [`Panicked`] if it panics; [`ReactorGone`]. When the run ends, a task that is not done is
    /// dropped and its Deferred fires [`Abandoned`](twistor_deferred::Abandoned), which if nobody handles it is logged for
    /// debugging only ([`ending`](twistor_deferred::ending)).
    ///
    /// # Dropping
    ///
    /// Cancelling the Deferred drops the future at once, or as soon as it returns if it is being polled. Dropping the
    /// Deferred cancels nothing. The future is dropped before the callbacks get its result.
    ///
    /// # Cancel safety
    ///
    /// Cancelling drops the future, which cancels the Deferreds that it awaits. So awaiting a task in another one
    /// ties the two together; [`detach`](Deferred::detach) or dropping the Deferred before it is polled lets the task
    /// run on.
    #[track_caller]
    pub fn spawn<O: Outcome + 'static>(
        &self,
        future: impl Future<Output = O> + 'static,
    ) -> Deferred<O::Value> {
        self.spawn_at(future, Location::caller())
    }

    /// Runs a future in the name of `place`.
    pub(crate) fn spawn_at<O: Outcome + 'static>(
        &self,
        future: impl Future<Output = O> + 'static,
        place: &'static Location<'static>,
    ) -> Deferred<O::Value> {
        let Some(core) = self.core() else { return fail(ReactorGone).attributed_to(place) };
        let id = core.tasks.next_id();
        let (deferred, trigger) = Deferred::with_canceller({
            let handle = self.clone();
            move |_| handle.drop_task(id)
        });
        core.tasks.insert(
            id,
            place,
            Box::new(TaskRun { place, job: Some((TaskStep::Future(Box::pin(future)), trigger)) }),
        );
        core.shared.wake_task(TaskWaker::new(id, core.shared.clone()));
        deferred.attributed_to(place)
    }

    fn drop_task(&self, id: TaskId) {
        let Some(core) = self.core() else { return };
        let task = core.tasks.remove(id);
        if let Some(task) = task {
            core.discard(task.place, task.run);
        }
    }
}

/// A task's slot in the table, and a number that no other task has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskId {
    key: usize,
    number: u64,
}

/// What a task's wakers hold.
pub(crate) struct TaskWaker {
    id: TaskId,
    shared: Arc<RemoteShared>,
    /// Stands in the list of those that were woken.
    queued: AtomicBool,
}

impl TaskWaker {
    /// A new task's: it is about to be queued.
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

pub(crate) struct SpawnedTask {
    id: TaskId,
    pub(crate) place: &'static Location<'static>,
    /// `None` while it is being polled.
    pub(crate) run: Option<Box<dyn PollTask>>,
}

/// The table, and the list of those to run. Nothing in here polls or drops a future.
#[derive(Default)]
pub(crate) struct Tasks {
    table: RefCell<Table<SpawnedTask>>,
    spawned: Cell<u64>,
    /// Woken, and not run yet.
    pub(crate) woken: RefCell<VecDeque<Arc<TaskWaker>>>,
}

impl Tasks {
    fn next_id(&self) -> TaskId {
        let number = self.spawned.replace(self.spawned.get() + 1);
        TaskId { key: self.table.borrow().vacant_key(), number }
    }

    fn insert(&self, id: TaskId, place: &'static Location<'static>, run: Box<dyn PollTask>) {
        self.table.borrow_mut().insert(SpawnedTask { id, place, run: Some(run) });
    }

    fn remove(&self, id: TaskId) -> Option<SpawnedTask> {
        self.table.borrow_mut().remove_if(id.key, |task| task.id == id)
    }

    /// Where the tasks were spawned, in that order.
    pub(crate) fn places(&self) -> Vec<&'static Location<'static>> {
        let table = self.table.borrow();
        let mut tasks: Vec<_> = table.values().map(|task| (task.id.number, task.place)).collect();
        tasks.sort_unstable_by_key(|(number, _)| *number);
        tasks.into_iter().map(|(_, place)| place).collect()
    }

    pub(crate) fn take_all(&self) -> Vec<SpawnedTask> {
        self.table.borrow_mut().take_all().collect()
    }

    /// Takes out what is to be polled, unless the task is gone.
    fn begin(&self, id: TaskId) -> Option<(Box<dyn PollTask>, &'static Location<'static>)> {
        let mut table = self.table.borrow_mut();
        let task = table.get_mut(id.key).filter(|task| task.id == id)?;
        Some((task.run.take()?, task.place))
    }

    /// Puts it back; returns it if the task was cancelled meanwhile.
    fn put_back(&self, id: TaskId, run: Box<dyn PollTask>) -> Option<Box<dyn PollTask>> {
        match self.table.borrow_mut().get_mut(id.key).filter(|task| task.id == id) {
            Some(task) => task.run.replace(run),
            None => Some(run),
        }
    }
}

impl Core {
    /// Runs the tasks that have been woken, each once. Those that are woken from here on wait for the next turn.
    pub(crate) fn run_tasks(&self) {
        if self.shared.is_pending() {
            self.fetch();
        }
        let snapshot = self.tasks.woken.borrow().len().min(TASKS_A_TURN);
        for _ in 0..snapshot {
            let Some(ring) = pop_front(&mut self.tasks.woken.borrow_mut()) else { break };
            self.run_task(ring);
        }
    }

    fn run_task(&self, ring: Arc<TaskWaker>) {
        let id = ring.id;
        // First, so that it can wake itself; and what was done before a wake that found it queued is seen from here on.
        ring.queued.swap(false, Ordering::AcqRel);
        let Some((mut run, place)) = self.tasks.begin(id) else { return };
        let waker = Waker::from(ring);
        self.meter.polls.count();
        let polled =
            self.call(place, || with_budget(RESULTS_A_POLL, || run.poll(&mut Context::from_waker(&waker))));
        let done = match polled {
            Some(Poll::Pending) => self.tasks.put_back(id, run),
            Some(Poll::Ready(())) | None => {
                drop(self.tasks.remove(id));
                Some(run)
            }
        };
        if done.is_some() {
            self.discard(place, done);
        }
    }
}

/// A task, whatever it results in.
pub(crate) trait PollTask {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

struct TaskRun<F, T: 'static> {
    place: &'static Location<'static>,
    job: Option<(TaskStep<F, T>, Trigger<T>)>,
}

enum TaskStep<F, T: 'static> {
    Future(Pin<Box<F>>),
    /// The future is done, and gave a Deferred.
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
            // Dropped before it fires, it is cancelled, as it was polled.
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
            // What it holds is free by the time its result is told.
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
    fn nothing_is_left_of_tasks_that_are_over() {
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
        assert!(core.tasks.table.borrow().len() == 0 && core.tasks.woken.borrow().is_empty());
    }
}
