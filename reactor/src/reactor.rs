//! The owner.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Failure, Outcome};

use crate::core::Core;
use crate::delayed_call::HostHook;
#[cfg(feature = "simulation")]
use crate::driver::Simulated;
use crate::driver::{Driver, Os};
use crate::time::Time;
#[cfg(unix)]
use crate::watcher::Watcher;
use crate::{Handle, Phase};

/// A loop that fires Deferreds: it runs calls when their time has come, calls handlers when their sources are ready,
/// and takes calls from other threads.
///
/// A reactor is a value. A program may have several, one a thread, and each can be run again after it stopped. The
/// value owns everything: dropping it, whether it has run or not, drops every callback, source and timer, although
/// they captured [`Handle`]s to it. It dereferences to its handle, which has the methods that callbacks use.
///
/// ```
/// use std::time::Duration;
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.clone(); // a Handle
/// reactor.call_later(Duration::from_millis(2), move || {
///     println!("two milliseconds later");
///     handle.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Ordering
///
/// A turn waits until something is ready or due; calls the handlers of the sources that are ready, each once; runs
/// the calls that came from other threads; runs the timers that are due; and runs the [tasks](Handle::spawn) that
/// were woken. What these add (a zero-delay call, a call from a thread, a readiness, a wake by a task) is for a later
/// turn, so nothing starves.
///
/// # Panics
///
/// A panic in a callback is logged with the place that scheduled it, and costs that one call or source; in a program
/// that is built with `panic = "abort"`, it ends the process.
///
/// # Threads
///
/// A reactor stays in the thread that made it; a [`Remote`](crate::Remote) reaches it from others.
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(twistor_reactor::Reactor::new().unwrap());
/// ```
///
/// # Dropping
///
/// The selector, the waker and the timer of the operating system (four descriptors on Linux) are the value's, and are
/// closed with it. Everything else of a run's is gone when [`run`](Reactor::run) returns.
///
/// # What the process notices
///
/// Nothing, until it is asked for. Neither making a reactor nor taking [turns](Reactor::turn) starts a thread, handles a
/// signal, prints, or sets anything global. Threads start with the first work for
/// [`defer_to_thread`](Handle::defer_to_thread), which looking up the name of a host is too, and end with the run.
/// Signals are taken by [`run`](Reactor::run), if the feature is on and the `Builder` does not say otherwise. What goes
/// wrong is told to the crate `log`, and shown by whatever logger the program has.
///
/// Its descriptors are closed in programs that are started. A child that merely forks shares them: it must neither use
/// the reactor nor drop it, for then the parent's would not hear of its sources any more.
pub struct Reactor {
    core: Rc<Core>,
}

impl Reactor {
    /// A reactor with the defaults of the [`Builder`].
    ///
    /// # Errors
    ///
    /// When the operating system gives no selector: when there are too many open files, mostly.
    pub fn new() -> io::Result<Reactor> {
        Reactor::builder().build()
    }

    /// A reactor to be set up.
    pub fn builder() -> Builder {
        Builder {
            threads: 10,
            thread_grace: Duration::from_secs(5),
            slow_callback: None,
            host_hook: None,
            #[cfg(unix)]
            watcher: false,
            #[cfg(all(unix, feature = "signals"))]
            signals: None,
        }
    }

    /// A reactor without an operating system: its clock jumps to the next deadline whenever nothing else is to be
    /// done, and whatever is left to chance in a run is drawn from the seed. The same program gives the same run for
    /// the same seed, and a day of it passes in milliseconds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::simulated(1);
    /// let (start, handle) = (reactor.now(), reactor.clone());
    /// reactor.call_later(Duration::from_secs(86_400), move || handle.stop());
    /// reactor.run()?;
    /// assert_eq!(reactor.now() - start, Duration::from_secs(86_400));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "simulation")]
    pub fn simulated(seed: u64) -> Reactor {
        Reactor::builder().build_with(Driver::Simulated(Simulated::new(seed)), Time::manual())
    }

    /// Runs until [`stop`](Handle::stop) is called, and then through the shutdown. Twisted's `run`.
    ///
    /// # Ordering
    ///
    /// A run ends in this order: the shutdown [phases](Phase) run; calls from other threads are refused, and those that
    /// have not run are dropped; all tasks, timers and sources are dropped; threads with work under way are joined, at
    /// most for [`Builder::thread_grace`]. Then `run` returns, and the reactor can be run again.
    ///
    /// Pending Deferreds fail, mostly with [`Abandoned`](twistor_deferred::Abandoned). Such a failure is logged at debug
    /// level if it is not handled ([`ending`](twistor_deferred::ending)).
    ///
    /// With the feature `signals`, Ctrl-C and SIGTERM stop a run in the program's main thread: see `Builder::signals`.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] from inside a callback of the same reactor; [`RunError::Wait`] when the operating
    /// system's selector fails, or when a simulation has come to rest: then the run is over without its shutdown
    /// triggers, which wait for the next, and nothing else is left of it.
    pub fn run(&self) -> Result<(), RunError> {
        #[cfg(all(unix, feature = "signals"))]
        self.core.signals.begin_run(&self.core);
        while self.core.turn(None)? {}
        Ok(())
    }

    /// Runs until the Deferred (or the `DeferredList`, or whatever else is an [`Outcome`]) has fired, then stops, and
    /// gives its result. Twisted's `task.react`.
    ///
    /// If the reactor is stopped before that, the Deferred is cancelled at the end of the shutdown, and its outcome is
    /// the result. If the Deferred has fired already, its result is given without a turn.
    ///
    /// # Errors
    ///
    /// The Deferred's failure; a [`RunError`], and then the Deferred is cancelled, too; [`Stopped`] if cancelling did not
    /// make the Deferred fire.
    #[track_caller]
    pub fn run_until<O: Outcome>(&self, outcome: O) -> Result<O::Value, Failure> {
        let deferred = outcome.into_deferred();
        let slot = Rc::new(Cell::new(None));
        // Set while this run is going on: another one, that this was called from inside of, is not to be stopped.
        let running = Rc::new(Cell::new(false));
        let canceller = deferred.canceller();
        let (result, ours, handle) = (slot.clone(), running.clone(), Handle::clone(self));
        let told = deferred.add_both(move |outcome| {
            result.set(Some(outcome));
            if ours.get() {
                handle.stop();
            }
        });
        drop(told.named("run_until"));
        if let Some(outcome) = slot.take() {
            return outcome;
        }
        // Before the sources and timers go, for then it would be `Abandoned`, which says nothing to a user.
        let at_the_end = canceller.clone();
        let trigger = self.on_shutdown(Phase::After, move || at_the_end.cancel());
        running.set(true);
        let ran = self.run();
        running.set(false);
        trigger.remove();
        canceller.cancel();
        match (slot.take(), ran) {
            (Some(outcome), Ok(())) => outcome,
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(Stopped.into()),
        }
    }

    /// One turn: waits until something is ready or due, but no longer than `max_wait` (`None` is for ever, zero not at
    /// all), and runs what is. A signal may end the wait early. For hosts that have a loop of their own, and for tests.
    /// Twisted's `iterate`.
    ///
    /// The first turn starts the reactor. After [`stop`](Handle::stop), turns lead through the shutdown; the last one
    /// returns false and leaves nothing behind, and the next would start anew.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use twistor_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// reactor.call_later(Duration::ZERO, move || handle.stop());
    /// while reactor.turn(Some(Duration::from_millis(2)))? {
    ///     // draw a frame
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Reactor::run). [`RunError::AlreadyRunning`], where a callback has the host's loop go round inside of
    /// it, as a dialog does: nothing was read, so a host that watches the descriptor level-triggered is told of it again
    /// and again, and should not watch it until the turn that is under way has returned.
    pub fn turn(&self, max_wait: Option<Duration>) -> Result<bool, RunError> {
        self.core.turn(max_wait)
    }

    /// Turns that do not wait, one after another, until there is nothing to do or `budget` is used up: for hosts that
    /// give the reactor a share of their time, as games do. At least one turn, so with a budget of zero it is one.
    ///
    /// The time is looked at between turns. A turn is not broken off, but it is bounded: each source has its share,
    /// and of a great many timers some wait for the next.
    ///
    /// On a simulated reactor, whose clock stands still meanwhile, a turn takes a microsecond of the budget.
    ///
    /// Returns false when the reactor has stopped, as [`turn`](Reactor::turn) does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use twistor_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// reactor.spawn(async { println!("now") });
    /// while reactor.next_deadline().is_some() {
    ///     reactor.turns(Duration::from_millis(2))?;
    ///     // draw a frame
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Reactor::run).
    pub fn turns(&self, budget: Duration) -> Result<bool, RunError> {
        self.core.turns(budget)
    }
}

impl Deref for Reactor {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.core.handle
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.core.close();
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Reactor {
    /// As `as_fd`.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsFd::as_fd(self).as_raw_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Reactor {
    /// The selector: readable when a source is ready or another thread has called, so that a host can watch it in its
    /// own loop, level- or edge-triggered, also in that of another reactor. It tells nothing of timers, nor of what the
    /// last turn has left over: for these there is [`next_deadline`](Handle::next_deadline).
    ///
    /// It stays the reactor's: a host watches it, and neither reads nor closes it.
    ///
    /// # Panics
    ///
    /// On a simulated reactor, which has no descriptor.
    #[allow(clippy::expect_used)]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.core.driver.registry().expect("a simulated reactor has no descriptor").as_fd()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("running", &self.is_running())
            .field("timers", &self.core.timers.timers.borrow().len())
            .field("sources", &self.core.sources.borrow().len())
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Reactor`].
#[must_use]
pub struct Builder {
    threads: usize,
    thread_grace: Duration,
    slow_callback: Option<Duration>,
    host_hook: Option<HostHook>,
    #[cfg(unix)]
    watcher: bool,
    #[cfg(all(unix, feature = "signals"))]
    pub(crate) signals: Option<bool>,
}

impl Builder {
    /// The most threads that [`defer_to_thread`](Handle::defer_to_thread) uses at once; 10 by default, at least 1.
    pub fn threads(mut self, most: usize) -> Builder {
        self.threads = most;
        self
    }

    /// Sets how long the end of a run, or dropping the reactor, waits for work that is still running on threads of
    /// [`defer_to_thread`](Handle::defer_to_thread). Default: 5 seconds. `Duration::MAX` waits until all work is done.
    ///
    /// Work that takes longer is left behind, with a warning that names the call that started it.
    pub fn thread_grace(mut self, grace: Duration) -> Builder {
        self.thread_grace = grace;
        self
    }

    /// Warns through `log` of every callback that holds the loop longer than this, with where it came from,
    /// and has [`Stats`](crate::Stats) tell the longest.
    pub fn slow_callback(mut self, limit: Duration) -> Builder {
        self.slow_callback = Some(limit);
        self
    }

    /// Has `hook` called whenever the reactor wants a turn sooner than its host was told: when the earliest deadline
    /// moves forward, and when work comes about (a source or a task is woken, another thread calls, the run is
    /// stopped). It is called in the thread in which that happens, and never from inside a turn, after which a host
    /// asks for the [`next_deadline`](Handle::next_deadline) anyway.
    ///
    /// A host that waits for the [descriptor](Reactor#impl-AsFd-for-Reactor) hears of sources and of other threads from
    /// that, and needs the hook only if code of its own uses the reactor while it waits. For a host that cannot,
    /// a [`watcher`](Builder::watcher) calls the hook for sources, too. What the hook does is to end
    /// the host's waiting; it must not take a turn itself.
    ///
    /// It may be called while the host is not waiting yet, between the turn and the wait that follows. So it has to
    /// leave something behind that the wait finds (a byte in a pipe, an event in the host's queue, a flag beside a
    /// condition variable), as what hosts have for waking them does. It may be called several times before the
    /// next turn. A panic in it goes to whoever used the reactor.
    ///
    /// A host that sleeps on its queue of events, as a GUI does; the reactor's timers, tasks and calls from threads are
    /// all that wakes this one:
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::time::{Duration, Instant};
    /// use twistor_reactor::Reactor;
    ///
    /// let (queue, events) = channel();
    /// let reactor = Reactor::builder().host_hook(move || _ = queue.send("a turn, please")).build()?;
    /// let remote = reactor.remote();
    /// let worker = std::thread::spawn(move || remote.call_from_thread(|reactor| reactor.stop()));
    /// while reactor.turn(Some(Duration::ZERO))? {
    ///     let sleep = reactor.next_deadline().map(|time| time.saturating_duration_since(Instant::now()));
    ///     let event = events.recv_timeout(sleep.unwrap_or(Duration::from_secs(3600)));
    ///     println!("{event:?}");
    /// }
    /// # worker.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn host_hook(mut self, hook: impl Fn() + Send + Sync + 'static) -> Builder {
        self.host_hook = Some(std::sync::Arc::new(hook));
        self
    }

    /// Sets whether a thread watches the [descriptor](Reactor#impl-AsFd-for-Reactor) between turns, and calls the
    /// [hook](Builder::host_hook) when a source becomes ready. For hosts that cannot watch a descriptor, as most GUI
    /// toolkits: they need neither poll it nor take turns in vain. Default: false. Unix only.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    /// use twistor_reactor::Reactor;
    ///
    /// let (queue, events) = channel();
    /// let reactor = Reactor::builder().host_hook(move || _ = queue.send(())).watcher(true).build()?;
    /// let (here, mut there) = UnixStream::pair()?;
    /// let handle = reactor.handle();
    /// drop(reactor.readable(here).add_callback(move |_| handle.stop()));
    /// reactor.turn(Some(Duration::ZERO))?;
    /// let peer = std::thread::spawn(move || there.write_all(b"hello"));
    /// events.recv()?; // the host sleeps until the data has arrived
    /// while reactor.turn(Some(Duration::ZERO))? {}
    /// # peer.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The thread pauses during a turn, and looks again when it has ended. It calls the hook at most once between two
    /// turns. It ends soon after the reactor is dropped.
    #[cfg(unix)]
    pub fn watcher(mut self, watch: bool) -> Builder {
        self.watcher = watch;
        self
    }

    /// The reactor.
    ///
    /// # Errors
    ///
    /// When the operating system gives no selector: when there are too many open files, mostly. `InvalidInput` for a
    /// [`watcher`](Builder::watcher) without a hook.
    pub fn build(self) -> io::Result<Reactor> {
        #[cfg(unix)]
        let hook = self.host_hook.clone().filter(|_| self.watcher);
        #[cfg(unix)]
        if self.watcher && hook.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a watcher needs a host hook to call"));
        }
        let reactor = self.build_with(Driver::Os(Os::new()?), Time::system());
        #[cfg(unix)]
        if let Some(hook) = hook {
            let selector = std::os::fd::AsFd::as_fd(reactor.core.driver.registry()?);
            let _ = reactor.core.watcher.set(Watcher::start(selector, hook)?);
        }
        Ok(reactor)
    }

    fn build_with(self, driver: Driver, time: Time) -> Reactor {
        let core = Core::new(driver, time, (self.threads, self.thread_grace), self.slow_callback);
        if let Some(hook) = self.host_hook {
            let _ = core.shared.hook.set(hook.clone());
            let _ = core.timers.hook.set(hook);
        }
        #[cfg(all(unix, feature = "signals"))]
        core.signals.take.set(self.signals);
        Reactor { core }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("threads", &self.threads)
            .field("thread_grace", &self.thread_grace)
            .field("slow_callback", &self.slow_callback)
            .finish_non_exhaustive()
    }
}

/// Why a reactor could not run, or not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The reactor is in the middle of a turn: this was called from inside one of its callbacks.
    AlreadyRunning,
    /// Waiting for events failed.
    Wait(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::AlreadyRunning => f.write_str("the reactor is already running"),
            RunError::Wait(error) => write!(f, "the reactor cannot wait for events: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::AlreadyRunning => None,
            RunError::Wait(error) => Some(error),
        }
    }
}

/// There was no run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRunning;

impl fmt::Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor is not running, or is stopping already")
    }
}

impl std::error::Error for NotRunning {}

/// The reactor was stopped before the Deferred that it ran for had fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor was stopped before the Deferred had fired")
    }
}

impl std::error::Error for Stopped {}
