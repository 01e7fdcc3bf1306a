//! The state that a reactor owns, and the steps of a turn.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use twistor_deferred::{ending, guarded, loop_turn};

use crate::delayed_call::TimerQueue;
use crate::driver::{Driver, Wait};
use crate::lifecycle::Lifecycle;
use crate::mailbox::Mailbox;
use crate::memory::pop_front;
use crate::ready::Progress;
use crate::recorder::{CallbackKind, Recorder};
use crate::remote::{RemoteCall, RemoteShared};
use crate::sources::Sources;
use crate::stats::{Meter, SlowLimits};
use crate::tasks::Tasks;
use crate::threads::{JobThreads, ThreadLimits};
use crate::time::{Time, nanos};
#[cfg(unix)]
use crate::watcher::WatchTurns;
use crate::{CallSite, Handle, RunError};

/// The maximum number of timers, and of calls from other threads, that run in one turn. The rest wait for the next
/// turn, so that sources get their share even if a million timers fall due at once.
const CALLS_A_TURN: usize = 1024;

/// The amount of work, in bytes, that all sources together may do in one turn. The rest waits for the next turn, so
/// that timers, calls and new connections run in between.
const WORK_A_TURN: usize = 4 * 1024 * 1024;

/// The bounds of one source's share of that work. The share is smaller the more sources are ready.
const SHARES: std::ops::RangeInclusive<usize> = 16 * 1024..=256 * 1024;

/// The number of timers after which the memory of their callbacks is merged.
const CALLS_A_MERGE: u64 = 1024;

/// The cost of a turn of a simulated reactor in the budget of `turns`, in nanoseconds.
const SIMULATED_TURN: u64 = 1_000;

/// The number of rounds in which leftovers are dropped at the end. Dropping may run code that sets up something new.
const CLEARANCES: usize = 100;

/// Everything that a reactor holds. Owned by the [`Reactor`](crate::Reactor) alone; handles refer to it weakly.
///
/// Each field has its own cell, and no cell stays borrowed while the user's code runs or is dropped.
pub(crate) struct Core {
    pub(crate) handle: Handle,
    pub(crate) driver: Driver,
    pub(crate) timers: Rc<TimerQueue>,
    pub(crate) sources: RefCell<Sources>,
    pub(crate) shared: Arc<RemoteShared>,
    /// Calls that were fetched from other threads and have not run yet.
    incoming: RefCell<VecDeque<RemoteCall>>,
    pub(crate) tasks: Tasks,
    pub(crate) lifecycle: Lifecycle,
    #[cfg(all(unix, feature = "signals"))]
    pub(crate) signals: crate::signals::Signals,
    pub(crate) thread_limits: ThreadLimits,
    pub(crate) threads: OnceCell<Box<dyn JobThreads>>,
    pub(crate) meter: Meter,
    /// The user's hook, which is called in each turn before the wait.
    before_wait: Option<Box<dyn Fn()>>,
    #[cfg(unix)]
    pub(crate) watcher: OnceCell<Box<dyn WatchTurns>>,
    /// Whether the user's code has run since this was last cleared.
    busy: Cell<bool>,
    /// Work that may still be done in this turn, and one source's share of it.
    work_left: Cell<usize>,
    share: Cell<usize>,
}

impl Core {
    pub(crate) fn new(
        driver: Driver,
        time: Time,
        thread_limits: ThreadLimits,
        slow: SlowLimits,
        before_wait: Option<Box<dyn Fn()>>,
    ) -> Rc<Core> {
        let shared = RemoteShared::new(driver.waker(), time.clone());
        Rc::new_cyclic(|this: &Weak<Core>| Core {
            handle: Handle::new(this.clone()),
            driver,
            timers: TimerQueue::new(time),
            sources: RefCell::default(),
            thread_limits,
            threads: OnceCell::new(),
            shared,
            incoming: RefCell::default(),
            tasks: Tasks::default(),
            lifecycle: Lifecycle::default(),
            #[cfg(all(unix, feature = "signals"))]
            signals: Default::default(),
            meter: Meter::new(slow),
            before_wait,
            #[cfg(unix)]
            watcher: OnceCell::new(),
            busy: Cell::new(false),
            work_left: Cell::new(WORK_A_TURN),
            share: Cell::new(*SHARES.end()),
        })
    }

    /// Takes one turn. Returns false after the last one, when the reactor has stopped and everything is cleared away.
    pub(crate) fn turn(&self, max_wait: Option<Duration>) -> Result<bool, RunError> {
        let _turn = Turn::enter(self)?;
        loop_turn(|| self.run_turn(max_wait))
    }

    fn run_turn(&self, max_wait: Option<Duration>) -> Result<bool, RunError> {
        self.recorder().turn_began(self.meter.turns.get() + 1);
        self.start();
        self.recorder().wait_began();
        let waited = self.wait(max_wait);
        self.recorder().wait_ended(|| self.sources.borrow().ready_now());
        if let Err(error) = waited {
            self.lifecycle.give_up();
            self.end_run();
            return Err(RunError::Wait(error));
        }
        let began = self.meter.turn_began();
        let mark = self.timers.begin_turn();
        self.run_sources();
        self.run_incoming();
        self.run_timers(mark);
        self.run_tasks();
        self.meter.turns.count();
        let goes_on = !self.lifecycle.has_work() || self.lifecycle.step(self);
        self.recorder().turn_ended();
        self.meter.turn_ended(began);
        if !goes_on {
            // The run was stopped on request, so unfinished work is not an error.
            ending(|| self.end_run());
        }
        Ok(goes_on)
    }

    /// Takes turns that do not wait, until one finds nothing to do or the time is up.
    pub(crate) fn turns(&self, budget: Duration) -> Result<bool, RunError> {
        let begun = self.timers.time.now();
        for turns in 1.. {
            self.busy.set(false);
            if !self.turn(Some(Duration::ZERO))? {
                return Ok(false);
            }
            let idle = !self.busy.get() && !self.has_work();
            // A simulated clock stands still during turns, so they are counted.
            let spent = match self.driver.simulated() {
                Some(_) => turns * SIMULATED_TURN,
                None => self.timers.time.now().saturating_sub(begun),
            };
            if idle || spent >= nanos(budget) {
                break;
            }
        }
        Ok(true)
    }

    /// Starts the reactor if this is its first turn.
    fn start(&self) {
        if self.lifecycle.is_idle() {
            // Startup counts as part of a turn, although nothing was waited for: the host hook must not be called.
            self.fetch();
            self.lifecycle.start(self);
            self.shared.end_turn();
        }
    }

    fn wait(&self, max_wait: Option<Duration>) -> std::io::Result<()> {
        if let Some(Err(message)) = self.before_wait.as_ref().map(guarded) {
            log::error!("the `before_wait` hook panicked: {message}");
        }
        let wait = if self.has_work() { Wait::Not } else { self.longest_wait(max_wait) };
        {
            let mut sources = self.sources.borrow_mut();
            self.driver.wait(&self.timers.time, wait, |token, ready| sources.wake(token, ready))?;
            if let Some(simulated) = self.driver.simulated() {
                // Like an operating system, which promises no order either.
                sources.shuffle(simulated.settled(), || simulated.random());
            }
        }
        self.fetch();
        Ok(())
    }

    /// Fetches calls and wake-ups that other threads have sent.
    pub(crate) fn fetch(&self) {
        self.shared.fetch((&mut self.incoming.borrow_mut(), &mut self.tasks.woken.borrow_mut()));
    }

    /// Returns whether the next turn has a task to poll.
    pub(crate) fn has_woken_tasks(&self) -> bool {
        if self.shared.is_pending() {
            self.fetch();
        }
        !self.tasks.woken.borrow().is_empty()
    }

    /// Returns whether the next turn has something to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.sources.borrow().any_ready()
            || self.shared.is_pending()
            || !self.incoming.borrow().is_empty()
            || !self.tasks.woken.borrow().is_empty()
            || self.lifecycle.has_work()
            || self.driver.has_more()
    }

    pub(crate) fn longest_wait(&self, max_wait: Option<Duration>) -> Wait {
        let limit = match max_wait {
            Some(Duration::ZERO) => return Wait::Not,
            Some(max_wait) => Some(self.timers.time.now().saturating_add(nanos(max_wait))),
            None => None,
        };
        let alarm = match self.timers.first() {
            // A call without a delay is not put off to make a batch, and does not put off other timers.
            Some(deadline) if self.timers.at_once.get() => {
                if deadline <= self.timers.time.now() {
                    return Wait::Not;
                }
                Some(deadline)
            }
            first => first.map(|deadline| deadline.max(self.driver.earliest_alarm())),
        };
        match (limit, alarm) {
            (None, None) => Wait::Forever,
            (Some(time), None) | (None, Some(time)) => Wait::Until(time),
            (Some(limit), Some(alarm)) => Wait::Until(limit.min(alarm)),
        }
    }

    fn run_sources(&self) {
        let batch = self.sources.borrow().batch();
        self.work_left.set(WORK_A_TURN);
        self.share.set((WORK_A_TURN / batch.max(1)).clamp(*SHARES.start(), *SHARES.end()));
        for _ in 0..batch {
            if self.work_left.get() == 0 {
                break;
            }
            let Some((token, handler, ready)) = self.sources.borrow_mut().claim() else { continue };
            self.meter.events.count();
            let call = handler.clone();
            self.recorder().began(CallbackKind::Source, token.number(), || handler.call_site());
            let called = self.guarded(|| handler.call_site(), || call.ready(ready));
            self.recorder().ended();
            match called {
                Some(Progress::Drained) => {}
                Some(Progress::More) => self.sources.borrow_mut().wake(token, ready),
                None => {
                    let source = self.sources.borrow_mut().remove(token);
                    self.discard(handler.call_site(), (source, handler));
                }
            }
        }
        if let Some(simulated) = self.driver.simulated() {
            simulated.settle(self.sources.borrow().batch());
        }
    }

    #[inline]
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.timers.recorder
    }

    /// Returns how much work a source may do now.
    pub(crate) fn share(&self) -> usize {
        self.share.get().min(self.work_left.get())
    }

    /// Counts work against the budget of this turn.
    pub(crate) fn spend(&self, work: usize) {
        self.work_left.set(self.work_left.get().saturating_sub(work));
    }

    fn run_incoming(&self) {
        let snapshot = self.incoming.borrow().len().min(CALLS_A_TURN);
        for _ in 0..snapshot {
            let Some(call) = self.next_incoming() else { break };
            self.meter.remote_calls.count();
            self.recorder().began(CallbackKind::RemoteCall, 0, || call.place.into());
            self.call(call.place, || (call.run)(&self.handle));
            self.recorder().ended();
        }
    }

    fn next_incoming(&self) -> Option<RemoteCall> {
        pop_front(&mut self.incoming.borrow_mut())
    }

    fn run_timers(&self, mark: u64) {
        if self.timers.first().is_none() {
            return;
        }
        let now = self.timers.time.now();
        let before = self.meter.timers.get();
        for _ in 0..CALLS_A_TURN {
            let Some(call) = self.timers.pop_due(now, mark) else { break };
            self.meter.timers.count();
            let number = self.recorder().timer_began(&call);
            self.call(call.place(), || call.run());
            self.recorder().timer_ended(number);
            if self.meter.timers.get() % CALLS_A_MERGE == 0 {
                merge_freed_memory();
            }
        }
        let ran = self.meter.timers.get() - before;
        if ran == 0 {
            return;
        }
        self.driver.ran_timers(ran);
        if self.timers.first().is_some_and(|deadline| deadline <= now) {
            // More timers were due than a turn runs.
            self.timers.at_once.set(true);
        }
    }

    /// Runs the user's code. A panic is logged with the place that the code came from, and returns `None`.
    pub(crate) fn call<R>(&self, call_site: impl Into<CallSite>, f: impl FnOnce() -> R) -> Option<R> {
        let call_site = call_site.into();
        self.guarded(|| call_site, f)
    }

    fn guarded<R>(&self, call_site: impl Fn() -> CallSite, f: impl FnOnce() -> R) -> Option<R> {
        self.busy.set(true);
        let started = self.meter.start();
        let result = guarded(f);
        self.meter.stop(started, &call_site);
        result.map_err(|message| self.log_panic(call_site(), &message)).ok()
    }

    #[cold]
    fn log_panic(&self, call_site: CallSite, message: &str) {
        self.recorder().panicked(message);
        log::error!("{call_site} panicked: {message}");
    }

    /// Drops a value of the user's: its destructor, too, may panic.
    pub(crate) fn discard<T>(&self, call_site: impl Into<CallSite>, value: T) {
        let mut value = Some(value);
        self.call_once(call_site.into(), &mut || drop(value.take()));
    }

    /// Does what `call` does, but is compiled once for all callers.
    #[inline(never)]
    fn call_once(&self, call_site: CallSite, f: &mut dyn FnMut()) {
        self.call(call_site, f);
    }

    /// Ends the run after its phases: refuses calls from threads, drops everything that is left, and joins the
    /// threads.
    fn end_run(&self) {
        self.refuse();
        self.clear();
        self.tasks.woken.take();
        self.shared.reopen();
        self.lifecycle.finish();
    }

    /// Begins no more jobs, refuses calls, and drops calls that have not run. Otherwise a job that waits for its
    /// call to run would wait forever.
    fn refuse(&self) {
        if let Some(threads) = self.threads.get() {
            threads.close();
        }
        self.shared.close(&mut self.incoming.borrow_mut());
        while let Some(call) = self.next_incoming() {
            self.discard(call.place, call.run);
        }
    }

    /// Drops all tasks, timers, sources and jobs, then joins the threads. Dropping may run code that sets up new
    /// ones, so this repeats until nothing is left.
    fn clear(&self) {
        for clearance in 0..=CLEARANCES {
            let leaks = clearance == CLEARANCES;
            let tasks = self.tasks.clear(self, leaks);
            let timers = self.clear_timers(leaks);
            let sources = self.clear_sources(leaks);
            let jobs = self.threads.get().is_some_and(|threads| threads.clear(self, leaks));
            if !(tasks || timers || sources || jobs) {
                break;
            }
            if leaks {
                log::error!(
                    "dropping the timers and sources left at the end keeps setting up new ones: the last of them \
                     are leaked"
                );
            }
        }
        if let Some(threads) = self.threads.get() {
            threads.join();
        }
    }

    /// Drops or leaks all timers. Returns whether there were any.
    fn clear_timers(&self, leaks: bool) -> bool {
        let timers = self.timers.timers.borrow_mut().take_all();
        let any = !timers.is_empty();
        if leaks {
            std::mem::forget(timers);
            return any;
        }
        for call in timers {
            self.recorder().timer_dropped(&call);
            self.discard(call.place(), call);
        }
        any
    }

    /// Drops or leaks all sources. Returns whether there were any.
    fn clear_sources(&self, leaks: bool) -> bool {
        let sources = self.sources.borrow_mut().take_all();
        let any = !sources.is_empty();
        if leaks {
            std::mem::forget(sources);
        } else {
            sources.for_each(|source| self.discard(source.handler.call_site(), source.handler));
        }
        any
    }

    /// Drops everything when the reactor is dropped: nothing runs any more.
    pub(crate) fn close(&self) {
        let clear = || {
            self.refuse();
            self.lifecycle.clear(self);
            self.clear();
        };
        // A host may end its turns by dropping the reactor. If it never had a turn, it was probably forgotten: log
        // errors as such.
        let has_started = self.lifecycle.has_started();
        self.lifecycle.give_up();
        if has_started { ending(clear) } else { clear() }
    }
}

/// Marks a turn as under way while it lives.
struct Turn<'a>(&'a Core);

impl Turn<'_> {
    fn enter(core: &Core) -> Result<Turn<'_>, RunError> {
        if core.timers.in_turn.replace(true) {
            return Err(RunError::AlreadyRunning);
        }
        #[cfg(unix)]
        if let Some(watcher) = core.watcher.get() {
            watcher.begin_turn();
        }
        Ok(Turn(core))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.shared.end_turn();
        self.0.timers.in_turn.set(false);
        #[cfg(unix)]
        if let Some(watcher) = self.0.watcher.get() {
            watcher.end_turn();
        }
    }
}

/// Makes the allocator merge recently freed blocks: a thousand now, instead of a million later.
///
/// GNU's allocator leaves freed small blocks as they are, and merges all of them when the program next asks for a
/// kilobyte or more. After a million timers, that holds the loop for a tenth of a second.
#[inline(never)]
fn merge_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4096)));
}
