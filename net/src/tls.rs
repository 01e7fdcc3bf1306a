//! TLS for the same protocols: [`ClientTls`] has the trust of a client, [`ServerTls`] the identity of a
//! server.
//!
//! A protocol runs on TLS as it does on TCP; only the endpoint differs. `connection_made` is called after the
//! handshake. If the handshake fails, a client's [`connect`](crate::ClientEndpoint::connect) fails with
//! [`HandshakeFailed`]. [`Transport::tls`](crate::Transport::tls) returns the negotiated parameters: the
//! version, the protocol (ALPN) and the peer's certificates.
//!
//! Twisted calls `connectionMade` before the handshake, and reports a refused certificate as a lost
//! connection. In both, data written there is sent after the handshake.
//!
//! # Examples
//!
//! ```no_run
//! use twistor::net::tls::{ClientTls, ServerTls};
//! use twistor::prelude::*;
//!
//! struct Greeter;
//!
//! impl Protocol for Greeter {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write(b"hello, in confidence");
//!         transport.lose_connection();
//!         Ok(())
//!     }
//!
//!     fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
//!         Ok(())
//!     }
//! }
//!
//! struct Print(Handle);
//!
//! impl Protocol for Print {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         println!("{} (TLS: {})", String::from_utf8_lossy(data), transport.tls().is_some());
//!         Ok(())
//!     }
//!
//!     fn connection_lost(&mut self, _: Failure) {
//!         self.0.stop();
//!     }
//! }
//!
//! let server = ServerTls::from_files("localhost.crt", "localhost.key")?;
//! let client = ClientTls::trusting_file("localhost.crt")?.server_name("localhost")?;
//!
//! let reactor = Reactor::new()?;
//! let port = ServerEndpoint::tls("127.0.0.1:0".parse()?, server).listen(&reactor, |_peer| Greeter)?;
//! let endpoint = ClientEndpoint::tls("127.0.0.1", port.address().port().unwrap_or(0), client);
//! endpoint.connect(&reactor, Print(reactor.handle())).detach();
//! reactor.run()?;
//! # Ok::<(), Failure>(())
//! ```
//!
//! # STARTTLS
//!
//! A connection that begins in the clear is secured in place by
//! [`Transport::start_tls`](crate::Transport::start_tls) and
//! [`Transport::accept_tls`](crate::Transport::accept_tls).
//!
//! # Closing
//!
//! `lose_connection` and the half-close send close_notify after the last byte. Like Twisted's,
//! `lose_connection`
//! then waits for the peer's close_notify, but for at most five seconds. A connection that ends without the
//! peer's close_notify may have been cut by an attacker. It is lost with [`TlsTruncated`], unless this side
//! was closing it. `abort_connection` sends no close_notify, so the peer can detect it.
//!
//! # Cost
//!
//! Data is encrypted when it is written. Up to 64 KiB of encrypted data can wait in addition to
//! [`Transport::buffered`](crate::Transport::buffered); [`drained`](crate::Transport::drained) waits for it
//! too. An idle connection takes about 8 KiB, nearly all of it in rustls.
//!
//! # rustls
//!
//! The version of rustls is the re-exported one, with ring as its cryptography. For configurations that these
//! types do not offer, use rustls directly: [`ClientTls::from_config`], [`ServerTls::from_config`].

mod client;
mod errors;
mod given;
mod info;
mod pem;
mod required;
mod securing;
mod server;
mod stream;

pub use rustls;

pub use client::ClientTls;
pub use errors::{HandshakeFailed, HandshakeFailure, TlsConfigError, TlsTruncated};
pub use info::TlsInfo;
pub use server::ServerTls;

pub(crate) use errors::{Cause, Opening};
pub(crate) use pem::{certificates, identity, private_key, read as read_pem};
pub(crate) use securing::Securing;
pub(crate) use stream::{Handshaking, TlsStream};

/// Returns the cryptography. It is explicit, because another crate may have set a different process-wide
/// default.
pub(crate) fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
