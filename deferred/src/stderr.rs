//! The smallest logger, for programs without one.

use log::{LevelFilter, Log, Metadata, Record};

/// Installs a logger that prints warnings and errors to standard error, for programs that have no other logger.
/// Twisted: `startLogging(sys.stderr)`.
///
/// Problems without a caller to report to are logged through the crate `log`: an unhandled failure, a panic in a timer, a
/// failed request inside a server. A program without a logger does not see them. If a logger is already installed, this
/// function does nothing.
///
/// ```
/// use twistor::prelude::*;
///
/// log_to_stderr();
/// let port = succeed("eighty").add_callback(|text| Ok(text.parse::<u16>()?));
/// drop(port); // error: unhandled failure: invalid digit found in string (in the Deferred made at src/main.rs:5:16)
/// ```
pub fn log_to_stderr() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Unlike `eprintln!` this does not panic where standard error is closed.
            let line = format!("{}: {}\n", record.level().as_str().to_lowercase(), record.args());
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
    }

    fn flush(&self) {}
}
