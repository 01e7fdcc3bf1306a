//! compiler: borrow of moved value: `reactor`
//! readme: borrow of moved value: `reactor`

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let later = succeed(1).add_callback(move |n| defer_later(&reactor, Duration::from_secs(n), || ()));
    reactor.run_until(later)
}
