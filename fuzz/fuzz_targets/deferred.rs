//! Deferreds: a program of chains that are made, added to, fired, cancelled and dropped, also from inside callbacks,
//! is seen by the crate as by the plain interpreter of `deferred/tests`.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

#[path = "../../deferred/tests/support/interpreter.rs"]
mod interpreter;
#[path = "../../deferred/tests/support/program.rs"]
mod program;
#[path = "../../deferred/tests/support/runner.rs"]
mod runner;

fuzz_target!(init: twistor_fuzz::allow_panics("boom"), |data: &[u8]| {
    let mut choices = Unstructured::new(data);
    // Bytes that have run out choose the first of all.
    let program = program::random(&mut |limit| choices.int_in_range(0..=limit - 1).unwrap_or(0));
    let expected = interpreter::run(&program);
    assert_eq!(runner::run(&program), expected, "{program:#?}");
});
