//! cargo run --example tls_echo
//!
//! A TLS server and its client. The program creates a certificate authority and the server's certificate at start, and
//! the client trusts that authority alone. The client sends a message and receives the echo. Then it connects again,
//! expects another name, and refuses the server's certificate.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use twistor::net::tls::{ClientTls, HandshakeFailed, ServerTls};
use twistor::prelude::*;

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        if let Some(tls) = transport.tls() {
            println!("server: {:?} asked for, {:?}", tls.server_name, tls.version);
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// Sends `text` and fires `done` when the whole echo has arrived.
struct Speaker {
    text: &'static [u8],
    heard: Vec<u8>,
    done: Option<Trigger<String>>,
}

impl Protocol for Speaker {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        if let Some(tls) = transport.tls() {
            let protocol = tls.alpn.as_deref().map(String::from_utf8_lossy);
            println!("client: {:?} with {protocol:?}", tls.version);
        }
        transport.write(self.text);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.heard.extend_from_slice(data);
        if self.heard.len() >= self.text.len() {
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        println!("client: {reason}");
        if let Some(done) = self.done.take() {
            done.callback(String::from_utf8_lossy(&self.heard).into_owned());
        }
    }
}

/// Creates an authority's certificate, a server's certificate and the server's key, as PEM.
fn certificates(name: &str) -> Result<(String, String, String), Failure> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let server =
        CertificateParams::new([name.to_owned()])?.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok((authority_pem, server.pem(), key.serialize_pem()))
}

fn main() -> Result<(), Failure> {
    let (authority, certificate, key) = certificates("localhost")?;
    let reactor = Reactor::new()?;

    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes())?
        .alpn(["echo"])
        .on_failed_handshake(|failure| println!("server: {failure}"));
    let port = ServerEndpoint::tls("127.0.0.1:0".parse()?, tls).listen(&reactor, |_peer| Echo)?;
    println!("listening on {}", port.address());
    let number = port.address().port().unwrap_or(0);

    let tls = ClientTls::trusting_pem(authority.as_bytes())?.alpn(["echo"]);
    let (heard, done) = Deferred::new();
    let speaker = Speaker { text: b"hello, in confidence", heard: Vec::new(), done: Some(done) };
    let handle = reactor.handle();
    let conversation = ClientEndpoint::tls("localhost", number, tls.clone())
        .timeout(Duration::from_secs(5))
        .connect(&reactor, speaker)
        .add_callback(|_| heard)
        .add_callback(|text| println!("client: heard {text:?}"))
        .add_callback(move |()| {
            let tls = tls.server_name("somebody.else")?;
            Ok((ClientEndpoint::tls("localhost", number, tls), handle))
        })
        .add_callback(|(endpoint, handle)| endpoint.connect(&handle, Echo))
        .add_callbacks(
            |_| Err(std::io::Error::other("the certificate should have been refused").into()),
            |failure| failure.trap::<HandshakeFailed>().map(|failure| println!("client: {failure}")),
        );
    reactor.run_until(conversation)?;
    Ok(())
}
