//! The end of a loop, which is nobody's fault.

use std::cell::Cell;

thread_local! {
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, in which a loop that ends drops what it has left. For those who write loops; the reactor does it.
///
/// What was under way is cut off then: triggers go unfired, and connections fail. That is no error, and with a thousand
/// connections it would be a thousand. So a failure that a Deferred of this thread is fired with meanwhile,
/// [`Abandoned`](crate::Abandoned) among them, is [`quiet`](crate::Failure::quiet): errbacks get it as ever, and where
/// there are none it is logged for debugging. What a callback makes of it is its own, and is not.
///
/// ```
/// use twistor_deferred::{Abandoned, Deferred, ending};
///
/// let (answer, trigger) = Deferred::<String>::new();
/// drop(answer.add_callback(|text| println!("{text}")));
/// ending(|| drop(trigger)); // logs no error
/// ```
pub fn ending<R>(f: impl FnOnce() -> R) -> R {
    let _restored = RestoredEnding(ENDING.replace(true));
    f()
}

/// Whether a loop in this thread drops what it has left.
pub(crate) fn is_ending() -> bool {
    ENDING.get()
}

/// Sets it back to what it was, also when `f` panics.
struct RestoredEnding(bool);

impl Drop for RestoredEnding {
    fn drop(&mut self) {
        ENDING.set(self.0);
    }
}
