//! Where to connect to and where to listen, as values and as strings.

mod client;
mod description;
mod server;

pub use client::ClientEndpoint;
pub use description::EndpointError;
pub use server::ServerEndpoint;
