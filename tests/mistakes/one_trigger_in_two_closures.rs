//! compiler: use of moved value: `trigger`
//! readme: use of moved value: `trigger`

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let (answer, trigger) = Deferred::<u64>::new();
    reactor.call_later(Duration::from_secs(1), move || trigger.callback(1));
    reactor.call_later(Duration::from_secs(2), move || trigger.callback(2));
    reactor.run_until(answer)?;
    Ok(())
}
