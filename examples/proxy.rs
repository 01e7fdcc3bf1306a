//! cargo run --example proxy -- [--listen ADDRESS] TARGET
//!
//! Passes connections on to TARGET, byte for byte, in both directions: `proxy --listen 127.0.0.1:8000 example.com:80`.
//! TARGET is HOST:PORT or an endpoint string, as `unix:/run/app.sock`. However much faster one side is than the other,
//! little is kept here: each side is read no faster than the other side takes it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use clap::Parser;
use twistor::net::{Address, EndpointError, Factory};
use twistor::prelude::*;

/// The two ends of one connection through the proxy; each is there once it is connected.
type Pair = Rc<RefCell<[Option<Transport>; 2]>>;

/// One end: what it receives goes to the other.
struct End {
    pair: Pair,
    own: usize,
}

impl End {
    fn other(&self) -> Option<Transport> {
        self.pair.borrow()[1 - self.own].clone()
    }
}

impl Protocol for End {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.pair.borrow_mut()[self.own] = Some(transport.clone());
        match self.other() {
            // The first to be there waits for the other.
            None => transport.pause_producing(),
            // Each produces what the other sends, and is paused while the other cannot send it.
            Some(other) => {
                transport.register_producer(other.clone())?;
                other.register_producer(transport.clone())?;
                other.resume_producing();
            }
        }
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        if let Some(other) = self.other() {
            other.write(data);
        }
        Ok(())
    }

    /// One direction is at its end; the other may go on.
    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        if let Some(other) = self.other() {
            other.unregister_producer();
            other.lose_write_connection();
        }
        Ok(())
    }

    /// As this end's producer the other was told to stop, which closes it, unless it had unregistered.
    fn connection_lost(&mut self, _: Failure) {
        if let Some(other) = self.other() {
            other.unregister_producer();
            other.lose_connection();
        }
    }
}

struct Proxy {
    reactor: Handle,
    target: ClientEndpoint,
}

impl Factory for Proxy {
    type Protocol = End;

    fn build_protocol(&mut self, peer: Address) -> Option<End> {
        let pair = Pair::default();
        let (near, far) = (End { pair: pair.clone(), own: 0 }, End { pair: pair.clone(), own: 1 });
        let connecting = self.target.connect(&self.reactor, far);
        drop(
            connecting
                .add_errback(move |failure| {
                    eprintln!("a connection from {peer} was closed: {failure}");
                    if let Some(near) = &pair.borrow()[0] {
                        near.abort_connection();
                    }
                    Err(failure)
                })
                .add_both(|_| Ok(())),
        );
        Some(near)
    }
}

#[derive(Parser)]
struct Options {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// HOST:PORT, or an endpoint string
    target: String,
}

fn target(text: &str) -> Result<ClientEndpoint, EndpointError> {
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.contains(':') => Ok(ClientEndpoint::tcp(host, port)),
        _ => text.parse(),
    }
}

fn main() -> Result<(), Failure> {
    let Options { listen, target: to } = Options::parse();
    let reactor = Reactor::new()?;
    let proxy = Proxy { reactor: reactor.handle(), target: target(&to)? };
    let port = ServerEndpoint::tcp(listen).listen(&reactor, proxy)?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
