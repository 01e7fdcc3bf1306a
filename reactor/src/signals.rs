//! Signals of the operating system: Ctrl-C and SIGTERM shut a run down gracefully, and callbacks for other signals.

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
use crate::{Handle, ReactorGone, Registration};
use claim::Claim;

/// Signal numbers by name.
pub mod signal {
    pub use signal_hook::consts::signal::*;
}

use signal::{SIGINT, SIGTERM};

impl Handle {
    /// Calls `callback` whenever the process receives this signal, until the run ends. Twisted leaves this to
    /// Python's `signal` module and `callFromThread`.
    ///
    /// Dropping the [`SignalCallback`] changes nothing; [`remove`](SignalCallback::remove) removes the callback.
    ///
    /// ```
    /// use twistor::prelude::*;
    /// use twistor::reactor::signal;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.on_signal(signal::SIGHUP, || println!("reading the configuration again"))?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// The callbacks of one signal run in the order in which they were added, in the loop and never in the signal
    /// handler. If a signal arrives again before they have run, they run once. For SIGINT and SIGTERM they run in
    /// addition to the shutdown that [`Builder::signals`](crate::Builder::signals) describes.
    ///
    /// # Other handlers
    ///
    /// A handler that the program installed earlier is called first, during the run and after it. If a signal had
    /// its default effect before, it has it again after its last callback is gone. There are three limits:
    ///
    /// - Only Linux reports whether a program has a handler. Elsewhere, every signal is assumed to have had its
    ///   default effect.
    /// - The earlier handler runs with `SA_RESTART`, on the normal stack, and without the signal mask it was
    ///   installed with. A signal that was ignored still does nothing after the run, but programs started then do
    ///   not inherit that.
    /// - A handler that is installed after a reactor first handled the signal, or that replaces the reactor's
    ///   handler, is not noticed. Install handlers before the first run.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that cannot be handled, such as SIGKILL and SIGSEGV; errors of the operating
    /// system; [`ReactorGone`]; `Unsupported` on a simulated reactor.
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

/// A callback for a signal that can be removed. Dropping this leaves the callback in place.
pub struct SignalCallback {
    source: Weak<SignalSource>,
    callback: Weak<AddedCallback>,
}

impl SignalCallback {
    /// Removes the callback. Returns false if it is already gone, because the run ended or the callback panicked.
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

/// The signal handling of one reactor.
#[derive(Default)]
pub(crate) struct Signals {
    /// The setting of [`Builder::signals`](crate::Builder::signals).
    pub(crate) take: Cell<Option<bool>>,
    /// Weak: the reactor's table of sources owns it, so it is dropped with the run.
    source: RefCell<Weak<SignalSource>>,
}

impl Signals {
    /// Handles the signals that stop the run, from its beginning.
    pub(crate) fn begin_run(&self, core: &Core) {
        let in_main_thread = || std::thread::current().name() == Some("main");
        let take = self.take.get().unwrap_or_else(|| core.driver.simulated().is_none() && in_main_thread());
        if !take || core.timers.in_turn.get() {
            return;
        }
        if let Err(error) = SignalSource::of(core).and_then(|source| source.stop_the_run()) {
            log::warn!(
                "could not install signal handlers: Ctrl-C and SIGTERM will not shut the reactor down gracefully: {error}"
            );
        }
    }
}

impl Signals {
    /// Removes the source of this module from a list, and returns the places that added callbacks to it.
    pub(crate) fn callbacks_instead(
        &self,
        handlers: &mut Vec<Rc<dyn EventHandler>>,
    ) -> Vec<&'static Location<'static>> {
        let Some(source) = self.source.borrow().upgrade() else { return Vec::new() };
        handlers.retain(|handler| !std::ptr::addr_eq(Rc::as_ptr(handler), Rc::as_ptr(&source)));
        source.callbacks.borrow().iter().map(|callback| callback.place).collect()
    }
}

/// The source that signal handlers write to, and the loop reads.
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
    /// Returns the reactor's source, which is created if there is none.
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
            // Set by the signal handler itself, so that the next Ctrl-C ends a process whose loop hangs.
            if let Some(interrupt) = interrupt.clone() {
                watch.actions.push(signal_hook::flag::register(watch.signal, interrupt)?);
            }
        }
        Ok(())
    }

    /// Removes a callback. Returns whether it was still there.
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

/// The signal handlers that the process has for one signal.
struct SignalWatch {
    signal: i32,
    /// Set by the signal handler.
    came: Arc<AtomicBool>,
    actions: Vec<SigId>,
    claim: Claim,
    /// Whether the signal stops the run.
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
