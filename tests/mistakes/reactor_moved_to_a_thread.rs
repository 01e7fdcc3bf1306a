//! compiler: cannot be sent between threads safely
//! readme: cannot be sent between threads safely

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let handle = reactor.handle();
    std::thread::spawn(move || handle.stop());
    reactor.run()?;
    Ok(())
}
