//! The output of a program without a logger: D11.6.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use twistor_deferred::{Failure, fail, log_to_stderr, succeed};

const AS_PROGRAM: &str = "TWISTOR_TEST_AS_PROGRAM";

/// Runs one test of this file again, as a separate process, and returns its standard error.
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
fn log_to_stderr_prints_unhandled_failures() {
    if is_program() {
        drop(fail::<()>(Failure::new("before")));
        log_to_stderr();
        log_to_stderr(); // the second time it changes nothing
        log::info!("of no interest");
        drop(succeed("eighty").add_callback(|text| Ok(text.parse::<u16>()?)));
        return;
    }
    let errors = errors_of("log_to_stderr_prints_unhandled_failures");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 1, "{errors}");
    let line = "error: unhandled failure: invalid digit found in string (in the Deferred made at ";
    assert!(lines[0].starts_with(&format!("{line}{}:", file!())), "{errors}");
}

/// A logger that the program installed itself.
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
fn an_installed_logger_stays() {
    if is_program() {
        log::set_logger(&Own).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        log_to_stderr();
        log::info!("heard");
        return;
    }
    assert_eq!(errors_of("an_installed_logger_stays"), "own: heard\n");
}
