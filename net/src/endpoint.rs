//! Endpoints: where to connect to and where to listen, as values and as strings.

mod backoff;
mod client;
mod description;
mod reconnect;
#[cfg(feature = "tls")]
mod secured;
mod server;

pub use backoff::Backoff;
pub use client::ClientEndpoint;
pub use description::EndpointError;
pub use reconnect::Reconnecting;
pub use server::ServerEndpoint;

/// The valid kinds, as listed in the error for an unknown one.
const CLIENT_KINDS: &str = if cfg!(feature = "tls") { "tcp, tls, ssl, unix" } else { "tcp, unix" };
const SERVER_KINDS: &str =
    if cfg!(feature = "tls") { "tcp, tcp6, tls, ssl, unix" } else { "tcp, tcp6, unix" };
