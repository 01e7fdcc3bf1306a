//! Transports, protocols and endpoints on the [reactor](twistor_reactor): TCP, UNIX sockets, UDP and TLS.
//!
//! A [`ServerEndpoint`] listens and a [`ClientEndpoint`] connects. On every connection runs a [`Protocol`] of
//! the program, which receives the data and writes to a [`Transport`]. All of it runs on one thread, so the
//! state of a protocol is plain fields.
//!
//! # Examples
//!
//! An echo server, and a client that greets it and prints the answer:
//!
//! ```
//! use twistor::prelude::*;
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
//!         println!("{reason}"); // connection was closed cleanly
//!         self.0.stop();
//!     }
//! }
//!
//! let reactor = Reactor::new()?;
//! let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, |_peer| Echo)?;
//! let client = ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0));
//! client.connect(&reactor, Greeter(reactor.handle())).detach();
//! reactor.run()?;
//! # Ok::<(), Failure>(())
//! ```
//!
//! # Where to find what
//!
//! | For | Use |
//! |---|---|
//! | lines, netstrings and other frames | [`Framed`], [`framing`] |
//! | a dialogue in callbacks or `async` code | [`Conversation`] |
//! | a timer or another connection that calls a protocol | [`Transport::enter`], [`Transport::deliver`] |
//! | backpressure | [`Transport::drained`], [`Producer`] |
//! | limits on time, connections and rates | [`IdleTimeout`], [`Limited`], [`RateLimit`] |
//! | a client that reconnects | [`Reconnecting`] |
//! | another way to connect, such as through a proxy | [`connect`] |
//! | libraries that are generic over their I/O | `AsyncStream` |
//! | sockets from the standard library or the parent process | [`Stream`], [`Listener`] |
//! | UDP | [`UdpEndpoint`] |
//! | TLS | the module `tls` |
//! | HTTP/1.1, client and server | the crate `twistor-http` |
//! | tests with a simulated network and faults | [`SimulatedNetwork`] |
//! | the exact promises, numbered | [`behaviour`] |
//!
//! # Features
//!
//! On by default:
//!
//! - `tls`: TLS by rustls. A C compiler is needed to build its cryptography, ring.
//! - `direct-syscalls`: on Linux, connections send and receive without the C library, which makes small
//!   messages
//!   a few percent cheaper.
//! - `simulation`: [`SimulatedNetwork`].
//!
//! Off by default:
//!
//! - `futures-io`: connections as `AsyncRead` and `AsyncWrite`, for libraries such as async-tungstenite.
//! - `hyper`: connections, tasks and timers for hyper 1.

// Badges with the feature that an item needs, on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods))]

#[doc = include_str!("../BEHAVIOUR.md")]
pub mod behaviour {}

#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod adapters;
mod address;
pub mod connect;
mod datagram;
mod endpoint;
mod errors;
pub mod framing;
mod network;
mod protocols;
mod rate;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(not(feature = "simulation"))]
#[path = "simulation/absent.rs"]
mod simulation;
mod sockets;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

pub use twistor_deferred::Failure;

#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub use adapters::{AsyncStream, async_streams};
#[cfg(feature = "hyper")]
pub use adapters::{HyperExecutor, HyperTimer};
pub use address::Address;
pub use connect::{Resolver, SystemResolver};
pub use datagram::{DatagramProtocol, DatagramTransport, MulticastInterface, UdpEndpoint};
pub use endpoint::{Backoff, ClientEndpoint, EndpointError, Reconnecting, ServerEndpoint};
pub use errors::{
    CannotListen, ConnectAttemptsFailed, ConnectFailed, ConnectRefused, ConnectStage, ConnectTimedOut,
    ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionReleased, DnsLookupError, FailedAttempt,
    HandlerPanicked, NoRoute, guarded, guarded_at,
};
pub use protocols::{
    ConnectionIdleTimedOut, Conversation, EndOfData, FrameReceiver, Framed, IdleTimeout, IdleTimer, Limited,
    LimitedProtocol, conversations,
};
pub use rate::RateLimit;
#[cfg(feature = "simulation")]
#[doc(no_inline)]
pub use simulation::{NetworkEvent, NetworkEventKind, SimulatedNetwork};
pub use stream::{Listener, Stream};
pub use transport::{Factory, ListeningPort, Producer, ProducerRefused, Protocol, Transport, part_of};

/// Compiles the README's programs as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
