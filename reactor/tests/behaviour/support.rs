//! Runs that cannot hang, a record of events, and the log.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::time::{Duration, Instant};

use twistor_deferred::{Deferred, Failure};
use twistor_reactor::{AddTimeout, Reactor};

/// Runs the reactor, as `Reactor::run` does. Fails if nothing stops it.
pub(crate) fn run(reactor: &Reactor) {
    watch_panics();
    let deadline = Instant::now() + Duration::from_secs(30);
    while reactor.turn(Some(deadline - Instant::now())).unwrap() {
        assert!(Instant::now() < deadline, "nothing stopped the reactor");
    }
    check_panics();
}

/// Runs the reactor until the Deferred has fired, and returns its result, or `TimedOut` if it does not fire.
pub(crate) fn run_until<T: 'static>(reactor: &Reactor, deferred: Deferred<T>) -> Result<T, Failure> {
    watch_panics();
    let result = reactor.run_until(deferred.add_timeout(Duration::from_secs(30), &**reactor));
    check_panics();
    result
}

thread_local! {
    static PANICKED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Records the panics of this thread. The reactor catches panics of callbacks, so a failed assertion in a callback
/// would otherwise pass.
pub(crate) fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = PANICKED.try_with(|panicked| panicked.borrow_mut().push(panic.to_string()));
            before(panic);
        }));
    });
}

/// Fails if there was a panic that no test intends.
#[track_caller]
pub(crate) fn check_panics() {
    let unexpected: Vec<_> =
        PANICKED.take().into_iter().filter(|panic| !panic.contains("out of c")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

pub(crate) fn reactor() -> Reactor {
    watch_panics();
    Reactor::new().unwrap()
}

/// The events so far, in order.
pub(crate) struct Record<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Record<T> {
    fn clone(&self) -> Record<T> {
        Record(self.0.clone())
    }
}

impl<T: Clone + PartialEq + Debug> Record<T> {
    pub(crate) fn new() -> Record<T> {
        Record(Rc::default())
    }

    pub(crate) fn add(&self, item: T) {
        self.0.borrow_mut().push(item);
    }

    /// Returns a callback that adds the item.
    pub(crate) fn adder(&self, item: T) -> impl FnOnce() + use<T> {
        let record = Record(self.0.clone());
        move || record.add(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Begins to record this thread's log lines.
pub(crate) fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    logged();
}

/// Returns the lines that this thread has logged since the last call.
pub(crate) fn logged() -> Vec<String> {
    LOGGED.take()
}

/// Panics when it is dropped.
pub(crate) struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("out of cheese");
    }
}

/// Counts how often it was dropped.
#[derive(Clone, Default)]
pub(crate) struct Drops(Rc<Cell<usize>>);

impl Drops {
    pub(crate) fn count(&self) -> usize {
        self.0.get()
    }

    pub(crate) fn token(&self) -> DropToken {
        DropToken(self.0.clone())
    }
}

pub(crate) struct DropToken(Rc<Cell<usize>>);

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}
