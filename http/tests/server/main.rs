//! The HTTP server over real sockets: statements W1 to W8.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod answers;
mod client;
mod clockwork;
mod connections;
mod curl;
mod files;
mod kept;
mod leaving;
mod limits;
mod patience;
mod refusals;
mod resources;
#[cfg(feature = "tls")]
mod secure;
mod simulated;
#[cfg(feature = "tls")]
mod simulated_proxy;
mod stopping;
#[path = "../../../net/tests/support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "../../../net/tests/tls_support/mod.rs"]
mod tls_support;
mod watched;
