//! compiler: `Echo` is not a protocol factory
//! note: pass a closure that returns a protocol for each connection: `|_peer| …`

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
    ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, Echo)?;
    Ok(())
}
