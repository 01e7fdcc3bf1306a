//! cargo run --example deferred_queue
//!
//! A DeferredQueue, as the mailing list explains it: `get` returns a Deferred that fires when data is available.
//! One side asks for letters before there are any; the other side puts one in now and then.

use std::time::Duration;

use twistor::prelude::*;

fn read_letters(queue: DeferredQueue<&'static str>) -> Deferred<()> {
    queue.get().add_callback(move |letter| {
        println!("got {letter}");
        if letter == "the last one" { succeed(()) } else { read_letters(queue) }
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let queue = DeferredQueue::new();
    for (tenths, letter) in [(1, "a letter"), (2, "another"), (3, "the last one")] {
        let queue = queue.clone();
        reactor.call_later(Duration::from_millis(100 * tenths), move || {
            println!("putting {letter}");
            let _ = queue.put(letter); // fails only if the queue has a limit
        });
    }
    reactor.run_until(read_letters(queue))
}
