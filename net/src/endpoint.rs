//! Where to connect to and where to listen, as values and as strings.

mod client;
pub(crate) mod connect;
mod description;
mod literal;
mod race;
mod reconnect;
mod resolver;
#[cfg(feature = "tls")]
mod secured;
mod server;
pub(crate) mod timeout;

pub use client::ClientEndpoint;
pub use description::EndpointError;
pub use reconnect::{Backoff, Reconnecting};
pub use resolver::{Resolver, SystemResolver};
pub use server::ServerEndpoint;

/// The kinds of endpoint strings, for those who ask for another.
const CLIENT_KINDS: &str = if cfg!(feature = "tls") { "tcp, tls, ssl, unix" } else { "tcp, unix" };
const SERVER_KINDS: &str =
    if cfg!(feature = "tls") { "tcp, tcp6, tls, ssl, unix" } else { "tcp, tcp6, unix" };
