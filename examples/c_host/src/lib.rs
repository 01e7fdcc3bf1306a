//! cargo test --manifest-path examples/c_host/Cargo.toml
//!
//! The C interface of `twistor.h`. The comments there are its documentation.
//!
//! `unsafe` is confined to this file: pointers from C cannot be checked by the compiler. Each function relies on the
//! contract of the header, namely that a `twistor *` comes from `twistor_new` and was not freed, and checks the rest.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use twistor::prelude::*;

const OK: c_int = 0;
const BUSY: c_int = -1;
const WRONG_THREAD: c_int = -2;
const INVALID: c_int = -3;
const NOT_PENDING: c_int = -4;
const FAILED: c_int = -5;
const PANICKED: c_int = -6;

/// The `twistor` of the header.
pub struct Host {
    thread: ThreadId,
    /// Taken by `twistor_free`, which calls callbacks while it drops the reactor.
    reactor: RefCell<Option<Reactor>>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// Whether a callback is being called.
    calling: Cell<bool>,
    last: Cell<i64>,
    pending: RefCell<HashMap<i64, Canceller>>,
}

type PageCallback = unsafe extern "C" fn(*mut c_void, c_int, *const u8, usize, *const c_char);

/// A request's callback. Dropped without a call, it would leave the host waiting.
struct Receiver {
    callback: PageCallback,
    context: *mut c_void,
}

impl Receiver {
    fn receive(self, outcome: Result<Page, Failure>) {
        match outcome {
            Ok(page) => self.call(page.status().as_u16().into(), page.body(), None),
            Err(failure) => {
                let text = failure.to_string().replace('\0', " ");
                self.call(0, &[], CString::new(text).ok());
            }
        }
    }

    fn call(self, status: c_int, body: &[u8], error: Option<CString>) {
        let error = error.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        // SAFETY: the host gave the function for this call, and both pointers are valid until it returns.
        unsafe { (self.callback)(self.context, status, body.as_ptr(), body.len(), error) }
    }
}

/// Runs `f`, which must not panic into C.
fn guarded<T>(on_panic: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(on_panic)
}

/// Runs `f` with the reactor, if it may be used.
///
/// # Safety
///
/// `host` is null or points to a `Host` that is not freed.
unsafe fn with<T: From<i8>>(host: *const Host, f: impl FnOnce(&Host, &Reactor) -> T) -> T {
    // SAFETY: the caller's promise. Other threads read only the thread, which does not change.
    let Some(host) = (unsafe { host.as_ref() }) else { return T::from(INVALID as i8) };
    if host.thread != thread::current().id() {
        return T::from(WRONG_THREAD as i8);
    }
    guarded(T::from(PANICKED as i8), || match &*host.reactor.borrow() {
        Some(reactor) => f(host, reactor),
        // Inside `twistor_free`.
        None => T::from(BUSY as i8),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn twistor_new() -> *mut Host {
    guarded(ptr::null_mut(), || match Reactor::new() {
        Ok(reactor) => {
            let thread = thread::current().id();
            let reactor = RefCell::new(Some(reactor));
            Box::into_raw(Box::new(Host { thread, reactor, state: Rc::default() }))
        }
        Err(_) => ptr::null_mut(),
    })
}

/// # Safety
///
/// See [`with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_fd(host: *const Host) -> c_int {
    unsafe { with(host, |_, reactor| reactor.as_raw_fd()) }
}

/// # Safety
///
/// See [`with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_deadline_ms(host: *const Host) -> c_int {
    unsafe {
        with(host, |_, reactor| match reactor.next_deadline() {
            Some(deadline) => milliseconds(deadline.saturating_duration_since(Instant::now())),
            None => -1,
        })
    }
}

/// Rounds up: a wait that ends early would find nothing due.
fn milliseconds(wait: Duration) -> c_int {
    c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// # Safety
///
/// See [`with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_turn(host: *mut Host) -> c_int {
    unsafe {
        with(host, |host, reactor| {
            if host.state.calling.get() || reactor.is_in_turn() {
                return BUSY;
            }
            reactor.turn(Some(Duration::ZERO)).map_or(FAILED, |_| OK)
        })
    }
}

/// # Safety
///
/// See [`with`]. `url` is null or text that ends with a zero. `callback` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_get_page(
    host: *mut Host,
    url: *const c_char,
    callback: Option<PageCallback>,
    context: *mut c_void,
) -> i64 {
    if url.is_null() {
        return INVALID.into();
    }
    // SAFETY: the caller's promise.
    let url = unsafe { CStr::from_ptr(url) };
    let (Ok(url), Some(callback)) = (url.to_str(), callback) else { return INVALID.into() };
    let (url, receiver) = (url.to_owned(), Receiver { callback, context });
    unsafe { with(host, |host, reactor| get(&host.state, reactor, url, receiver)) }
}

fn get(state: &Rc<State>, reactor: &Reactor, url: String, receiver: Receiver) -> i64 {
    let number = state.last.get() + 1;
    state.last.set(number);
    let handle = reactor.handle();
    // A task begins in the next turn, so that the host knows the number before its callback is called.
    let page = reactor.spawn(async move { get_page(&handle, url).await });
    state.pending.borrow_mut().insert(number, page.canceller());
    let state = state.clone();
    page.add_both(move |outcome| {
        state.pending.borrow_mut().remove(&number);
        let outer = state.calling.replace(true);
        receiver.receive(outcome);
        state.calling.set(outer);
    })
    .detach();
    number
}

/// # Safety
///
/// See [`with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_cancel(host: *mut Host, request: i64) -> c_int {
    unsafe {
        with(host, |host, _| {
            let canceller = host.state.pending.borrow_mut().remove(&request);
            match canceller {
                Some(canceller) => {
                    canceller.cancel();
                    OK
                }
                None => NOT_PENDING,
            }
        })
    }
}

/// # Safety
///
/// See [`with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twistor_free(host: *mut Host) -> c_int {
    if host.is_null() {
        return OK;
    }
    let refused = unsafe {
        with(host, |host, reactor| if host.state.calling.get() || reactor.is_in_turn() { BUSY } else { OK })
    };
    if refused != OK {
        return refused;
    }
    guarded(PANICKED, || {
        // SAFETY: the caller's promise, and no callback is under way that would use it after this.
        let reactor = unsafe { &*host }.reactor.take();
        drop(reactor);
        // SAFETY: made by `Box::into_raw` in `twistor_new`.
        drop(unsafe { Box::from_raw(host) });
        OK
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_at_the_border() {
        let host = twistor_new();
        let turned = unsafe { with(host, |_, _| -> c_int { panic!("a bug in the library") }) };
        assert_eq!(turned, PANICKED);
        assert_eq!(unsafe { twistor_turn(host) }, OK);
        assert_eq!(unsafe { twistor_free(host) }, OK);
    }

    #[test]
    fn another_thread_is_refused() {
        let host = twistor_new();
        let address = host as usize;
        let codes = thread::spawn(move || {
            let host = address as *mut Host;
            unsafe { [twistor_fd(host), twistor_turn(host), twistor_cancel(host, 1), twistor_free(host)] }
        });
        assert_eq!(codes.join().unwrap(), [WRONG_THREAD; 4]);
        assert_eq!(unsafe { twistor_free(host) }, OK);
    }

    #[test]
    fn bad_arguments_are_refused() {
        unsafe extern "C" fn ignore(_: *mut c_void, _: c_int, _: *const u8, _: usize, _: *const c_char) {}
        let host = twistor_new();
        unsafe {
            assert_eq!(twistor_turn(ptr::null_mut()), INVALID);
            assert_eq!(twistor_free(ptr::null_mut()), OK);
            assert_eq!(twistor_get_page(host, ptr::null(), Some(ignore), ptr::null_mut()), INVALID.into());
            assert_eq!(
                twistor_get_page(host, c"\xff".as_ptr(), Some(ignore), ptr::null_mut()),
                INVALID.into()
            );
            assert_eq!(twistor_get_page(host, c"http://a/".as_ptr(), None, ptr::null_mut()), INVALID.into());
            assert_eq!(twistor_cancel(host, 1), NOT_PENDING);
            assert_eq!(twistor_free(host), OK);
        }
    }

    #[test]
    fn deadlines_are_rounded_up_to_milliseconds() {
        for (wait, rounded) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(2), 2),
            (Duration::from_micros(2_001), 3),
            (Duration::MAX, c_int::MAX),
        ] {
            assert_eq!(milliseconds(wait), rounded);
        }
    }
}
