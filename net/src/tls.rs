//! TLS under the same protocols: [`ClientTls`] says whom a client trusts, [`ServerTls`] who a server is.
//!
//! A protocol runs on TLS as it runs on TCP: the endpoint differs, and nothing else. It is entered once the handshake
//! is done: `connection_made` comes after it, and a client's
//! [`connect`](crate::ClientEndpoint::connect) fails with [`HandshakeFailed`] if there is none. (Twisted calls
//! `connectionMade` before the handshake, so that a refused certificate shows up as a lost connection. What is written
//! in `connection_made` goes out the same way in both.) [`Transport::tls`](crate::Transport::tls) tells what was
//! agreed upon: the version, the protocol (ALPN), the peer's certificates.
//!
//! ```
//! use twistor_net::tls::{ClientTls, ServerTls};
//! use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, Transport};
//! use twistor_reactor::{Handle, Reactor};
//!
//! struct Greet;
//!
//! impl Protocol for Greet {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write(b"hello, in confidence");
//!         transport.lose_connection();
//!         Ok(())
//!     }
//!     fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
//!         Ok(())
//!     }
//! }
//!
//! struct Print(Handle);
//!
//! impl Protocol for Print {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         println!("{} says {}", transport.tls().is_some(), String::from_utf8_lossy(data));
//!         Ok(())
//!     }
//!     fn connection_lost(&mut self, _: Failure) {
//!         self.0.stop();
//!     }
//! }
//!
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
//! let server = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes())?;
//! let client = ClientTls::trusting_pem(certificate.as_bytes())?.server_name("localhost")?;
//!
//! let reactor = Reactor::new()?;
//! let port = ServerEndpoint::tls("127.0.0.1:0".parse()?, server).listen(&reactor, |_peer| Greet)?;
//! let endpoint = ClientEndpoint::tls("127.0.0.1", port.address().port().unwrap_or(0), client);
//! drop(endpoint.connect(&reactor, Print(reactor.clone())));
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Closing
//!
//! `lose_connection` says goodbye (close_notify) behind the last byte, and a half-close does too. Like Twisted's, it
//! then waits for the peer's goodbye before the connection is lost, but for no more than five seconds. A peer that closes
//! without saying so may not have been the one who closed: the connection is lost with [`TlsTruncated`], unless this
//! side was closing anyway. `abort_connection` says nothing, so the peer sees that.
//!
//! # Cost
//!
//! Bytes are encrypted as they are written. Up to 64 KiB of them may be on their way in addition to what
//! [`Transport::buffered`](crate::Transport::buffered) tells; [`drained`](crate::Transport::drained) waits for them
//! too. An idle connection keeps some 8 KiB, nearly all of it rustls'.
//!
//! # Which rustls
//!
//! The one re-exported here, with ring for the cryptography. A configuration that these types do not offer is made
//! with it: [`ClientTls::from_config`], [`ServerTls::from_config`].

mod client;
mod errors;
mod given;
mod handshake;
mod info;
mod pem;
mod required;
mod server;
mod stream;

pub use rustls;

pub use client::ClientTls;
pub use errors::{HandshakeFailed, HandshakeFailure, TlsConfigError, TlsTruncated};
pub use info::TlsInfo;
pub use server::ServerTls;

pub(crate) use handshake::handshake;
pub(crate) use pem::{certificates, identity, private_key, read as read_pem};
pub(crate) use stream::TlsStream;

/// The cryptography, named rather than left to a process-wide default that another crate may have set.
pub(crate) fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
