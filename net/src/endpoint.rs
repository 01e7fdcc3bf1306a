//! Where to connect to and where to listen, as values and as strings.

mod client;
mod description;
mod reconnect;
#[cfg(feature = "tls")]
mod secured;
mod server;

pub use client::ClientEndpoint;
pub use description::EndpointError;
pub use reconnect::{Backoff, Reconnecting};
pub use server::ServerEndpoint;

/// The kinds of endpoint strings, for those who ask for another.
const CLIENT_KINDS: &str = if cfg!(feature = "tls") { "tcp, tls, ssl, unix" } else { "tcp, unix" };
const SERVER_KINDS: &str =
    if cfg!(feature = "tls") { "tcp, tcp6, tls, ssl, unix" } else { "tcp, tcp6, unix" };
