//! Benchmarks of twistor and its peers: one command, one run, the same load for all. See README.md.

mod load;
mod peers;
mod runner;
mod workloads;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == runner::child::MARK => runner::child::become_child(rest),
        _ => runner::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
