//! A client and a server on a simulated reactor.

use std::time::Duration;

use twistor::net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
use twistor::reactor::{Handle, Reactor};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

const MESSAGE: [u8; 64] = [b'm'; 64];

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

struct Caller {
    reactor: Handle,
    trips: u64,
    received: usize,
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(&MESSAGE);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.received += data.len();
        if self.received == MESSAGE.len() {
            self.received = 0;
            self.trips -= 1;
            match self.trips {
                0 => self.reactor.stop(),
                _ => _ = transport.write(&MESSAGE),
            }
        }
        Ok(())
    }
}

/// `TRIPS`.
pub fn run(arguments: &Arguments<'_>) {
    let trips = arguments.number(0);
    let reactor = Reactor::simulated(1);
    let network = SimulatedNetwork::of(&reactor).expect("it is simulated");
    network.set_latency(Duration::from_millis(1), Duration::from_millis(10));
    network.set_splitting(false);
    let clock = Stopwatch::start();
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse().expect("an address")).listen(&reactor, |_| Echo);
    let address = port.expect("listen").address().ip().expect("an address of TCP");
    let caller = Caller { reactor: reactor.handle(), trips, received: 0 };
    let connected = ClientEndpoint::tcp("127.0.0.1", address.port()).connect(&reactor, caller);
    drop(connected);
    reactor.run().expect("run");
    clock.stop(trips).report();
}
