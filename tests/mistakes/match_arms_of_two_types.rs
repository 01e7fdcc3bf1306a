//! compiler: `match` arms have incompatible types
//! readme: `match` arms have incompatible types

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let handle = reactor.handle();
    let doubled = succeed(1).add_callback(move |n| match n {
        0 => Ok(0),
        n => defer_later(&handle, Duration::from_secs(1), move || Ok(2 * n)),
    });
    reactor.run_until(doubled)?;
    Ok(())
}
