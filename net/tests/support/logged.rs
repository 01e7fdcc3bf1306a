//! The log records of a test's thread.

use std::cell::{Cell, RefCell};

use log::LevelFilter;

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Each test has its own, though the logger is the process's.
    static LEVEL: Cell<LevelFilter> = const { Cell::new(LevelFilter::Off) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= LEVEL.get()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.with_borrow_mut(|logged| logged.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Starts recording warnings and errors.
pub fn keep_log() {
    keep_log_from(LevelFilter::Warn);
}

/// Starts recording at this level and above.
pub fn keep_log_from(level: LevelFilter) {
    // Another test may have set the logger.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Debug);
    LEVEL.set(level);
    logged();
}

/// Returns and removes the recorded log lines.
pub fn logged() -> Vec<String> {
    LOGGED.take()
}
