//! Looking names up.

use std::fmt;
use std::net::SocketAddr;

use twistor_deferred::Deferred;
use twistor_reactor::Handle;

use crate::network;

/// Turns a host name into addresses. Twisted: `IHostnameResolver`.
///
/// Endpoints ask it for names only; an IP address in its place is used as it is.
pub trait Resolver: fmt::Debug + 'static {
    /// Looks up the socket addresses of `port` of `host`, the most preferred first. An empty list counts as a failure;
    /// an address that is listed twice is tried once.
    ///
    /// The addresses are used as they are, so a resolver can choose another port, and the scope id of an IPv6
    /// address that is valid on one link only.
    ///
    /// Cancelling the Deferred means that the answer is not wanted any more.
    fn resolve(&self, handle: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>>;
}

/// The operating system's look-up (getaddrinfo), on [threads](Handle::defer_to_lookup_thread) that the end of a run does
/// not wait for. Twisted: `GAIResolver`.
///
/// On a simulated reactor, the names are those of its [network](crate::SimulatedNetwork).
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
