//! cargo run --example starttls -- [--listen ADDRESS]
//!
//! A mail server that secures connections with STARTTLS (RFC 3207), and its client. The connection begins in the clear,
//! and goes on with the same protocol over TLS. With ADDRESS it is only a server, for example for openssl: `openssl
//! s_client -starttls smtp -crlf -connect ADDRESS`. Without ADDRESS, it sends itself a message. Then an attacker sends a
//! command together with STARTTLS, to have it taken for a secured one. The server ends that connection.

use clap::Parser;
use twistor::net::framing::Lines;
use twistor::net::tls::{ClientTls, ServerTls};
use twistor::net::{Conversation, FrameReceiver, Framed};
use twistor::prelude::*;

/// The server's side of one connection.
struct Mail {
    tls: ServerTls,
}

impl FrameReceiver for Mail {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"220 ready\r\n");
        Ok(())
    }

    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line);
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" if transport.tls().is_none() => {
                transport.write(b"250-ready\r\n250 STARTTLS\r\n");
            }
            "EHLO" => {
                transport.write(b"250 ready\r\n");
            }
            "STARTTLS" if transport.tls().is_none() => {
                // The reply goes out in the clear. The client starts the handshake when it has read it.
                transport.write(b"220 go ahead\r\n");
                transport.deliver(transport.accept_tls(&self.tls), Self::secured);
            }
            "MAIL" if transport.tls().is_none() => {
                transport.write(b"530 secure the connection first\r\n");
            }
            "MAIL" => {
                println!("server: in confidence, {line}");
                transport.write(b"250 ok\r\n");
            }
            "QUIT" => {
                transport.write(b"221 bye\r\n");
                transport.lose_connection();
            }
            _ => {
                transport.write(b"500 unknown command\r\n");
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        println!("server: {reason}");
    }
}

impl Mail {
    /// Called after the handshake. A failure ends the connection.
    fn secured(&mut self, transport: &Transport, outcome: Result<(), Failure>) -> Result<(), Failure> {
        outcome?;
        println!("server: secured by {:?}", transport.tls().and_then(|tls| tls.version));
        Ok(())
    }
}

/// Sends a command and returns the last line of the reply.
async fn ask(server: &Conversation, command: &str) -> Result<String, Failure> {
    server.write(format!("{command}\r\n").as_bytes());
    loop {
        let line = String::from_utf8(server.read_line(512).await?)?;
        println!("client: {command}: {line}");
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}

/// The client's side.
async fn send_mail(server: Conversation, tls: ClientTls) -> Result<(), Failure> {
    server.read_line(512).await?;
    ask(&server, "EHLO me").await?;
    ask(&server, "MAIL FROM:<ada@localhost>").await?;
    if ask(&server, "STARTTLS").await?.starts_with("220") {
        server.transport().start_tls("localhost", &tls).await?;
        ask(&server, "EHLO me").await?;
        ask(&server, "MAIL FROM:<ada@localhost>").await?;
    }
    ask(&server, "QUIT").await?;
    Ok(())
}

/// A command that follows STARTTLS at once. A server that kept it would take it for the client's.
async fn inject(server: Conversation) -> Result<(), Failure> {
    server.read_line(512).await?;
    server.write(b"STARTTLS\r\nMAIL FROM:<eve@localhost>\r\n");
    let replies = server.read_to_end(512).await?;
    println!("attacker: {:?}", String::from_utf8_lossy(&replies));
    Ok(())
}

#[derive(Parser)]
struct Options {
    /// An IP address and port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

fn main() -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes())?;
    let client = ClientTls::trusting_pem(certificate.as_bytes())?;

    let reactor = Reactor::new()?;
    let only_serves = Options::parse().listen;
    let address = only_serves.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let port = ServerEndpoint::tcp(address)
        .listen(&reactor, move |_peer| Framed::new(Lines::new(), Mail { tls: server.clone() }))?;
    if only_serves.is_some() {
        println!("listening on {}", port.address());
        return Ok(reactor.run()?);
    }
    let (handle, to) =
        (reactor.handle(), ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0)));
    reactor.run_until(reactor.spawn(async move {
        send_mail(to.converse(&handle).await?, client).await?;
        inject(to.converse(&handle).await?).await
    }))
}
