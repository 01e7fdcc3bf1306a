//! compiler: `reactor` does not live long enough
//! readme: `reactor` does not live long enough

use std::time::Duration;

use twistor::prelude::*;

async fn work(reactor: &Handle) -> Result<(), Failure> {
    reactor.sleep(Duration::from_secs(1)).await
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    reactor.run_until(reactor.spawn(work(&reactor)))
}
