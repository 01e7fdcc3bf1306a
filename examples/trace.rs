//! cargo run --features trace --example trace [-- FILE]
//!
//! Draws the path of a result as the two ladders that tutorials draw: callbacks on the left, errbacks on the right.
//! Prints the path as text and writes the picture to FILE. `trace.svg` beside this program is such a picture.

use std::time::Duration;

use twistor::deferred::trace;
use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let (input, trigger) = Deferred::<&str>::new();
    let handle = reactor.handle();
    let answer = input
        .named("input")
        .add_callback(|text| Ok(text.parse::<u64>()?))
        .named("parse")
        .add_errback(|_| Ok(7))
        .named("else seven")
        .add_callback(move |n| defer_later(&handle, Duration::from_millis(10), move || Ok(6 * n)))
        .named("six times, slowly")
        .add_callback(|n| println!("it is {n}"))
        .named("print");

    println!("before: {}", trace::live());
    let path = answer.path();
    trigger.callback("seven");
    println!("meanwhile: {}", trace::live());
    reactor.run_until(answer)?;

    println!("{path}");
    if let Some(file) = std::env::args_os().nth(1) {
        std::fs::write(file, path.svg())?;
    }
    Ok(())
}
