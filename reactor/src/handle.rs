//! The cheap way to a reactor, for everything that runs in it.

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

/// A reactor, to those who use it: schedules calls, watches sources, hands work to threads, stops the run.
///
/// Callbacks capture clones of it. It owns nothing, so a callback that captured one does not keep its reactor alive,
/// nor itself. A [`Reactor`](crate::Reactor) dereferences to its handle: what takes a `&Handle` takes a `&Reactor`.
///
/// Running is the owner's alone. Code that the reactor runs never waits in `run_until`: it adds a callback to the
/// Deferred it has, or returns it to the chain that it is part of.
///
/// When the reactor is gone, calls are not scheduled (what they captured is dropped), and what returns a result says
/// [`ReactorGone`].
#[derive(Clone)]
pub struct Handle {
    core: Weak<Core>,
}

impl Handle {
    pub(crate) fn new(core: Weak<Core>) -> Handle {
        Handle { core }
    }

    /// Another handle to the same reactor, for a callback to capture: what `clone` gives, by a name that says so on a
    /// reactor too.
    pub fn handle(&self) -> Handle {
        self.clone()
    }

    pub(crate) fn core(&self) -> Option<Rc<Core>> {
        self.core.upgrade()
    }

    /// The time now, by the reactor's clock: the monotonic one, or a simulated reactor's own. Twisted's `seconds`.
    #[allow(clippy::disallowed_methods)] // Only when the reactor is gone, and nothing runs in it any more.
    pub fn now(&self) -> Instant {
        match self.core() {
            Some(core) => core.timers.time.now_instant(),
            None => Instant::now(),
        }
    }

    /// Returns the time of day: the system's, or on a simulated reactor a clock of its own, which starts in 1970 and
    /// advances with [`now`](Handle::now). After the reactor is gone, the system's time.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use twistor_reactor::{Reactor, defer_later};
    ///
    /// let reactor = Reactor::simulated(1);
    /// reactor.run_until(defer_later(&reactor, Duration::from_secs(60), || ()))?;
    /// assert_eq!(reactor.system_time().duration_since(UNIX_EPOCH)?.as_secs(), 60);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(clippy::disallowed_methods)] // As for `now`.
    pub fn system_time(&self) -> SystemTime {
        match self.core() {
            Some(core) => core.timers.time.system_time(),
            None => SystemTime::now(),
        }
    }

    /// Has `call` run after `delay`, which may be anything from zero to for ever. Twisted's `callLater`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// reactor.call_later(Duration::from_millis(1), move || handle.stop());
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// By deadline, ties in the order in which they were scheduled. Never before its time. A call made in a turn runs
    /// in a later one, whatever its delay.
    ///
    /// # Panics
    ///
    /// A panic in `call` is logged, and costs nothing else.
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

    /// When the reactor next has something to do of its own accord: now, if there is work at hand; at the earliest
    /// deadline; never (`None`), if it only waits for its sources.
    ///
    /// A host that runs the reactor in its own loop sleeps no longer than this. One that counts in milliseconds rounds
    /// up: a turn that comes too early finds nothing to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let core = self.core()?;
        if core.has_work() {
            return Some(core.timers.time.now_instant());
        }
        core.timers.first().map(|deadline| core.timers.time.instant(deadline))
    }

    /// Has the reactor stop at the end of this turn: the shutdown triggers run, and then `run` returns.
    /// Twisted's `stop`.
    ///
    /// Does nothing when the reactor is stopping already. Logs a warning when the reactor is not running, as the stop of
    /// a run that has not begun is lost; use [`try_stop`](Handle::try_stop) where that is expected.
    #[track_caller]
    pub fn stop(&self) {
        if self.request_stop() == StopRequest::NoRun {
            log::warn!(
                "stop was called at {} while the reactor was not running: it has no effect on a later run",
                Location::caller()
            );
        }
    }

    /// As [`stop`](Handle::stop), and says whether there was anything to stop.
    ///
    /// # Errors
    ///
    /// [`NotRunning`] when the reactor is not running, or is stopping already.
    pub fn try_stop(&self) -> Result<(), NotRunning> {
        match self.request_stop() {
            StopRequest::Accepted => Ok(()),
            StopRequest::Stopping | StopRequest::NoRun => Err(NotRunning),
        }
    }

    fn request_stop(&self) -> StopRequest {
        // Where the reactor is gone, nothing is left to stop.
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

    /// Whether the reactor has started and not begun to stop.
    pub fn is_running(&self) -> bool {
        self.core().is_some_and(|core| core.lifecycle.is_running())
    }

    /// Whether a turn is under way: this is called from inside a callback of the reactor. A host asks before it takes a
    /// turn or drops the reactor, where its own code may be called from both.
    pub fn is_in_turn(&self) -> bool {
        self.core().is_some_and(|core| core.timers.in_turn.get())
    }

    /// Calls `f` once the reactor runs: at once, if it does, also while a shutdown waits for what it has to. Twisted's
    /// `callWhenRunning`.
    #[track_caller]
    pub fn call_when_running(&self, f: impl FnOnce() + 'static) {
        if self.core().is_some_and(|core| core.lifecycle.has_started()) {
            f();
        } else {
            self.on_startup(Phase::After, f);
        }
    }

    /// Has `f` run in this phase of the next start. Twisted's `addSystemEventTrigger` for `startup`.
    ///
    /// What a trigger of [`Phase::Before`] returns is waited for before the reactor counts as running. A failure is
    /// logged, and the others run.
    #[track_caller]
    pub fn on_startup<O: Outcome>(&self, phase: Phase, f: impl FnOnce() -> O + 'static) -> PhaseTrigger {
        self.on(Event::Startup, phase, f, Location::caller())
    }

    /// Has `f` run in this phase of the next shutdown. Twisted's `addSystemEventTrigger` for `shutdown`.
    ///
    /// What a trigger of [`Phase::Before`] returns is waited for, while the loop goes on turning. A failure is logged,
    /// and the others run. Each trigger runs once, in one shutdown.
    ///
    /// ```
    /// # use twistor_reactor::{Phase, Reactor};
    /// let reactor = Reactor::new()?;
    /// reactor.on_shutdown(Phase::After, || println!("good bye"));
    /// let handle = reactor.clone();
    /// reactor.call_when_running(move || handle.stop());
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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

    /// The way to this reactor from other threads.
    ///
    /// It is made anew, refusing every call, when the reactor is gone.
    pub fn remote(&self) -> Remote {
        match self.core() {
            Some(core) => Remote { shared: core.shared.clone() },
            None => Remote::dead(),
        }
    }

    /// Runs blocking work on a thread of the pool, and fires the Deferred with its result in the reactor's thread.
    /// Twisted's `deferToThread`.
    ///
    /// ```
    /// use twistor_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let text = reactor.defer_to_thread(|| Ok(std::fs::read_to_string("/etc/hostname").unwrap_or_default()));
    /// let length = reactor.run_until(text.add_callback(|text| Ok(text.len())));
    /// println!("{} bytes", length.unwrap_or(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// Work begins in the order in which it was given, as threads become free: the pool grows to the number that
    /// [`Builder::threads`](crate::Builder::threads) allows. The Deferred never fires before this returns.
    ///
    /// Cancelling work that has not begun prevents it. Work that has begun runs to its end, and its result is dropped.
    ///
    /// When a run ends, the Deferreds of all work fire [`Abandoned`](twistor_deferred::Abandoned), and work that has not
    /// begun never will. The reactor then waits for the work under way, at most for
    /// [`Builder::thread_grace`](crate::Builder::thread_grace). Work that takes longer is left behind: its thread runs on
    /// until the work returns or the process exits, and a warning names the caller of this method.
    ///
    /// # Errors
    ///
    /// What `f` returns; [`Panicked`](twistor_deferred::Panicked) if it panics; [`ReactorGone`]; an
    /// [`io::Error`](std::io::Error) if no thread could be started.
    ///
    /// # Cancel safety
    ///
    /// Cancelling prevents work that has not begun. Work that has begun runs to its end, and its result is dropped.
    #[track_caller]
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match self.core() {
            Some(core) => core.threads.defer(&core, JobKind::Work, f, Location::caller()),
            None => fail(ReactorGone),
        }
    }

    /// Runs a blocking name lookup on one of a few threads that are kept for lookups, and fires the Deferred with its
    /// result in the reactor's thread. For implementing resolvers.
    ///
    /// A lookup cannot be interrupted, and takes many seconds when a name server does not answer. So lookups share no
    /// threads with [`defer_to_thread`](Handle::defer_to_thread), and the end of a run does not wait for them. At most
    /// eight run at once; the others wait for these, in order.
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
            Some(core) => core.threads.defer(&core, JobKind::Lookup, f, Location::caller()),
            None => fail(ReactorGone),
        }
    }

    pub(crate) fn finish_job(&self, id: u64) {
        if let Some(core) = self.core() {
            core.threads.finish(id);
        }
    }

    /// Has the reactor watch a source of the operating system and call the handler when it is ready: the door that
    /// transports use. Ask for all that will ever be wanted, once: readiness is told when it comes about, and there
    /// is nothing to switch on and off.
    ///
    /// The source stays the caller's, and has to stay open as long as it is registered. The handler is the reactor's
    /// until the [`Registration`] is dropped, so it may own both.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`ReactorGone`]; `Unsupported` on a simulated reactor.
    pub fn register(
        &self,
        source: &mut (impl Source + ?Sized),
        interest: Interest,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        let registry = core.driver.registry()?;
        let token = insert(&core, handler)?;
        // Taken out again when registering fails.
        let registration = Registration::new(self.core.clone(), token);
        registry.register(source, token.into(), interest)?;
        Ok(registration)
    }

    /// Gives a handler a place among the sources without a source of the operating system: it is called when
    /// [`Registration::wake`] says so, once a turn, under the same rules.
    ///
    /// # Errors
    ///
    /// [`ReactorGone`].
    pub fn attach(&self, handler: Rc<dyn EventHandler>) -> io::Result<Registration> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        let token = insert(&core, handler)?;
        Ok(Registration::new(self.core.clone(), token))
    }

    /// What the reactor has done so far.
    pub fn stats(&self) -> Stats {
        self.core().map(|core| core.meter.stats()).unwrap_or_default()
    }
}

fn insert(core: &Core, handler: Rc<dyn EventHandler>) -> io::Result<SourceToken> {
    let inserted = core.sources.borrow_mut().insert(handler);
    inserted.map_err(|_| io::Error::other("the reactor has no token left for another source"))
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
