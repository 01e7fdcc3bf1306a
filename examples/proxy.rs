//! cargo run --example proxy -- [--listen ADDRESS] TARGET
//!
//! Passes connections on to TARGET, byte for byte, in both directions: `proxy --listen 127.0.0.1:8000
//! example.com:80`. TARGET is HOST:PORT or an endpoint string, such as `unix:/run/app.sock`. The proxy buffers
//! little, even if one side is much faster than the other: it reads each side only as fast as it can write to the
//! other.
//!
//! ADDRESS may also be an endpoint string. So the same program terminates TLS in front of a server that does not
//! speak it: `proxy --listen ssl:8443:privateKey=key.pem:certKey=cert.pem 127.0.0.1:80`.

use clap::Parser;
use twistor::net::{ConnectionDone, EndpointError};
use twistor::prelude::*;

/// One side of the proxy: it passes everything that it receives to the other side.
struct End {
    /// None on the near side until the far side is connected.
    other: Option<Transport>,
    /// The reactor and the endpoint with which the near side connects the far side.
    target: Option<(Handle, ClientEndpoint)>,
}

impl End {
    fn connected(&mut self, near: &Transport, far: Result<Transport, Failure>) -> Result<(), Failure> {
        let far = match far {
            Ok(far) => far,
            Err(failure) => {
                let peer = near.peer().map_or_else(Default::default, |peer| peer.to_string());
                eprintln!("closed a connection from {peer}: {failure}");
                near.abort_connection();
                return Ok(());
            }
        };
        // Each side produces the other's output, and is paused while the other cannot send more.
        far.register_producer(near.clone())?;
        near.register_producer(far.clone())?;
        near.resume_producing();
        self.other = Some(far);
        Ok(())
    }
}

impl Protocol for End {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        if let Some((reactor, target)) = self.target.take() {
            // The near side waits for the far side. If the client leaves in the meantime, that cancels the
            // connection attempt.
            transport.pause_producing();
            let far = End { other: Some(transport.clone()), target: None };
            transport.deliver(target.connect(&reactor, far), Self::connected);
        }
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        if let Some(other) = &self.other {
            other.write(data);
        }
        Ok(())
    }

    /// Passes on the end of one direction. The other direction may continue.
    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        if let Some(other) = &self.other {
            other.unregister_producer();
            other.lose_write_connection();
        }
        Ok(())
    }

    /// Passes on a close as a close and a reset as a reset, after all data before it.
    fn connection_lost(&mut self, reason: Failure) {
        let Some(other) = self.other.take() else { return };
        if reason.is::<ConnectionDone>() {
            other.unregister_producer();
            other.lose_connection();
        } else {
            // Until the data is sent, this side stays registered as the other's producer, so the other cannot close
            // gracefully.
            other.drained().add_both(move |_| other.abort_connection()).detach();
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
    let port = endpoint
        .listen(&reactor, move |_peer| End { other: None, target: Some((handle.clone(), target.clone())) })?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
