//! What the thread of a test has logged.

use std::cell::RefCell;

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|logged| logged.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Begins to keep warnings and errors.
pub fn keep_log() {
    // Another test may have done so.
    let _ = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Warn);
    logged();
}

/// What was logged since it was last asked for.
pub fn logged() -> Vec<String> {
    LOGGED.take()
}
