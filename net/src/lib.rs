//! Transports, protocols and endpoints on the [reactor](twistor_reactor).
//!
//! A [`ServerEndpoint`] listens and a [`ClientEndpoint`] connects; either way a [`Protocol`] of the program's says
//! what happens on the connection, and a [`Transport`] is its way to answer.
//!
//! ```
//! use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, Transport};
//! use twistor_reactor::{Handle, Reactor};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         transport.write(data);
//!         Ok(())
//!     }
//! }
//!
//! struct Greeter(Handle);
//!
//! impl Protocol for Greeter {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write(b"hello");
//!         Ok(())
//!     }
//!
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         println!("the echo: {}", String::from_utf8_lossy(data));
//!         transport.lose_connection();
//!         Ok(())
//!     }
//!
//!     fn connection_lost(&mut self, reason: Failure) {
//!         println!("{reason}");
//!         self.0.stop();
//!     }
//! }
//!
//! let reactor = Reactor::new()?;
//! let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, |_peer| Echo)?;
//! let client = ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0));
//! drop(client.connect(&reactor, Greeter(reactor.clone())));
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From here
//!
//! - Lines and other frames: [`Framed`], [`framing`]. A few steps told one after another: [`Conversation`].
//! - Much data: [`Transport::drained`], [`Producer`]. Limits: [`IdleTimeout`], [`Limited`], [`RateLimit`].
//! - A connection that comes back: [`Reconnecting`]. Other ways to make one: [`connect`]. One that was made elsewhere:
//!   [`Stream`], [`Listener`]. Datagrams: [`UdpEndpoint`].
//! - TLS, which is an endpoint's matter and not the protocol's: the module `tls`.
//! - HTTP/1.1, client and server: the crate `twistor-http`.
//! - All of it in a network in memory, with faults drawn from a seed: [`SimulatedNetwork`].
//! - All that is promised, numbered: [`behaviour`].
//!
//! # Features
//!
//! All on by default: `tls` (by rustls; building its cryptography, ring, needs a C compiler), `direct-syscalls` (on
//! Linux, connections receive and send past the C library) and `simulation` ([`SimulatedNetwork`]).

#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods))]

#[doc = include_str!("../BEHAVIOUR.md")]
pub mod behaviour {}

mod address;
pub mod connect;
mod datagram;
mod endpoint;
mod errors;
pub mod framing;
mod network;
mod protocol;
#[cfg(feature = "simulation")]
mod simulation;
#[cfg(not(feature = "simulation"))]
#[path = "simulation/absent.rs"]
mod simulation;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

pub use twistor_deferred::Failure;

pub use address::Address;
pub use connect::{Resolver, SystemResolver};
pub use datagram::{DatagramProtocol, DatagramTransport, MulticastInterface, UdpEndpoint};
pub use endpoint::{Backoff, ClientEndpoint, EndpointError, Reconnecting, ServerEndpoint};
pub use errors::{
    CannotListen, ConnectAttemptsFailed, ConnectFailed, ConnectRefused, ConnectStage, ConnectTimedOut,
    ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionReleased, DnsLookupError, FailedAttempt,
    HandlerPanicked, NoRoute, guarded, guarded_at,
};
pub use protocol::{
    ConnectionIdleTimedOut, Conversation, EndOfData, Factory, FrameReceiver, Framed, IdleTimeout, IdleTimer,
    Limited, LimitedProtocol, Protocol, conversations, part_of,
};
#[cfg(feature = "simulation")]
pub use simulation::{NetworkEvent, NetworkEventKind, SimulatedNetwork};
pub use stream::{Listener, ListeningPort, Stream};
pub use transport::{Producer, ProducerRefused, RateLimit, Transport};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
