//! cargo run --example print_later_twice
//!
//! The tutorial's second program: the same, with a Deferred that the program creates and fires itself.

use std::time::Duration;

use twistor::prelude::*;

fn print_and_pass_through(result: &'static str) -> Result<&'static str, Failure> {
    println!("{result}");
    Ok(result)
}

/// Prints the message twice after one second.
fn print_later_twice(reactor: &Handle, message: &'static str) -> Deferred<&'static str> {
    let (deferred, trigger) = Deferred::new();
    reactor.call_later(Duration::from_secs(1), move || trigger.callback(message));
    deferred
        .add_callback(print_and_pass_through) // the first receives the value that the trigger fired,
        .add_callback(print_and_pass_through) // the second the value that the first returned
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    reactor.run_until(print_later_twice(&reactor, "The future is now!"))?;
    Ok(())
}
