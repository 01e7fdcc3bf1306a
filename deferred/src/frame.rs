//! How deep user code is nested in this thread, and the calls that wait until the outermost frame returns.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::panic_message;

/// How many frames may be nested before further callbacks are parked.
const DEPTH: u32 = 32;

/// A bit beside the depth, so that leaving a frame is one comparison.
const PARKED: u32 = 1 << 31;

type Call = Box<dyn FnOnce()>;

// A thread-local, because a Deferred knows no loop that it could ask, and a trigger is fired from anywhere.
thread_local! {
    static STATE: Cell<u32> = const { Cell::new(0) };
    static CALLS: RefCell<ParkedCalls> = const { RefCell::new(ParkedCalls(VecDeque::new())) };
}

struct ParkedCalls(VecDeque<Call>);

impl Drop for ParkedCalls {
    /// The thread ends: nothing runs any more. A panic here would abort the process.
    fn drop(&mut self) {
        STATE.set(1);
        while let Some(call) = self.0.pop_front() {
            drop(guarded(|| drop(call)));
        }
    }
}

/// Runs `code`, which is user code, and catches its panic. It is for libraries that call user code: event loops,
/// protocols, and everything else that takes a closure.
///
/// Some work cannot be done at the moment it comes up. A [`Trigger`](crate::Trigger) that is dropped while a panic
/// unwinds cannot fire, and a callback beyond a fixed depth would overflow the stack. Such work is parked, and the
/// outermost call of this function on the thread does it, in order, before it returns. Every function of this crate
/// that calls user code does the same, so a program needs this only around code that may panic outside of them.
///
/// ```
/// use twistor_deferred::{Abandoned, Deferred, guarded};
///
/// let (answer, trigger) = Deferred::<u64>::new();
/// let result = guarded(move || {
///     let number: u64 = "x".parse().unwrap(); // panics
///     trigger.callback(number);
/// });
/// assert!(result.is_err());
/// assert!(matches!(answer.try_result(), Ok(Err(failure)) if failure.is::<Abandoned>()));
/// ```
///
/// # Errors
/// The message of the panic, if `code` panics. A payload that panics when it is dropped is caught too.
///
/// # Re-entrancy
/// Calls may be nested. A loop that may itself be run from a callback wraps its turn in [`loop_turn`].
#[inline]
pub fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    let _frame = Frame::enter();
    catch_unwind(AssertUnwindSafe(code)).map_err(panic_message)
}

/// Runs `turn`, one turn of an event loop, in which the next [`guarded`] is outermost again.
///
/// A program may run a loop from a callback. Without this, parked work would wait for that callback to return, and the
/// callback for the parked work.
pub fn loop_turn<R>(turn: impl FnOnce() -> R) -> R {
    let _outer = OuterDepth(STATE.replace(STATE.get() & PARKED));
    turn()
}

/// The depth outside of a loop's turn, restored also if the turn panics.
struct OuterDepth(u32);

impl Drop for OuterDepth {
    fn drop(&mut self) {
        STATE.set(self.0 & !PARKED | STATE.get() & PARKED);
    }
}

/// One call into user code.
pub(crate) struct Frame(());

impl Frame {
    #[inline]
    pub(crate) fn enter() -> Frame {
        STATE.set(STATE.get() + 1);
        Frame(())
    }

    /// The same, unless as many are nested as may be: then the call is to be parked.
    #[inline]
    pub(crate) fn within_depth() -> Option<Frame> {
        let state = STATE.get();
        (state & !PARKED < DEPTH).then(|| {
            STATE.set(state + 1);
            Frame(())
        })
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        let left = STATE.get() - 1;
        STATE.set(left);
        if left == PARKED {
            settle();
        }
    }
}

/// How many stages of one chain may run one inside the other. A chain fired from a chain gets half as many, so that the
/// stages of all nested chains stay below a hundred or so.
#[inline]
pub(crate) fn stages() -> u32 {
    let depth = STATE.get() & !PARKED;
    (DEPTH >> (depth - 1).min(31)).max(2)
}

/// Keeps `call` until the outermost frame returns.
#[cold]
pub(crate) fn park(call: Call) {
    // A thread that is ending has no frame that would run it.
    let parked = CALLS.try_with(|calls| calls.borrow_mut().0.push_back(call));
    if parked.is_ok() {
        STATE.set(STATE.get() | PARKED);
    }
}

#[cold]
#[inline(never)]
fn settle() {
    // While a panic goes on outside of all frames, nothing can run. The next frame is early enough.
    if std::thread::panicking() {
        return;
    }
    // Nested frames are not outermost.
    STATE.set(PARKED + 1);
    while let Some(call) = next() {
        // Callbacks are caught where they run. What is left is a user's value that panics when dropped.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
            log::error!("a value dropped in a callback panicked: {}", panic_message(payload));
        }
    }
    STATE.set(0);
}

fn next() -> Option<Call> {
    let next = CALLS.try_with(|calls| {
        let calls = &mut calls.borrow_mut().0;
        let call = calls.pop_front();
        if call.is_none() {
            // A burst of parked calls is rare; its memory goes back.
            *calls = VecDeque::new();
        }
        call
    });
    next.ok().flatten()
}
