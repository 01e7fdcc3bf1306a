//! Twisted's core in Rust: one thread, one reactor on mio, typed Deferreds that the reactor fires
//! directly, a network layer, and HTTP on top.
//!
//! This crate re-exports three, and nothing else; each can be used without those above it:
//!
//! - [`deferred`]: results that are not there yet. No I/O, no clock, no loop.
//! - [`reactor`]: the loop: timers, readiness, threads. Depends on `deferred`.
//! - [`net`]: transports, protocols, endpoints, HTTP. Depends on both.
//!
//! [`prelude`] has what most programs name.
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
//! What each crate promises, numbered: [of Deferreds](deferred::behaviour), [of the reactor](reactor::behaviour),
//! [of the net](net::behaviour).
//!
//! # Features
//!
//! All on by default:
//!
//! - `http`: HTTP/1.1, client and server; `compression`: pages that come compressed; `tls`: TLS, and `https`
//!   (building ring, its cryptography, needs a C compiler).
//! - `direct-syscalls`: on Linux, connections receive and send past the C library, which small messages notice.
//! - `precise-timers`: timers to tens of microseconds on Linux, instead of to the millisecond.
//! - `process`: child processes; `signals`: Ctrl-C and SIGTERM stop a run in order, and callbacks for signals.
//!
//! Off by default: `trace`, to see the path that a result took, as text and as a picture, and what has not fired.

pub use twistor_deferred as deferred;
pub use twistor_net as net;
pub use twistor_reactor as reactor;

/// What most programs name: `use twistor::prelude::*;`
pub mod prelude {
    pub use twistor_deferred::{
        Canceller, Deferred, DeferredList, DeferredLock, DeferredPool, DeferredQueue, DeferredSemaphore,
        Failure, Outcome, Trigger, execute, fail, gather_results, join, log_to_stderr, maybe_deferred, race,
        succeed,
    };
    pub use twistor_net::framing::Lines;
    #[cfg(feature = "http")]
    pub use twistor_net::http::{Agent, Page, Request, download_page, get_page};
    pub use twistor_net::{
        ClientEndpoint, FrameReceiver, Framed, Protocol, Reconnecting, ServerEndpoint, Transport,
    };
    pub use twistor_reactor::{
        AddTimeout, Clock, Cooperator, DelayedCall, Handle, LoopingCall, ManualClock, Phase, Reactor, Remote,
        SharedIterator, defer_later,
    };
}

/// The README's programs are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
