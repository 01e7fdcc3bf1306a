//! The end of an event loop, whose open work is not an error.

use std::cell::Cell;

thread_local! {
    // The triggers that a loop drops cannot carry it: they belong to user code, anywhere on the thread.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, in which an event loop drops its remaining work. For authors of event loops; the reactor calls it.
///
/// Dropping work in progress leaves triggers unfired and fails connections. With a thousand open connections this would
/// log a thousand errors. So, while `f` runs, each failure that a Deferred of this thread is fired with is
/// [`quiet`](crate::Failure::quiet), [`Abandoned`](crate::Abandoned) included: errbacks receive it as usual, and an
/// unhandled one is logged at level debug. A new failure that a callback returns is logged as an error.
///
/// ```
/// use twistor::deferred::ending;
/// use twistor::prelude::*;
///
/// let (answer, trigger) = Deferred::<String>::new();
/// answer.add_callback(|text| println!("{text}")).detach();
/// ending(|| drop(trigger)); // logs no error
/// ```
pub fn ending<R>(f: impl FnOnce() -> R) -> R {
    let _restored = RestoredEnding(ENDING.replace(true));
    f()
}

/// Returns whether an event loop of this thread is dropping its remaining work.
pub(crate) fn is_ending() -> bool {
    ENDING.get()
}

/// Restores the previous value, even if `f` panics.
struct RestoredEnding(bool);

impl Drop for RestoredEnding {
    fn drop(&mut self) {
        ENDING.set(self.0);
    }
}
