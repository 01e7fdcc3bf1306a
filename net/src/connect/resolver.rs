//! Name lookup.

use std::fmt;
use std::net::SocketAddr;

use twistor_deferred::Deferred;
use twistor_reactor::Handle;

use crate::network;

/// Looks up host names. Twisted: `IHostnameResolver`.
///
/// Endpoints call it for names only. An IP address is used as it is.
pub trait Resolver: fmt::Debug + 'static {
    /// Returns the socket addresses of `port` of `host`, the preferred ones first. An empty list counts as a
    /// failure. An address that is listed twice is tried once.
    ///
    /// The addresses are used as they are. So a resolver can choose another port, and the scope id of a
    /// link-local IPv6 address.
    ///
    /// The Deferred is cancelled when the answer is no longer needed.
    fn resolve(&self, handle: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>>;
}

/// The resolver of the operating system (getaddrinfo). It runs on [threads](Handle::defer_to_lookup_thread)
/// that the end of a run does not wait for. Twisted: `GAIResolver`.
///
/// On a simulated reactor, it looks up the names of the [network](crate::SimulatedNetwork).
///
/// # Errors
///
/// [`DnsLookupError`](crate::DnsLookupError), with the error of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, handle: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        network::resolve(handle, host, port)
    }
}
