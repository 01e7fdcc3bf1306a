//! compiler: closure may outlive the current function, but it borrows `reactor`
//! readme: closure may outlive the current function, but it borrows `reactor`

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let later = succeed(1).add_callback(|n| defer_later(&reactor, Duration::from_secs(n), || ()));
    reactor.run_until(later)
}
