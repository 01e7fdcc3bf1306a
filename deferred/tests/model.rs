//! Random programs of chains, run by the crate and by a simple interpreter of the promises D1 to D6, D9 to D11 and C1 to
//! C5. Both must record the same events.
//!
//! If they differ, the test prints the seed. `MODEL_SEED=… cargo test --test model` runs only that program.

#[path = "support/interpreter.rs"]
mod interpreter;
#[path = "support/program.rs"]
mod program;
#[path = "support/runner.rs"]
mod runner;

use std::panic::{AssertUnwindSafe, catch_unwind};

use program::Op;

const PROGRAMS: u64 = 20_000;

// D1 to D6, D9 to D11, C1 to C5
#[test]
fn random_programs_behave_as_in_the_interpreter() {
    quiet_expected_panics();
    let seeds = match std::env::var("MODEL_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => {
            let first = fastrand::u64(..u64::MAX - PROGRAMS);
            println!("seeds from {first}");
            first..first + PROGRAMS
        }
    };
    let mut seen = 0;
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let program = program::random(&mut |limit| rng.usize(..limit));
        match difference(&program) {
            None => seen += program.len(),
            Some(_) => fail(seed, program),
        }
    }
    assert!(seen > 0, "the programs do nothing");
}

/// Returns the events of both, if they differ.
fn difference(program: &[Op]) -> Option<String> {
    let expected = interpreter::run(program);
    match catch_unwind(AssertUnwindSafe(|| runner::run(program))) {
        Err(_) => Some("the crate panicked".to_owned()),
        Ok(actual) if actual == expected => None,
        Ok(actual) => Some(format!("expected {expected:?}\n  actual {actual:?}")),
    }
}

/// Shortens a program to the fewest steps that still differ, and panics with it.
fn fail(seed: u64, mut program: Vec<Op>) -> ! {
    let mut at = 0;
    while at < program.len() {
        let step = program.remove(at);
        if difference(&program).is_some() {
            at = 0;
        } else {
            program.insert(at, step);
            at += 1;
        }
    }
    let steps: Vec<_> = program.iter().map(|step| format!("    {step:?}")).collect();
    let difference = difference(&program).unwrap_or_default();
    panic!("MODEL_SEED={seed}, of which this is left:\n{}\n{difference}", steps.join("\n"));
}

/// Silences the panics of the programs. There are thousands, and all are expected.
fn quiet_expected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let expected = info.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("boom"));
        if !expected {
            usual(info);
        }
    }));
}
