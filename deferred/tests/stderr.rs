//! What a program without a logger shows: D11.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use twistor_deferred::{Failure, fail, log_to_stderr, succeed};

const AS_PROGRAM: &str = "TWISTOR_TEST_AS_PROGRAM";

/// This file's tests are run once more, as a program of their own whose standard error can be read.
fn errors_of(test: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(AS_PROGRAM, "yes")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn is_program() -> bool {
    std::env::var_os(AS_PROGRAM).is_some()
}

// D11
#[test]
fn a_failure_that_nobody_handled_is_printed_once_that_was_asked_for() {
    if is_program() {
        drop(fail::<()>(Failure::new("before")));
        log_to_stderr();
        log_to_stderr(); // the second time it changes nothing
        log::info!("of no interest");
        drop(succeed("eighty").add_callback(|text| Ok(text.parse::<u16>()?)));
        return;
    }
    let errors = errors_of("a_failure_that_nobody_handled_is_printed_once_that_was_asked_for");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 1, "{errors}");
    let line = "error: unhandled failure: invalid digit found in string (in the Deferred made at ";
    assert!(lines[0].starts_with(&format!("{line}{}:", file!())), "{errors}");
}

/// A logger that the program has set up before.
struct Own;

impl log::Log for Own {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("own: {}", record.args());
    }

    fn flush(&self) {}
}

// D11
#[test]
fn a_logger_that_is_there_stays() {
    if is_program() {
        log::set_logger(&Own).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        log_to_stderr();
        log::info!("heard");
        return;
    }
    assert_eq!(errors_of("a_logger_that_is_there_stays"), "own: heard\n");
}
