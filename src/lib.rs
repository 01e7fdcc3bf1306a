//! Twisted's core in Rust: one thread, one reactor on mio, typed Deferreds that the reactor fires
//! directly, a network layer, and HTTP on top.
//!
//! This crate re-exports four crates and contains nothing else. Each of them works without those listed after it:
//!
//! - [`deferred`]: results that have not arrived yet. No I/O, no clock, no loop.
//! - [`reactor`]: the loop: timers, readiness, threads, processes, signals, tasks. Depends on `deferred`.
//! - [`net`]: transports, protocols, endpoints, TLS. Depends on both.
//! - `http`: HTTP/1.1, client and server. Depends on all three.
//!
//! A reactor runs turn after turn. In each it waits until something happens, and then calls whatever was waiting for that:
//!
#![doc = include_str!("../examples/event_loop.svg")]
//!
//! [`prelude`] contains the names that most programs use.
//!
//! ```
//! use std::time::Duration;
//! use twistor::prelude::*;
//!
//! fn print_later(reactor: &Handle, message: &'static str) -> Deferred<()> {
//!     defer_later(reactor, Duration::from_millis(10), move || println!("{message}"))
//! }
//!
//! fn main() -> Result<(), Failure> {
//!     let reactor = Reactor::new()?;
//!     reactor.run_until(print_later(&reactor, "The future is now!"))
//! }
//! ```
//!
//! The numbered promises of each crate: [of Deferreds](deferred::behaviour), [of the reactor](reactor::behaviour),
//! [of the net](net::behaviour), and of HTTP (`http::behaviour`).
//!
//! # Features
//!
//! On by default:
//!
//! - `http`: HTTP/1.1, client and server; `compression`: compressed responses; `tls`: TLS, and `https`
//!   (needs a C compiler to build `ring`).
//! - `direct-syscalls`: on Linux, connections receive and send without the C library, which makes small messages a few percent cheaper.
//! - `precise-timers`: on Linux, timers are accurate to tens of microseconds instead of a millisecond.
//! - `process`: child processes; `signals`: Ctrl-C and SIGTERM shut down gracefully, and callbacks for other signals.
//! - `simulation`: reactors whose runs are reproducible from a seed, with an in-memory network, for tests.
//!
//! Off by default:
//!
//! - `idna`: URLs whose host names have letters outside ASCII.
//! - `futures-io`, `hyper`: connections for libraries that are generic over their I/O, such as async-tungstenite and hyper.
//! - `pty`: child processes that have a terminal; `pass-descriptors`: child processes that inherit descriptors.
//! - `trace`: records what a reactor does, and shows it as text, pictures and a page; draws the path of a result, and lists
//!   Deferreds that have not fired.

// Badges with the feature that an item needs, on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use twistor_deferred as deferred;
#[cfg(feature = "http")]
pub use twistor_http as http;
pub use twistor_net as net;
#[cfg(feature = "simulation")]
#[doc(inline)]
pub use twistor_net::simulation;
pub use twistor_reactor as reactor;

/// The names that most programs use: `use twistor::prelude::*;`
pub mod prelude {
    pub use twistor_deferred::{
        Canceller, Deferred, DeferredList, DeferredLock, DeferredPool, DeferredQueue, DeferredSemaphore,
        Failure, Outcome, Trigger, fail, gather_results, join, log_to_stderr, maybe_deferred, race, succeed,
    };
    #[cfg(feature = "http")]
    pub use twistor_http::{Agent, Page, Request, download_page, get_page};
    pub use twistor_net::framing::Lines;
    pub use twistor_net::{
        ClientEndpoint, FrameReceiver, Framed, Protocol, Reconnecting, ServerEndpoint, Transport,
    };
    pub use twistor_reactor::{
        AddTimeout, Clock, Cooperator, DelayedCall, Handle, LoopingCall, ManualClock, Phase, Reactor, Remote,
        SharedIterator, defer_later, yield_now,
    };
}

/// Compiles the README's programs as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
