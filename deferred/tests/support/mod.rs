//! Helpers for the tests of this crate.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::expect_used, reason = "a test may")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Once;

use twistor_deferred::{Deferred, Failure};

/// A record of the words that a test's callbacks add, in order.
#[derive(Clone, Default, Debug)]
pub struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    pub fn note(&self, word: impl ToString) {
        self.0.borrow_mut().push(word.to_string());
    }

    /// Takes the words added since the last call, joined by spaces.
    pub fn read(&self) -> String {
        self.0.take().join(" ")
    }
}

/// Records the result of a Deferred as text.
pub fn outcome<T: ToString + 'static>(deferred: Deferred<T>) -> Rc<Cell<Option<Result<String, String>>>> {
    let seen = Rc::new(Cell::new(None));
    let seen_here = seen.clone();
    drop(deferred.add_both(move |result: Result<T, Failure>| {
        seen_here.set(Some(result.map(|value| value.to_string()).map_err(|failure| failure.to_string())));
    }));
    seen
}

/// Returns the result of a fired Deferred.
#[track_caller]
pub fn result_of<T: 'static>(deferred: Deferred<T>) -> Result<T, Failure> {
    let seen = Rc::new(Cell::new(None));
    let seen_here = seen.clone();
    drop(deferred.add_both(move |result| seen_here.set(Some(result))));
    seen.take().expect("the Deferred has not fired")
}

/// Returns the value of a fired Deferred.
#[track_caller]
pub fn value_of<T: 'static>(deferred: Deferred<T>) -> T {
    result_of(deferred).unwrap_or_else(|failure| panic!("the Deferred failed: {failure:?}"))
}

/// Returns the failure of a failed Deferred.
#[track_caller]
pub fn failure_of<T: 'static>(deferred: Deferred<T>) -> Failure {
    result_of(deferred).err().expect("the Deferred did not fail")
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|logged| {
            // Tests that drop a million failures do not read their texts.
            if logged.len() < 100 {
                logged.push(format!("{}: {}", record.level(), record.args()));
            }
        });
    }

    fn flush(&self) {}
}

/// Runs `f` and returns the lines that this thread logged meanwhile.
pub fn logged(f: impl FnOnce()) -> Vec<String> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Capture).expect("no other logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
    LOGGED.take();
    f();
    LOGGED.take()
}

/// A million, for tests of depth. With the feature `trace`, whose records take several times as long, 20,000: a stack of
/// 256 KiB has 13 bytes for each, fewer than a call takes, so recursion overflows it all the same.
pub const MANY: usize = if cfg!(feature = "trace") { 20_000 } else { 1_000_000 };

/// Runs `f` on a thread with a stack of 256 KiB.
pub fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(f).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Counts entries and their drops. A second drop of an entry panics.
#[derive(Clone, Default)]
pub struct Ledger {
    made: Rc<Cell<u64>>,
    dropped: Rc<Cell<u64>>,
}

impl Ledger {
    pub fn item(&self) -> Item {
        self.made.set(self.made.get() + 1);
        Item { ledger: self.clone(), gone: false }
    }

    pub fn alive(&self) -> u64 {
        self.made.get() - self.dropped.get()
    }

    /// Panics unless `made` entries were created and each was dropped.
    #[track_caller]
    pub fn settle(&self, made: u64) {
        assert_eq!((self.made.get(), self.dropped.get()), (made, made), "(made, dropped)");
    }
}

/// One entry in a [`Ledger`].
pub struct Item {
    ledger: Ledger,
    gone: bool,
}

impl Drop for Item {
    fn drop(&mut self) {
        assert!(!self.gone, "dropped twice");
        self.gone = true;
        self.ledger.dropped.set(self.ledger.dropped.get() + 1);
    }
}
