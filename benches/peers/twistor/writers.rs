//! A server of large answers. Measures the duration of its turns.

use std::cell::Cell;
use std::time::{Duration, Instant};

use twistor::net::{Failure, Producer, Protocol, ServerEndpoint, Transport};
use twistor::reactor::Reactor;

use crate::runner::child::{Arguments, Core, Running};
use crate::runner::sample::Sample;

const PIECE: usize = 256 * 1024;

/// Writes the answer in pieces.
struct Answer {
    transport: Transport,
    left: Cell<usize>,
}

impl Producer for Answer {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        let piece = self.left.get().min(PIECE);
        self.left.set(self.left.get() - piece);
        self.transport.write(&[b'x'; PIECE][..piece]);
        if self.left.get() == 0 {
            self.transport.unregister_producer();
        }
    }

    fn stop_producing(&self) {}
}

struct Writer {
    bytes: usize,
}

impl Protocol for Writer {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        let answer = Answer { transport: transport.clone(), left: Cell::new(self.bytes) };
        Ok(transport.register_pull_producer(answer)?)
    }
}

/// `CLIENTS BYTES MILLISECONDS`.
pub fn run(arguments: &Arguments<'_>) {
    let (clients, bytes) = (arguments.number(0), arguments.number(1) as usize);
    let end = Instant::now() + Duration::from_millis(arguments.number(2));
    let reactor = Reactor::new().expect("a reactor");
    let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse().expect("an address"));
    let port = endpoint.listen(&reactor, move |_| Writer { bytes }).expect("listen");
    let address = format!("127.0.0.1:{}", port.address().port().expect("a port"));
    let load = Running::start(Core::Load, "load", "hoard", &[address, clients.to_string()]);
    let _load = load.expect("the load");
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        let begun = Instant::now();
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
        longest = longest.max(begun.elapsed());
    }
    Sample::default().with("longest", longest.as_nanos() as f64).report();
}
