//! cargo run --example deferred_pool
//!
//! A DeferredPool in its general form: `defer_until` takes a predicate, which runs each time a member of the pool fires,
//! and returns a Deferred that fires when the predicate is true. Each guest pays and leaves. The cook may go when two
//! guests are left, and the waiter when all have left: `defer_until_empty` is the shortcut for that.

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let guests = DeferredPool::new();
    let meals = [("Ada", 30), ("Edsger", 10), ("Grace", 20), ("Barbara", 40)].map(|(name, minutes)| {
        let minutes = Duration::from_millis(10 * minutes);
        let meal = defer_later(&reactor, minutes, move || println!("{name} leaves"));
        guests.add(meal) // the pool counts it and changes nothing about it
    });
    let cook = guests.defer_until(|left| left == 2).add_callback(|()| println!("the cook goes home"));
    let waiter = guests.defer_until_empty(true).add_callback(|()| println!("the waiter goes home"));
    reactor.run_until(join((gather_results(meals), cook, waiter)))?;
    Ok(())
}
