//! An echo server over TLS.

use twistor::net::tls::ServerTls;
use twistor::net::{Failure, Protocol, ServerEndpoint, Transport};
use twistor::reactor::Reactor;

use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

#[derive(Default)]
struct Echo(Tally);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        Ok(transport.set_nodelay(true)?)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.count(data);
        transport.write(data);
        Ok(())
    }
}

/// `CERTIFICATE KEY`: files.
pub fn serve(arguments: &Arguments<'_>) {
    let tls = ServerTls::from_files(arguments.text(0), arguments.text(1)).expect("a certificate");
    let reactor = Reactor::new().expect("a reactor");
    let endpoint = ServerEndpoint::tls("127.0.0.1:0".parse().expect("an address"), tls);
    let port = endpoint.listen(&reactor, |_| Echo::default()).expect("listen");
    say_listening(format_args!("127.0.0.1:{}", port.address().port().expect("a port")));
    reactor.run().expect("run");
}
