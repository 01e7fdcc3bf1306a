//! compiler: no method named `run_until` found for struct `Handle`
//! readme: no method named `run_until` found for struct `Handle`

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let handle = reactor.handle();
    reactor.run_until(succeed(1).add_callback(move |_| handle.run_until(succeed(2))))?;
    Ok(())
}
