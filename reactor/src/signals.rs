//! Signals of the operating system: Ctrl-C and SIGTERM stop a run in order, and callbacks for others.

mod claim;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Interest;
use mio::net::UnixStream;
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};

use crate::core::Core;
use crate::ready::{EventHandler, Progress, Ready};
use crate::{Builder, Handle, ReactorGone, Registration};
use claim::Claim;

/// The signals' numbers, by name.
pub mod signal {
    pub use signal_hook::consts::signal::*;
}

use signal::{SIGINT, SIGTERM};

impl Builder {
    /// Whether Ctrl-C and SIGTERM stop the run. Twisted's `installSignalHandlers`.
    ///
    /// They stop it in order, as [`stop`](Handle::stop) does. From the first of either on, another Ctrl-C ends the
    /// process at once, even if a callback never returns or a trigger before the shutdown never fires. Another SIGTERM
    /// does not: process managers may well send it twice, to a process and to its group, and have SIGKILL for one that
    /// takes too long. A program that wants it to adds an [`on_signal`](Handle::on_signal) of its own. Both are taken
    /// when [`run`](crate::Reactor::run) begins, and given back when it returns: from then on they do what they did
    /// before, which is to end the process unless the program had a handler of its own. A host that takes [turns](crate::Reactor::turn) keeps them to itself.
    ///
    /// Signals belong to the process, so unless this is called, only a reactor that is run in the program's main
    /// thread takes them. When several do, all stop.
    ///
    /// One that the process was started to ignore stays ignored (on Linux, where that can be seen): so Ctrl-C does not
    /// stop what a script runs in the background. A program that has handlers of its own for these signals should say
    /// `false`, or they are called in addition.
    pub fn signals(mut self, take: bool) -> Builder {
        self.signals = Some(take);
        self
    }
}

impl Handle {
    /// Calls `callback` whenever the process gets this signal, until the run ends. Twisted leaves this to Python's
    /// `signal` module and `callFromThread`.
    ///
    /// Dropping the [`SignalCallback`] changes nothing; [`remove`](SignalCallback::remove) takes the callback back.
    ///
    /// ```
    /// use twistor_reactor::{Reactor, signal};
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.on_signal(signal::SIGHUP, || println!("reading the configuration again"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The callbacks of one signal run in the order in which they were added, in the loop, never in the signal
    /// handler. A signal that comes again before they have run is told once. For SIGINT and SIGTERM they run besides
    /// what [`Builder::signals`] does, not instead.
    ///
    /// # Other handlers
    ///
    /// A handler that the program installed before is called first, during the run and after it. A signal that was at
    /// its default before does its default again when its last callback is gone. Three limits:
    ///
    /// - Only Linux tells whether a program has a handler. Elsewhere, every signal counts as having been at its default.
    /// - The previous handler runs with `SA_RESTART`, on the normal stack, and without the signal mask it was installed
    ///   with. A signal that was ignored does nothing after the run, but programs started then do not inherit that.
    /// - A handler that is installed after a reactor first took the signal, or that replaces the reactor's handler, is not
    ///   noticed. Install handlers before the first run.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that cannot be handled, as SIGKILL and SIGSEGV; what the operating system says;
    /// [`ReactorGone`]; `Unsupported` on a simulated reactor.
    ///
    /// # Panics
    ///
    /// A panic in `callback` is logged, and the callback is never called again.
    #[track_caller]
    pub fn on_signal(&self, signal: i32, callback: impl FnMut() + 'static) -> io::Result<SignalCallback> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        let source = SignalSource::of(&core)?;
        source.watch(signal)?;
        let callback = Rc::new(AddedCallback {
            signal,
            place: Location::caller(),
            function: Cell::new(Some(Box::new(callback))),
        });
        source.callbacks.borrow_mut().push(callback.clone());
        Ok(SignalCallback { source: Rc::downgrade(&source), callback: Rc::downgrade(&callback) })
    }
}

/// A callback for a signal, for taking it back. Dropping this leaves the callback in place.
pub struct SignalCallback {
    source: Weak<SignalSource>,
    callback: Weak<AddedCallback>,
}

impl SignalCallback {
    /// Takes the callback back; false when it is gone already, because the run ended or it panicked.
    pub fn remove(self) -> bool {
        let (Some(source), Some(callback)) = (self.source.upgrade(), self.callback.upgrade()) else {
            return false;
        };
        source.remove(&callback)
    }
}

impl fmt::Debug for SignalCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalCallback")
            .field("signal", &self.callback.upgrade().map(|callback| callback.signal))
            .finish()
    }
}

/// What a reactor knows of signals.
#[derive(Default)]
pub(crate) struct Signals {
    /// What the builder was told.
    pub(crate) take: Cell<Option<bool>>,
    /// The reactor's table of sources owns it, so it goes away with the run.
    source: RefCell<Weak<SignalSource>>,
}

impl Signals {
    /// A run begins: takes the signals that stop it.
    pub(crate) fn begin_run(&self, core: &Core) {
        let in_main_thread = || std::thread::current().name() == Some("main");
        let take = self.take.get().unwrap_or_else(|| core.driver.simulated().is_none() && in_main_thread());
        if !take || core.timers.in_turn.get() {
            return;
        }
        if let Err(error) = SignalSource::of(core).and_then(|source| source.stop_the_run()) {
            log::warn!("signals will not stop the reactor in order: {error}");
        }
    }
}

/// Where the signal handlers tell the loop.
struct SignalSource {
    handle: Handle,
    receiver: RefCell<UnixStream>,
    sender: StdStream,
    watches: RefCell<Vec<SignalWatch>>,
    callbacks: RefCell<Vec<Rc<AddedCallback>>>,
    registration: RefCell<Option<Registration>>,
}

struct AddedCallback {
    signal: i32,
    place: &'static Location<'static>,
    /// Taken out while it runs.
    function: Cell<Option<Box<dyn FnMut()>>>,
}

impl SignalSource {
    /// The reactor's source, a new one if need be.
    fn of(core: &Core) -> io::Result<Rc<SignalSource>> {
        let present = core.signals.source.borrow().upgrade();
        if let Some(source) = present {
            return Ok(source);
        }
        let (receiver, sender) = StdStream::pair()?;
        receiver.set_nonblocking(true)?;
        let source = Rc::new(SignalSource {
            handle: core.handle.clone(),
            receiver: RefCell::new(UnixStream::from_std(receiver)),
            sender,
            watches: RefCell::default(),
            callbacks: RefCell::default(),
            registration: RefCell::default(),
        });
        let registration =
            core.handle.register(&mut *source.receiver.borrow_mut(), Interest::READABLE, source.clone())?;
        source.registration.replace(Some(registration));
        core.signals.source.replace(Rc::downgrade(&source));
        Ok(source)
    }

    fn watch(&self, signal: i32) -> io::Result<()> {
        let mut watches = self.watches.borrow_mut();
        if !watches.iter().any(|watch| watch.signal == signal) {
            watches.push(SignalWatch::new(signal, &self.sender)?);
        }
        Ok(())
    }

    fn stop_the_run(&self) -> io::Result<()> {
        let mut signals = vec![SIGINT, SIGTERM];
        signals.retain(|&signal| !claim::was_ignored(signal));
        for &signal in &signals {
            self.watch(signal)?;
        }
        let mut watches = self.watches.borrow_mut();
        let interrupt =
            watches.iter().find(|watch| watch.signal == SIGINT).map(|watch| watch.claim.by_default());
        for watch in watches.iter_mut().filter(|watch| signals.contains(&watch.signal)) {
            watch.stops = true;
            // Set by the handler itself, so that the next Ctrl-C ends a process whose loop hangs.
            if let Some(interrupt) = interrupt.clone() {
                watch.actions.push(signal_hook::flag::register(watch.signal, interrupt)?);
            }
        }
        Ok(())
    }

    /// Whether the callback was still there.
    fn remove(&self, callback: &Rc<AddedCallback>) -> bool {
        let (removed, watch) = {
            let mut callbacks = self.callbacks.borrow_mut();
            let Some(at) = callbacks.iter().position(|other| Rc::ptr_eq(other, callback)) else {
                return false;
            };
            let removed = callbacks.remove(at);
            let used = callbacks.iter().any(|other| other.signal == removed.signal);
            let mut watches = self.watches.borrow_mut();
            let unused =
                watches.iter().position(|watch| watch.signal == removed.signal && !watch.stops && !used);
            (removed, unused.map(|at| watches.swap_remove(at)))
        };
        drop((removed, watch));
        true
    }

    fn call(self: &Rc<Self>, core: &Core, callback: &Rc<AddedCallback>) {
        let Some(mut function) = callback.function.take() else { return };
        let called = core.call(callback.place, || {
            function();
            function
        });
        match called {
            Some(function) => callback.function.set(Some(function)),
            None => _ = self.remove(callback),
        }
    }
}

impl EventHandler for SignalSource {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let mut bytes = [0; 64];
        while matches!(self.receiver.borrow_mut().read(&mut bytes), Ok(1..)) {}

        let (mut came, mut stop) = (Vec::new(), false);
        for watch in self.watches.borrow().iter().filter(|watch| watch.came.swap(false, Ordering::SeqCst)) {
            came.push(watch.signal);
            stop |= watch.stops;
        }
        if stop {
            self.handle.stop();
        }
        let called: Vec<_> = self
            .callbacks
            .borrow()
            .iter()
            .filter(|callback| came.contains(&callback.signal))
            .cloned()
            .collect();
        for callback in called {
            let Some(core) = self.handle.core() else { break };
            let removed = !self.callbacks.borrow().iter().any(|other| Rc::ptr_eq(other, &callback));
            if !removed {
                self.call(&core, &callback);
            }
        }
        Progress::Drained
    }
}

/// One signal's handlers in the process.
struct SignalWatch {
    signal: i32,
    /// Set by the signal handler.
    came: Arc<AtomicBool>,
    actions: Vec<SigId>,
    claim: Claim,
    /// Whether it stops the run.
    stops: bool,
}

impl SignalWatch {
    fn new(signal: i32, sender: &StdStream) -> io::Result<SignalWatch> {
        if signal_hook::consts::FORBIDDEN.contains(&signal) {
            let message = format!("signal {signal} cannot be handled");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let claim = Claim::new(signal)?;
        let came = Arc::new(AtomicBool::new(false));
        let mut watch = SignalWatch { signal, came, actions: Vec::new(), claim, stops: false };
        watch.actions.push(signal_hook::flag::register(signal, watch.came.clone())?);
        watch.actions.push(pipe::register_raw(signal, OwnedFd::from(sender.try_clone()?))?);
        Ok(watch)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.actions.drain(..).for_each(|action| _ = unregister(action));
    }
}
