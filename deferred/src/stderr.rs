//! Where complaints go in a program that has set up nothing for them.

use log::{LevelFilter, Log, Metadata, Record};

/// Has what is logged as a warning or an error printed to standard error, for programs that set up no logger of their
/// own. Twisted's `startLogging(sys.stderr)`.
///
/// A failure that nobody handled, a panic in a timer, a request that failed inside a server: what there is nobody else
/// to tell is logged, through the crate `log`, and a program without a logger never shows it. If there is one already,
/// nothing changes: it stays, and this is no error.
///
/// ```
/// twistor_deferred::log_to_stderr();
/// let port = twistor_deferred::succeed("eighty").add_callback(|text| Ok(text.parse::<u16>()?));
/// drop(port); // error: unhandled failure in the Deferred made at src/main.rs:3:12: invalid digit found in string …
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
