//! Promises that involve both the client and the server, or the whole library.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod connector;
#[path = "../message/support.rs"]
mod http_support;
mod places;
mod reset;
mod runs;
mod same_seed;
mod socks;
#[path = "../../../net/tests/support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "../../../net/tests/tls_support/mod.rs"]
mod tls_support;
mod unlimited;
