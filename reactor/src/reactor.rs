//! The reactor itself, which owns everything in it, its builder, and its errors.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Failure, Outcome};

use crate::core::Core;
use crate::delayed_call::HostHook;
#[cfg(feature = "simulation")]
use crate::driver::Simulated;
use crate::driver::{Driver, Os};
use crate::stats::{Slow, SlowLimits};
use crate::threads::ThreadLimits;
use crate::time::Time;
#[cfg(unix)]
use crate::watcher::Watcher;
use crate::{Handle, Phase, RunError, Stopped};

/// An event loop that fires Deferreds: it runs calls at their deadlines, calls handlers when their sources are
/// ready, and accepts calls from other threads.
///
/// A reactor is a value. A program may have several, one per thread, and each can run again after it has stopped.
/// The value owns everything in it: dropping it, whether it has run or not, drops every callback, source and timer,
/// even if they captured [`Handle`]s to it. It dereferences to its handle, which has the methods that callbacks
/// use.
///
/// ```
/// use std::time::Duration;
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// reactor.call_later(Duration::from_millis(2), move || {
///     println!("two milliseconds later");
///     handle.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
///
/// A turn has these steps: wait until a source is ready or a timer is due; call the handler of each ready source,
/// once; run the calls from other threads; run the due timers; run the woken [tasks](Handle::spawn). Anything that
/// these steps add (a zero-delay call, a call from a thread, readiness, a wake from a task) waits for a later turn,
/// so nothing starves.
///
/// # Panics
///
/// A panic in a callback is logged with the place that scheduled it, and ends that one call or source. In a program
/// built with `panic = "abort"`, it ends the process.
///
/// # Threads
///
/// A reactor stays in the thread that created it; a [`Remote`](crate::Remote) reaches it from others.
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(twistor::reactor::Reactor::new().unwrap());
/// ```
///
/// # Dropping
///
/// The value owns the operating system's selector, waker and timer (four descriptors on Linux), and closes them
/// when it is dropped. Everything else that belongs to a run is gone when [`run`](Reactor::run) returns.
///
/// # Effects on the process
///
/// None until a feature that needs one is used. Neither creating a reactor nor taking [turns](Reactor::turn) starts
/// a thread, handles a signal, prints, or sets anything global. Threads start with the first work for
/// [`defer_to_thread`](Handle::defer_to_thread) or the first name lookup, and end with the run.
/// [`run`](Reactor::run) handles signals if the feature is on and the `Builder` does not say otherwise. Problems
/// are reported through the crate `log`, and appear where the program's logger puts them.
///
/// The descriptors are closed in programs that this process starts. A child that only forks shares them: it must
/// neither use the reactor nor drop it, because then the parent's reactor would no longer be notified of its
/// sources.
pub struct Reactor {
    core: Rc<Core>,
    /// Dropped after the reactor has closed, so that it has seen the end.
    #[cfg(feature = "trace")]
    recorded: Option<crate::trace::RecordedByEnvironment>,
}

impl Reactor {
    /// Creates a reactor with the defaults of the [`Builder`].
    ///
    /// # Errors
    ///
    /// If the operating system refuses a selector, usually because too many files are open.
    pub fn new() -> io::Result<Reactor> {
        Reactor::builder().build()
    }

    /// Returns a builder, to set options before the reactor is created.
    pub fn builder() -> Builder {
        Builder {
            threads: 10,
            thread_grace: Duration::from_secs(5),
            slow: SlowLimits::default(),
            before_wait: None,
            host_hook: None,
            #[cfg(unix)]
            watcher: false,
            #[cfg(all(unix, feature = "signals"))]
            signals: None,
        }
    }

    /// Creates a reactor without an operating system. Its clock jumps to the next deadline when nothing else is
    /// left to do, and everything left to chance in a run is drawn from the seed.
    ///
    /// The same program has the same run for the same seed. A simulated day passes in milliseconds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::simulated(1);
    /// let (start, handle) = (reactor.now(), reactor.handle());
    /// reactor.call_later(Duration::from_secs(86_400), move || handle.stop());
    /// reactor.run()?;
    /// assert_eq!(reactor.now() - start, Duration::from_secs(86_400));
    /// # Ok::<(), Failure>(())
    /// ```
    #[cfg(feature = "simulation")]
    pub fn simulated(seed: u64) -> Reactor {
        Reactor::builder().build_with(Driver::Simulated(Simulated::new(seed)), Time::manual())
    }

    /// Creates the reactor of one host in the simulation of `world`, with its clock and its random numbers. Code that
    /// `world` runs takes turns for it. `None` if `world` is not simulated. For the crates of this library.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn of_simulated_host(
        world: &Handle,
        address: std::net::IpAddr,
        hook: impl Fn() + Send + Sync + 'static,
    ) -> Option<Reactor> {
        let core = world.core()?;
        let driver = core.driver.simulated()?.host_of(Rc::downgrade(&core), address);
        let builder = Reactor::builder().host_hook(hook);
        let reactor = builder.build_with(Driver::Simulated(driver), core.timers.time.clone());
        reactor.core.recorder().set_host(address, Rc::downgrade(&core.timers));
        Some(reactor)
    }

    /// Runs until [`stop`](Handle::stop) is called and the shutdown has completed. Twisted: `run`.
    ///
    /// # Ordering
    ///
    /// A run ends in this order:
    ///
    /// 1. The shutdown [phases](Phase) run.
    /// 2. Calls from other threads are refused, and calls that have not run are dropped.
    /// 3. All tasks, timers and sources are dropped.
    /// 4. Threads with work in progress are joined, at most for [`Builder::thread_grace`].
    ///
    /// Then `run` returns, and the reactor can run again.
    ///
    /// Pending Deferreds fail, mostly with [`Abandoned`](twistor_deferred::Abandoned). If such a failure is not
    /// handled, it is logged at debug level ([`ending`](twistor_deferred::ending)).
    ///
    /// With the feature `signals`, Ctrl-C and SIGTERM stop a run in the program's main thread: see
    /// `Builder::signals`.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] from inside a callback of the same reactor. [`RunError::Wait`] if the operating
    /// system's selector fails, or if nothing more can happen in a simulation. The run is then over: its shutdown
    /// triggers did not run and stay for the next run, and everything else was dropped.
    pub fn run(&self) -> Result<(), RunError> {
        #[cfg(all(unix, feature = "signals"))]
        self.core.signals.begin_run(&self.core);
        while self.core.turn(None)? {}
        Ok(())
    }

    /// Runs until the Deferred, `DeferredList` or other [`Outcome`] has fired, then stops and returns its result.
    /// Twisted: `task.react`.
    ///
    /// This is a complete run. When it returns, all else in the reactor has ended too, as after [`run`](Reactor::run):
    /// listeners, connections, timers and tasks. To do several steps in one run, chain them, or spawn one task that does
    /// all of them.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let sum = reactor.run_until(reactor.spawn(async move {
    ///     let first = handle.defer_to_thread(|| Ok(20)).await?;
    ///     let second = handle.defer_to_thread(|| Ok(22)).await?;
    ///     Ok(first + second)
    /// }))?;
    /// assert_eq!(sum, 42);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// If the reactor is stopped first, the Deferred is cancelled at the end of the shutdown, and this returns its
    /// result. If the Deferred has already fired, this returns its result without a turn.
    ///
    /// # Errors
    ///
    /// The Deferred's failure; a [`RunError`], in which case the Deferred is cancelled; [`Stopped`] if the Deferred
    /// did not fire when it was cancelled.
    #[track_caller]
    pub fn run_until<O: Outcome>(&self, outcome: O) -> Result<O::Value, Failure> {
        let deferred = outcome.into_deferred();
        let slot = Rc::new(Cell::new(None));
        // Set only during this run: a callback must not stop an outer run that this call was made from.
        let running = Rc::new(Cell::new(false));
        let canceller = deferred.canceller();
        // Whether the end of the run cancels the Deferred.
        let ending = Rc::new(Cell::new(false));
        let (result, ours, handle, at_end) =
            (slot.clone(), running.clone(), Handle::clone(self), ending.clone());
        let told = deferred.add_both(move |outcome| {
            result.set(Some(outcome.map_err(|failure: Failure| {
                match failure.is::<Cancelled>() && at_end.get() {
                    true => failure.context("the reactor stopped first"),
                    false => failure,
                }
            })));
            if ours.get() {
                handle.stop();
            }
        });
        drop(told.named("run_until"));
        if let Some(outcome) = slot.take() {
            return outcome;
        }
        // Before sources and timers are dropped: that would fail the Deferred with `Abandoned`, which does not tell
        // a user why.
        let (at_the_end, cancels) = (canceller.clone(), ending.clone());
        let trigger = self.on_shutdown(Phase::After, move || {
            cancels.set(true);
            at_the_end.cancel();
        });
        running.set(true);
        let ran = self.run();
        running.set(false);
        trigger.remove();
        ending.set(true);
        canceller.cancel();
        match (slot.take(), ran) {
            (Some(outcome), Ok(())) => outcome,
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(Stopped.into()),
        }
    }

    /// Takes one turn: waits until a source is ready or a timer is due, at most for `max_wait`, and runs
    /// everything that is ready. Twisted: `iterate`.
    ///
    /// `None` waits without a limit, and zero does not wait. A signal may end the wait early. For hosts with another
    /// loop, and for tests.
    ///
    /// The first turn starts the reactor. After [`stop`](Handle::stop), further turns carry out the shutdown. The
    /// last one returns false and leaves nothing of the run; the next turn would start a new one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// reactor.call_later(Duration::ZERO, move || handle.stop());
    /// while reactor.turn(Some(Duration::from_millis(2)))? {
    ///     // draw a frame
    /// }
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Reactor::run).
    ///
    /// [`RunError::AlreadyRunning`] also if a callback runs the host's loop again, as a modal dialog does. Then
    /// nothing was read, and a host that watches the descriptor level-triggered is notified again and again. It
    /// should not watch the descriptor until the turn that is under way has returned.
    pub fn turn(&self, max_wait: Option<Duration>) -> Result<bool, RunError> {
        self.core.turn(max_wait)
    }

    /// Takes turns that do not wait, until there is nothing left to do or `budget` is used up. For hosts, such as
    /// games, that spend a share of their time on the reactor. Takes at least one turn, even with a budget of zero.
    ///
    /// The time is checked between turns. A turn is not interrupted, but its work is limited: each source has a
    /// bounded share, and when very many timers are due, some wait for the next turn.
    ///
    /// On a simulated reactor, whose clock does not advance during turns, each turn counts as one microsecond of
    /// the budget.
    ///
    /// Returns false when the reactor has stopped, as [`turn`](Reactor::turn) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.spawn(async { println!("now") }).detach();
    /// while reactor.next_deadline().is_some() {
    ///     reactor.turns(Duration::from_millis(2))?;
    ///     // draw a frame
    /// }
    /// # Ok::<(), Failure>(())
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
    /// Returns the selector's descriptor, as `as_fd` does.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsFd::as_fd(self).as_raw_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Reactor {
    /// Returns the selector's descriptor, which is readable when a source is ready or another thread has called. A
    /// host can watch it in its own loop, level- or edge-triggered, even in the loop of another reactor.
    ///
    /// The descriptor does not report timers, or work that the last turn has left: use
    /// [`next_deadline`](Handle::next_deadline) for these. The reactor owns it: a host watches it, and neither
    /// reads nor closes it.
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

/// Options for a new [`Reactor`].
#[must_use]
pub struct Builder {
    threads: usize,
    thread_grace: Duration,
    slow: SlowLimits,
    before_wait: Option<Box<dyn Fn()>>,
    host_hook: Option<HostHook>,
    #[cfg(unix)]
    watcher: bool,
    #[cfg(all(unix, feature = "signals"))]
    signals: Option<bool>,
}

impl Builder {
    /// Sets the maximum number of threads for [`defer_to_thread`](Handle::defer_to_thread). Default: 10. Zero
    /// counts as one.
    pub fn threads(mut self, most: usize) -> Builder {
        self.threads = most;
        self
    }

    /// Sets how long the end of a run, or dropping the reactor, waits for work that still runs on threads of
    /// [`defer_to_thread`](Handle::defer_to_thread). Default: 5 seconds. `Duration::MAX` waits until all work is
    /// done.
    ///
    /// Work that takes longer is left behind, with a warning that names the call that started it.
    pub fn thread_grace(mut self, grace: Duration) -> Builder {
        self.thread_grace = grace;
        self
    }

    /// Logs a warning for every callback that holds the loop for longer than `limit`. The warning names the code
    /// that added the callback, and [`Stats`](crate::Stats) reports the longest one. Default: no limit, and
    /// callbacks are not timed.
    pub fn slow_callback(mut self, limit: Duration) -> Builder {
        self.slow.callback = Some(limit);
        self
    }

    /// Logs a warning for every turn that takes longer than `limit`, without its wait. Default: no limit, and turns
    /// are not timed.
    ///
    /// A turn with very many callbacks can be slow even if each of them is fast.
    pub fn slow_turn(mut self, limit: Duration) -> Builder {
        self.slow.turn = Some(limit);
        self
    }

    /// Sets a callback that receives each slow callback and each slow turn instead of the log, so that a host can
    /// count them or show them.
    ///
    /// It has no effect without a limit: [`slow_callback`](Builder::slow_callback) or
    /// [`slow_turn`](Builder::slow_turn). It is called inside the turn, after the slow callback has returned. Its own
    /// time does not count. A panic in it is logged.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    /// use twistor::reactor::Slow;
    ///
    /// let reactor = Reactor::builder()
    ///     .slow_callback(Duration::from_millis(20))
    ///     .on_slow(|slow| match slow {
    ///         Slow::Callback { took, .. } => println!("missed a frame: {took:?}"),
    ///         other => println!("{other}"),
    ///     })
    ///     .build()?;
    /// reactor.run_until(defer_later(&reactor, Duration::from_millis(1), || println!("a frame")))?;
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn on_slow(mut self, report: impl Fn(&Slow) + 'static) -> Builder {
        self.slow.report = Some(Box::new(report));
        self
    }

    /// Sets a hook that is called in each turn before the reactor waits for events, even if the wait is zero.
    ///
    /// For work that is done once for everything that a turn has produced, such as flushing a batch or notifying a
    /// watchdog. Work that the hook adds, such as a call without a delay, is done in the same turn. A panic in the
    /// hook is logged.
    pub fn before_wait(mut self, hook: impl Fn() + 'static) -> Builder {
        self.before_wait = Some(Box::new(hook));
        self
    }

    /// Sets a hook that is called when the reactor needs a turn sooner than its host expects: when the earliest
    /// deadline moves forward, or when work arrives (a source or task is woken, another thread calls, the run is
    /// stopped).
    ///
    /// The hook ends the host's wait; it must not take a turn itself. It runs in the thread that caused it, and
    /// never inside a turn: after a turn the host asks for [`next_deadline`](Handle::next_deadline) anyway.
    ///
    /// A host that watches the [descriptor](Reactor#impl-AsFd-for-Reactor) learns of sources and other threads from
    /// it, and needs the hook only if its own code uses the reactor while the host waits. For a host that cannot
    /// watch it, a [`watcher`](Builder::watcher) calls the hook for sources, too.
    ///
    /// The hook may be called before the host waits, between a turn and the next wait. So it has to leave something
    /// that the wait then finds, such as a byte in a pipe, an event in the host's queue, or a flag with a condition
    /// variable. It may be called several times before the next turn. A panic in the hook propagates to the code
    /// that used the reactor.
    ///
    /// This host sleeps on its event queue, as a GUI does, and is woken for timers, tasks and calls from threads:
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::time::{Duration, Instant};
    /// use twistor::prelude::*;
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
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn host_hook(mut self, hook: impl Fn() + Send + Sync + 'static) -> Builder {
        self.host_hook = Some(std::sync::Arc::new(hook));
        self
    }

    /// Sets whether a thread watches the [descriptor](Reactor#impl-AsFd-for-Reactor) between turns, and calls the
    /// [hook](Builder::host_hook) when a source becomes ready. Default: false. Unix only.
    ///
    /// For hosts that cannot watch a descriptor, such as most GUI toolkits: they then need not poll it, or take
    /// turns that find nothing.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let (queue, events) = channel();
    /// let reactor = Reactor::builder().host_hook(move || _ = queue.send(())).watcher(true).build()?;
    /// let (here, mut there) = UnixStream::pair()?;
    /// let handle = reactor.handle();
    /// reactor.readable(here).add_callback(move |_| handle.stop()).detach();
    /// reactor.turn(Some(Duration::ZERO))?;
    /// let peer = std::thread::spawn(move || there.write_all(b"hello"));
    /// events.recv()?; // the host sleeps until the data has arrived
    /// while reactor.turn(Some(Duration::ZERO))? {}
    /// # peer.join().unwrap()?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The thread pauses during a turn, and checks the descriptor again after it. It calls the hook at most once
    /// between two turns. It ends soon after the reactor is dropped.
    #[cfg(unix)]
    pub fn watcher(mut self, watch: bool) -> Builder {
        self.watcher = watch;
        self
    }

    /// Creates the reactor.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a selector, usually because too many files are open. `InvalidInput` for a
    /// [`watcher`](Builder::watcher) without a hook.
    pub fn build(self) -> io::Result<Reactor> {
        #[cfg(unix)]
        let hook = self.host_hook.clone().filter(|_| self.watcher);
        #[cfg(unix)]
        if self.watcher && hook.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a watcher needs a host hook: set one with `host_hook`",
            ));
        }
        #[cfg_attr(not(feature = "trace"), expect(unused_mut, reason = "only a recording is added"))]
        let mut reactor = self.build_with(Driver::Os(Os::new()?), Time::system());
        #[cfg(feature = "trace")]
        if let Some(folder) = crate::trace::RecordedByEnvironment::folder() {
            let recording = reactor.record();
            reactor.recorded = Some(crate::trace::RecordedByEnvironment::new(recording, folder));
        }
        #[cfg(unix)]
        if let Some(hook) = hook {
            let selector = std::os::fd::AsFd::as_fd(reactor.core.driver.registry()?);
            let _ = reactor.core.watcher.set(Box::new(Watcher::start(selector, hook)?));
        }
        Ok(reactor)
    }

    fn build_with(self, driver: Driver, time: Time) -> Reactor {
        let limits = ThreadLimits { most: self.threads, grace: self.thread_grace };
        let core = Core::new(driver, time, limits, self.slow, self.before_wait);
        if let Some(hook) = self.host_hook {
            let _ = core.shared.hook.set(hook.clone());
            let _ = core.timers.hook.set(hook);
        }
        #[cfg(all(unix, feature = "signals"))]
        core.signals.take.set(self.signals);
        Reactor {
            core,
            #[cfg(feature = "trace")]
            recorded: None,
        }
    }
}

#[cfg(all(unix, feature = "signals"))]
impl Builder {
    /// Sets whether Ctrl-C and SIGTERM stop the run. Default: only if the reactor runs in the program's main
    /// thread. Twisted: `installSignalHandlers`.
    ///
    /// The first of either signal stops the run gracefully, as [`stop`](Handle::stop) does. After that, another
    /// Ctrl-C ends the process immediately, even if a callback never returns or a shutdown trigger never fires.
    /// Another SIGTERM does not: process managers may send SIGTERM twice, to the process and to its group, and use
    /// SIGKILL if the process takes too long. To end the process on a second SIGTERM, add an
    /// [`on_signal`](Handle::on_signal) callback.
    ///
    /// [`run`](crate::Reactor::run) handles the two signals only until it returns. Then they have their previous
    /// effect: they end the process, unless the program has its own handler. [Turns](crate::Reactor::turn) do
    /// not handle signals: they stay with the host.
    ///
    /// Signals belong to the process, so by default only the main thread's reactor handles them. If several
    /// reactors do, all of them stop.
    ///
    /// A signal that was ignored when the process started stays ignored, so Ctrl-C does not stop a program that a
    /// script runs in the background. Only Linux reports that a signal is ignored. A program with its own handlers
    /// for these signals should pass `false`; otherwise its handlers and the reactor's are both called.
    pub fn signals(mut self, take: bool) -> Builder {
        self.signals = Some(take);
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("threads", &self.threads)
            .field("thread_grace", &self.thread_grace)
            .field("slow_callback", &self.slow.callback)
            .field("slow_turn", &self.slow.turn)
            .finish_non_exhaustive()
    }
}
