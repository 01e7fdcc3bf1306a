//! compiler: cannot find value `looping` in this scope
//! readme: cannot find value `looping` in this scope

use std::time::Duration;

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let mut n = 0;
    let looping = LoopingCall::new(&reactor, move || {
        n += 1;
        if n == 3 {
            looping.stop();
        }
    });
    reactor.run_until(looping.start(Duration::from_millis(10)))?;
    Ok(())
}
