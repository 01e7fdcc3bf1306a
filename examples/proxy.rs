//! cargo run --example proxy -- [--listen ADDRESS] TARGET
//!
//! Passes connections on to TARGET, byte for byte, in both directions: `proxy --listen 127.0.0.1:8000 example.com:80`.
//! TARGET is HOST:PORT or an endpoint string, as `unix:/run/app.sock`. However much faster one side is than the other,
//! little is kept here: each side is read no faster than the other side takes it.
//!
//! ADDRESS may be an endpoint string, too. So the same program ends TLS in front of a server that knows none:
//! `proxy --listen ssl:8443:privateKey=key.pem:certKey=cert.pem 127.0.0.1:80`.

use std::cell::RefCell;
use std::rc::Rc;

use clap::Parser;
use twistor::net::{ConnectionDone, EndpointError};
use twistor::prelude::*;

/// The two ends of one connection through the proxy; each is there once it is connected.
type Pair = Rc<RefCell<[Option<Transport>; 2]>>;

/// One end: what it receives goes to the other.
struct End {
    pair: Pair,
    own: usize,
    /// Where the near end finds the far one.
    target: Option<(Handle, ClientEndpoint)>,
}

impl End {
    fn connect_onward(&self, near: &Transport, reactor: &Handle, target: &ClientEndpoint) {
        let far = End { pair: self.pair.clone(), own: 1 - self.own, target: None };
        let (near, peer) = (near.clone(), near.peer());
        let connecting = target.connect(reactor, far).add_callbacks(
            |_| (),
            move |failure| {
                let peer = peer.map_or_else(Default::default, |peer| peer.to_string());
                eprintln!("a connection from {peer} was closed: {failure}");
                near.abort_connection();
            },
        );
        drop(connecting);
    }

    fn other(&self) -> Option<Transport> {
        self.pair.borrow()[1 - self.own].clone()
    }
}

impl Protocol for End {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.pair.borrow_mut()[self.own] = Some(transport.clone());
        if let Some((reactor, target)) = self.target.take() {
            // The near end waits for the far one.
            transport.pause_producing();
            self.connect_onward(transport, &reactor, &target);
        } else if let Some(other) = self.other() {
            // Each produces what the other sends, and is paused while the other cannot send it.
            transport.register_producer(other.clone())?;
            other.register_producer(transport.clone())?;
            other.resume_producing();
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

    /// An end is passed on as an end, and a reset as a reset, after what came before it.
    fn connection_lost(&mut self, reason: Failure) {
        let Some(other) = self.other() else { return };
        if reason.is::<ConnectionDone>() {
            other.unregister_producer();
            other.lose_connection();
        } else {
            // Until then this end stays registered as the other's producer, which keeps that from closing in order.
            drop(other.drained().add_both(move |_| other.abort_connection()));
        }
    }
}

#[derive(Parser)]
struct Options {
    /// An IP address and port, or an endpoint string
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: String,
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
    let endpoint = match listen.parse() {
        Ok(address) => ServerEndpoint::tcp(address),
        Err(_) => listen.parse()?,
    };
    let reactor = Reactor::new()?;
    let (target, handle) = (target(&to)?, reactor.handle());
    let port = endpoint.listen(&reactor, move |_peer| End {
        pair: Pair::default(),
        own: 0,
        target: Some((handle.clone(), target.clone())),
    })?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
