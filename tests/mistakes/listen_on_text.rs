//! compiler: expected `ServerEndpoint`, found `&str`
//! readme: expected `ServerEndpoint`, found `&str`

use twistor::http::server::{Site, Tree};
use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    Site::new(&reactor, Tree::new()).listen("tcp:8080")?;
    Ok(reactor.run()?)
}
