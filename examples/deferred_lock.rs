//! cargo run --example deferred_lock
//!
//! A DeferredLock: `acquire` returns a Deferred that fires when the lock is acquired, in the order of the requests.
//! Three clerks share one pen, and no thread blocks.

use std::time::Duration;

use twistor::prelude::*;

fn sign(reactor: &Handle, pen: &DeferredLock, clerk: &'static str) -> Deferred<()> {
    let reactor = reactor.handle();
    println!("{clerk} asks for the pen");
    pen.run(move || {
        println!("{clerk} has the pen");
        defer_later(&reactor, Duration::from_millis(100), move || println!("{clerk} has signed"))
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let pen = DeferredLock::new();
    let signatures = ["Ada", "Grace", "Edsger"].map(|clerk| sign(&reactor, &pen, clerk));
    reactor.run_until(DeferredList::new(signatures).add_callback(|_| println!("all have signed")))
}
