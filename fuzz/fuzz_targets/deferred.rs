//! Deferreds: a program of chains that are created, extended, fired, cancelled and dropped, also inside callbacks, behaves
//! as the simple interpreter in `deferred/tests` says.

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
    // When the bytes run out, the first alternative is chosen.
    let program = program::random(&mut |limit| choices.int_in_range(0..=limit - 1).unwrap_or(0));
    let expected = interpreter::run(&program);
    assert_eq!(runner::run(&program), expected, "{program:#?}");
});
