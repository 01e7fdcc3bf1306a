//! The handle through which everything that runs in a reactor reaches it.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime};

use mio::Interest;
use mio::event::Source;
use twistor_deferred::{Deferred, Failure, Outcome, fail};

use crate::core::Core;
use crate::lifecycle::{Event, StopRequest};
use crate::ready::{EventHandler, Ready};
use crate::sources::SourceToken;
use crate::threads::JobKind;
use crate::{
    DelayedCall, NotRunning, Phase, PhaseTrigger, ReactorGone, Registration, Remote, ScheduledCall, Stats,
};

/// A cheap, cloneable reference to a reactor: schedules calls, watches sources, runs work on threads, stops the run.
///
/// Callbacks capture clones of it. A handle owns nothing, so a callback that captures one keeps neither the reactor
/// nor itself alive. A [`Reactor`](crate::Reactor) dereferences to its handle: a function that takes a `&Handle`
/// accepts a `&Reactor`.
///
/// Only the owner of the [`Reactor`](crate::Reactor) can run it. Code that the reactor runs must not wait in
/// `run_until`: it adds a callback to its Deferred, or returns the Deferred from its callback.
///
/// After the reactor is dropped, calls are not scheduled (the callback and its captures are dropped), and methods
/// that return a result fail with [`ReactorGone`].
#[derive(Clone)]
pub struct Handle {
    core: Weak<Core>,
}

impl Handle {
    pub(crate) fn new(core: Weak<Core>) -> Handle {
        Handle { core }
    }

    /// Returns another handle to the same reactor, for a callback to capture.
    ///
    /// Does what `clone` does; on a [`Reactor`](crate::Reactor), the name shows that only the handle is cloned.
    pub fn handle(&self) -> Handle {
        self.clone()
    }

    pub(crate) fn core(&self) -> Option<Rc<Core>> {
        self.core.upgrade()
    }

    /// Returns the current time of the reactor's clock: the monotonic clock, or the simulated clock of a simulated
    /// reactor. Twisted: `seconds`.
    #[allow(clippy::disallowed_methods)] // Only after the reactor is gone, when nothing runs in it any more.
    pub fn now(&self) -> Instant {
        match self.core() {
            Some(core) => core.timers.time.now_instant(),
            None => Instant::now(),
        }
    }

    /// Returns the time of day. A simulated reactor has a separate clock, which starts in 1970 and advances with
    /// [`now`](Handle::now). After the reactor is gone, this is the system's time.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::simulated(1);
    /// reactor.run_until(defer_later(&reactor, Duration::from_secs(60), || ()))?;
    /// assert_eq!(reactor.system_time().duration_since(UNIX_EPOCH)?.as_secs(), 60);
    /// # Ok::<(), Failure>(())
    /// ```
    #[allow(clippy::disallowed_methods)] // As for `now`.
    pub fn system_time(&self) -> SystemTime {
        match self.core() {
            Some(core) => core.timers.time.system_time(),
            None => SystemTime::now(),
        }
    }

    /// Schedules `call` to run after `delay`. Any duration is accepted. Twisted: `callLater`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// reactor.call_later(Duration::from_millis(1), move || handle.stop());
    /// reactor.run()?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// Calls run by deadline; calls with the same deadline run in the order in which they were scheduled. A call
    /// never runs before its deadline. A call scheduled during a turn runs in a later turn, whatever its delay.
    ///
    /// # Panics
    ///
    /// A panic in `call` is logged and affects nothing else.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> DelayedCall {
        self.schedule_call(delay, ScheduledCall::new(call))
    }

    pub(crate) fn schedule_call(&self, delay: Duration, call: ScheduledCall) -> DelayedCall {
        match self.core() {
            Some(core) => core.timers.call_later(delay, call),
            None => DelayedCall::dead(),
        }
    }

    /// Returns the time at which the reactor next needs a turn: now if work is pending, otherwise the earliest
    /// deadline; `None` if it only waits for its sources.
    ///
    /// A host that runs the reactor in its own loop sleeps until this time at the latest. A host that counts in
    /// milliseconds rounds up: a turn that comes too early finds nothing to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let core = self.core()?;
        if core.has_work() {
            return Some(core.timers.time.now_instant());
        }
        core.timers.first().map(|deadline| core.timers.time.instant(deadline))
    }

    /// Stops the reactor at the end of this turn: the shutdown triggers run, and then `run` returns. Twisted: `stop`.
    ///
    /// Does nothing if the reactor is already stopping. Logs a warning that names the caller if the reactor is not
    /// running: such a stop is lost, and a later run is not affected. Use [`try_stop`](Handle::try_stop) where that
    /// is expected.
    #[track_caller]
    pub fn stop(&self) {
        if self.request_stop() == StopRequest::NoRun {
            log::warn!(
                "stop was called at {} while the reactor was not running: it has no effect on a later run",
                Location::caller()
            );
        }
    }

    /// Stops the reactor, as [`stop`](Handle::stop) does, and reports whether a run was there to stop.
    ///
    /// # Errors
    ///
    /// [`NotRunning`] if the reactor is not running or is already stopping.
    pub fn try_stop(&self) -> Result<(), NotRunning> {
        match self.request_stop() {
            StopRequest::Accepted => Ok(()),
            StopRequest::Stopping | StopRequest::NoRun => Err(NotRunning),
        }
    }

    fn request_stop(&self) -> StopRequest {
        // After the reactor is gone, there is nothing left to stop.
        let Some(core) = self.core() else { return StopRequest::Stopping };
        let request = core.lifecycle.request_stop();
        if request == StopRequest::Accepted {
            core.timers.tell_host_now();
        }
        request
    }

    pub(crate) fn tell_host_now(&self) {
        if let Some(core) = self.core() {
            core.timers.tell_host_now();
        }
    }

    /// Returns whether the reactor has started and has not begun to stop.
    pub fn is_running(&self) -> bool {
        self.core().is_some_and(|core| core.lifecycle.is_running())
    }

    /// Returns whether a turn is under way: whether the caller runs inside a callback of the reactor.
    ///
    /// A host whose code may run both inside and outside callbacks asks this before it takes a turn or drops the
    /// reactor.
    pub fn is_in_turn(&self) -> bool {
        self.core().is_some_and(|core| core.timers.in_turn.get())
    }

    /// Calls `f` when the reactor runs. If it already runs, or waits in a shutdown, `f` is called before this
    /// returns. Twisted: `callWhenRunning`.
    #[track_caller]
    pub fn call_when_running(&self, f: impl FnOnce() + 'static) {
        if self.core().is_some_and(|core| core.lifecycle.has_started()) {
            f();
        } else {
            self.on_startup(Phase::After, f);
        }
    }

    /// Adds a trigger: schedules `f` to run in this phase of the next start. Twisted: `addSystemEventTrigger` for
    /// `startup`.
    ///
    /// The reactor counts as running only after the Deferreds that triggers of [`Phase::Before`] return have fired.
    /// A failure is logged, and the other triggers run.
    #[track_caller]
    pub fn on_startup<O: Outcome>(&self, phase: Phase, f: impl FnOnce() -> O + 'static) -> PhaseTrigger {
        self.on(Event::Startup, phase, f, Location::caller())
    }

    /// Adds a trigger: schedules `f` to run in this phase of the next shutdown. Twisted: `addSystemEventTrigger` for
    /// `shutdown`.
    ///
    /// The shutdown waits for the Deferreds that triggers of [`Phase::Before`] return, and the loop keeps running
    /// meanwhile. A failure is logged, and the other triggers run. Each trigger runs once, in one shutdown.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.on_shutdown(Phase::After, || println!("good bye"));
    /// let handle = reactor.handle();
    /// reactor.call_when_running(move || handle.stop());
    /// reactor.run()?;
    /// # Ok::<(), Failure>(())
    /// ```
    #[track_caller]
    pub fn on_shutdown<O: Outcome>(&self, phase: Phase, f: impl FnOnce() -> O + 'static) -> PhaseTrigger {
        self.on(Event::Shutdown, phase, f, Location::caller())
    }

    fn on<O: Outcome>(
        &self,
        event: Event,
        phase: Phase,
        f: impl FnOnce() -> O + 'static,
        place: &'static Location<'static>,
    ) -> PhaseTrigger {
        if let Some(core) = self.core() {
            return core.lifecycle.add(self.core.clone(), event, phase, f, place);
        }
        PhaseTrigger::dead(event)
    }

    /// Returns a [`Remote`], which reaches this reactor from other threads.
    ///
    /// If the reactor is gone, the `Remote` refuses every call.
    pub fn remote(&self) -> Remote {
        match self.core() {
            Some(core) => Remote { shared: core.shared.clone() },
            None => Remote::dead(),
        }
    }

    /// Runs blocking work on a thread of the pool, and fires the Deferred with its result in the reactor's thread.
    /// Twisted: `deferToThread`.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let text = reactor.defer_to_thread(|| Ok(std::fs::read_to_string("/etc/hostname").unwrap_or_default()));
    /// let length = reactor.run_until(text.add_callback(|text| Ok(text.len())));
    /// println!("{} bytes", length.unwrap_or(0));
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// Work begins in the order of the calls, as threads become free. The pool grows to the number of threads that
    /// [`Builder::threads`](crate::Builder::threads) allows. The Deferred never fires before this method returns.
    ///
    /// When a run ends, the Deferreds of all unfinished work fail with [`Abandoned`](twistor_deferred::Abandoned),
    /// and work that has not begun is dropped. The reactor then waits for work in progress, at most for
    /// [`Builder::thread_grace`](crate::Builder::thread_grace). Work that takes longer is left behind: its thread
    /// continues until the work returns or the process exits, and a warning names the caller of this method.
    ///
    /// # Errors
    ///
    /// The failure that `f` returns; [`Panicked`](twistor_deferred::Panicked) if `f` panics; [`ReactorGone`]; an
    /// [`io::Error`](std::io::Error) if no thread could be started.
    ///
    /// # Cancel safety
    ///
    /// Cancelling prevents work that has not begun. Work that has begun runs to completion, and its result is
    /// dropped.
    #[track_caller]
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match self.core() {
            Some(core) => core.defer_to_thread(JobKind::Work, f, Location::caller()),
            None => fail(ReactorGone),
        }
    }

    /// Runs a blocking name lookup on one of a few threads reserved for lookups, and fires the Deferred with its
    /// result in the reactor's thread. For implementing resolvers.
    ///
    /// A lookup cannot be interrupted, and takes many seconds if a name server does not answer. So lookups share no
    /// threads with [`defer_to_thread`](Handle::defer_to_thread), and the end of a run does not wait for them. At
    /// most eight lookups run at once; the others wait in order.
    ///
    /// # Errors
    ///
    /// As [`defer_to_thread`](Handle::defer_to_thread).
    ///
    /// # Cancel safety
    ///
    /// As [`defer_to_thread`](Handle::defer_to_thread).
    #[track_caller]
    pub fn defer_to_lookup_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match self.core() {
            Some(core) => core.defer_to_thread(JobKind::Lookup, f, Location::caller()),
            None => fail(ReactorGone),
        }
    }

    pub(crate) fn finish_job(&self, id: u64) {
        if let Some(core) = self.core() {
            core.recorder().job_done(id + 1);
            core.job_threads().finish(id);
        }
    }

    /// Watches a source of the operating system, and calls `handler` when it is ready. Transports are built on this
    /// method; [`add_source`](Handle::add_source) is easier to use.
    ///
    /// Register once, with every interest that will ever be needed: readiness is edge-triggered, so nothing needs
    /// to be switched on and off.
    ///
    /// The caller keeps the source, which has to stay open while it is registered. The reactor owns the handler
    /// until the [`Registration`] is dropped, so the handler may own both the source and the registration.
    ///
    /// # Errors
    ///
    /// Errors of the operating system; [`ReactorGone`]; `Unsupported` on a simulated reactor.
    pub fn register(
        &self,
        source: &mut (impl Source + ?Sized),
        interest: Interest,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        let registry = core.driver.registry()?;
        let token = insert(&core, handler)?;
        // If registering fails, dropping this removes the handler.
        let registration = Registration::new(self.core.clone(), token);
        registry.register(source, token.into(), interest)?;
        Ok(registration)
    }

    /// Adds a handler without a source of the operating system: it is called when [`Registration::wake`] says that
    /// it is ready, at most once a turn, under the same rules.
    ///
    /// # Errors
    ///
    /// [`ReactorGone`].
    pub fn attach(&self, handler: Rc<dyn EventHandler>) -> io::Result<Registration> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        let token = insert(&core, handler)?;
        Ok(Registration::new(self.core.clone(), token))
    }

    /// Adds a mark to the recording that is going on: a line of text among its events. Without a
    /// recording, or without the cargo feature `trace`, it does nothing, and `text` is not called.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.mark(|| "the second half begins".to_owned());
    /// # Ok::<(), Failure>(())
    /// ```
    #[inline]
    pub fn mark(&self, text: impl FnOnce() -> String) {
        if let Some(core) = self.recorded_core() {
            core.recorder().mark(text);
        }
    }

    /// The core, if a recording may be going on.
    #[inline]
    fn recorded_core(&self) -> Option<Rc<Core>> {
        if cfg!(feature = "trace") { self.core() } else { None }
    }

    /// Records an event of a simulated network. For the crates of this library.
    #[cfg(feature = "trace")]
    #[doc(hidden)]
    pub fn record_network(&self, text: impl FnOnce() -> String) {
        if let Some(core) = self.core() {
            core.recorder().network(text);
        }
    }

    /// Returns counts of the reactor's work so far.
    pub fn stats(&self) -> Stats {
        self.core().map(|core| core.meter.stats()).unwrap_or_default()
    }
}

fn insert(core: &Core, handler: Rc<dyn EventHandler>) -> io::Result<SourceToken> {
    let inserted = core.sources.borrow_mut().insert(handler);
    inserted.map_err(|_| io::Error::other("cannot add another source: all tokens of the reactor are in use"))
}

impl Core {
    pub(crate) fn wake(&self, token: SourceToken, ready: Ready) {
        self.sources.borrow_mut().wake(token, ready);
        self.timers.tell_host_now();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.core() {
            Some(core) if core.lifecycle.is_running() => "running",
            Some(_) => "not running",
            None => "gone",
        };
        write!(f, "Handle({state})")
    }
}
