//! Panics in the thread of a test. The library catches the panics of handlers and callbacks. A failed
//! assertion in one of them is such a panic, and without this the test would pass.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use twistor_net::simulation::try_explore;

thread_local! {
    static PANICKED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Starts recording panics.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An exploration sets a hook, too. If two threads set one at the same time, each on top of the same hook, one of
        // them is lost. After this, the exploration's hook is set.
        let _ = try_explore(0..1, |_| ());
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = PANICKED.try_with(|panicked| panicked.borrow_mut().push(panic.to_string()));
            before(panic);
        }));
    });
    PANICKED.take();
}

/// Fails if there was a panic that was not on purpose.
#[track_caller]
pub fn check() {
    let unexpected: Vec<_> =
        PANICKED.take().into_iter().filter(|panic| !panic.contains("on purpose")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}
