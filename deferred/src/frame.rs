//! The nesting depth of user code on this thread, and the calls that are parked until the outermost frame returns.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The number of nested frames beyond which callbacks are parked.
const DEPTH: u32 = 32;

/// Set while calls are parked. It shares an integer with the depth, so that leaving a frame takes one comparison.
const PARKED: u32 = 1 << 31;

type Call = Box<dyn FnOnce()>;

// Thread-local, because a Deferred belongs to no loop, and a trigger can be fired from anywhere on its thread.
thread_local! {
    static STATE: Cell<u32> = const { Cell::new(0) };
    static CALLS: RefCell<ParkedCalls> = const { RefCell::new(ParkedCalls(VecDeque::new())) };
}

struct ParkedCalls(VecDeque<Call>);

impl Drop for ParkedCalls {
    /// Drops the parked calls when the thread ends, without running them. A panic here would abort the process.
    fn drop(&mut self) {
        STATE.set(1);
        while let Some(call) = self.0.pop_front() {
            drop(guarded(|| drop(call)));
        }
    }
}

/// Runs user code and catches its panic. For event loops, protocols and other libraries that call closures.
///
/// Some work cannot run at the moment when it arises: a [`Trigger`](crate::Trigger) that is dropped while a panic unwinds
/// cannot fire, and a callback beyond a fixed depth would overflow the stack. Such work is parked. The outermost call of
/// this function on the thread runs it, in order, before it returns. Every function of this crate that calls user code
/// does the same, so a program needs `guarded` only around other code that may panic.
///
/// ```
/// use twistor::deferred::{Abandoned, guarded};
/// use twistor::prelude::*;
///
/// let (answer, trigger) = Deferred::<u64>::new();
/// let result = guarded(move || {
///     let number: u64 = "x".parse().unwrap(); // panics, and drops the trigger
///     trigger.callback(number);
/// });
/// assert!(result.is_err());
/// assert!(matches!(answer.try_result(), Ok(Err(failure)) if failure.is::<Abandoned>()));
/// ```
///
/// # Errors
/// The message of the panic, if `code` panics. A second panic, in the drop of the panic's payload, is caught too.
///
/// # Re-entrancy
/// Calls may be nested. An event loop that can run inside a callback wraps each turn in [`loop_turn`].
#[inline]
pub fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    let _frame = Frame::enter();
    catch_unwind(AssertUnwindSafe(code)).map_err(panic_message)
}

/// Runs one turn of an event loop, in which the next call of [`guarded`] counts as outermost.
///
/// A program may run a loop inside a callback. Without `loop_turn`, parked work would wait for the callback to return
/// while the callback waits for the parked work.
#[inline]
pub fn loop_turn<R>(turn: impl FnOnce() -> R) -> R {
    let _outer = OuterDepth(STATE.replace(STATE.get() & PARKED));
    turn()
}

/// Restores the depth outside of a loop's turn, even if the turn panics.
struct OuterDepth(u32);

impl Drop for OuterDepth {
    #[inline]
    fn drop(&mut self) {
        STATE.set(self.0 & !PARKED | STATE.get() & PARKED);
    }
}

/// One call into user code, counted in the depth.
pub(crate) struct Frame(());

impl Frame {
    #[inline]
    pub(crate) fn enter() -> Frame {
        STATE.set(STATE.get() + 1);
        Frame(())
    }

    /// Enters a frame unless the depth limit is reached. After `None`, the caller parks its call.
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

/// Returns how many stages of one chain may be nested on the stack. Each chain that is fired inside another gets half as
/// many, so that all nested chains together have about a hundred.
#[inline]
pub(crate) fn stages() -> u32 {
    let depth = STATE.get() & !PARKED;
    (DEPTH >> (depth - 1).min(31)).max(2)
}

/// Parks `call` until the outermost frame returns.
#[cold]
pub(crate) fn park(call: Call) {
    // When the thread is ending, the call is dropped: no frame is left to run it.
    let parked = CALLS.try_with(|calls| calls.borrow_mut().0.push_back(call));
    if parked.is_ok() {
        STATE.set(STATE.get() | PARKED);
    }
}

#[cold]
#[inline(never)]
fn settle() {
    // While a panic unwinds outside of all frames, callbacks would see half-changed state. The next frame runs them.
    if std::thread::panicking() {
        return;
    }
    // Depth 1, so that the frames of the parked calls do not settle again.
    STATE.set(PARKED + 1);
    while let Some(call) = next() {
        // Callbacks are caught where they run. This catches user values that panic when they are dropped.
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
            // A burst of parked calls is rare, so its memory is released.
            *calls = VecDeque::new();
        }
        call
    });
    next.ok().flatten()
}

/// Returns the message of a panic. If dropping the payload panics, that panic is caught and its own payload leaked, since
/// dropping that one might panic again, without end.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            let message = payload.downcast_ref::<&str>().copied().unwrap_or("a payload that is not a string");
            let message = message.to_owned();
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                mem::forget(another);
            }
            message
        }
    }
}
