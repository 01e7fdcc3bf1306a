//! An echo server: a protocol that writes what it gets.

use twistor::net::{Failure, Protocol, ServerEndpoint, Transport};
use twistor::reactor::Reactor;

use crate::runner::child::{Arguments, say_listening};

/// Sixteen bytes, as a small protocol has.
#[derive(Default)]
struct Echo {
    messages: u64,
    bytes: u64,
}

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        Ok(transport.set_nodelay(true)?)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.messages += 1;
        self.bytes += data.len() as u64;
        transport.write(data);
        Ok(())
    }
}

pub fn serve(_: &Arguments<'_>) {
    let reactor = Reactor::new().expect("a reactor");
    let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse().expect("an address"));
    let port = endpoint.listen(&reactor, |_| Echo::default()).expect("listen");
    say_listening(format_args!("127.0.0.1:{}", port.address().port().expect("a port")));
    reactor.run().expect("run");
}
