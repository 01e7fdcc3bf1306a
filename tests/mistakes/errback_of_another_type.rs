//! compiler: this errback returns `()`, but the chain continues with `{integer}`
//! note: return `Ok(value)` to recover with another value, or `Err(failure)` to pass the failure on

use twistor::prelude::*;

fn main() {
    let _ = succeed(1).add_errback(|failure| println!("{failure}")).add_callback(|n| println!("{n}"));
}
