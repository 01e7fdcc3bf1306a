//! cargo run --example print_later
//!
//! The tutorial's first program: a Deferred that a timer fires.

use std::time::Duration;

use twistor::prelude::*;

/// Prints the message after one second.
fn print_later(reactor: &Handle, message: &'static str) -> Deferred<()> {
    defer_later(reactor, Duration::from_secs(1), move || println!("{message}"))
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    reactor.run_until(print_later(&reactor, "The future is now!"))
}
