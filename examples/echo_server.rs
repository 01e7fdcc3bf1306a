//! cargo run --example echo_server -- [--listen ADDRESS]
//!
//! Sends everything it receives back, for any number of clients at once. ADDRESS is an IP address and port, such as
//! `127.0.0.1:8000` (the default), or an endpoint string, such as `unix:/tmp/echo.sock`.

use clap::Parser;
use twistor::prelude::*;

/// One per connection; it has no state.
struct Echo;

impl Protocol for Echo {
    /// Applies backpressure: the transport buffers data that it cannot send yet, and a peer that sends without reading
    /// would make that buffer grow. As its own producer, the connection is read only as fast as it is written.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        Ok(transport.register_producer(transport.clone())?)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.unregister_producer();
        transport.lose_connection();
        Ok(())
    }
}

#[derive(Parser)]
struct Options {
    /// An IP address and port, or an endpoint string
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: String,
}

fn main() -> Result<(), Failure> {
    let Options { listen } = Options::parse();
    let endpoint = match listen.parse() {
        Ok(address) => ServerEndpoint::tcp(address),
        Err(_) => listen.parse()?,
    };
    let reactor = Reactor::new()?;
    let port = endpoint.listen(&reactor, |_peer| Echo)?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
