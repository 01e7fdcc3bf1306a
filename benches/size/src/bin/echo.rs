//! A minimal echo server.

use twistor::prelude::*;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, |_peer| Echo)?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
