//! An echo server: a protocol that writes the data it receives.

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
        if transport.is_full() {
            hold(transport);
        }
        Ok(())
    }
}

/// Stops reading until everything is sent, as the other servers do.
fn hold(transport: &Transport) {
    transport.pause_producing();
    let reader = transport.clone();
    drop(transport.drained().add_both(move |sent| {
        reader.resume_producing();
        sent
    }));
}

pub fn serve(_: &Arguments<'_>) {
    let reactor = Reactor::new().expect("a reactor");
    let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse().expect("an address"));
    let port = endpoint.listen(&reactor, |_| Echo::default()).expect("listen");
    say_listening(format_args!("127.0.0.1:{}", port.address().port().expect("a port")));
    reactor.run().expect("run");
}
