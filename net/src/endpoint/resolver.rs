//! Looking names up.

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};

use twistor_deferred::Deferred;
use twistor_reactor::Handle;

use crate::DnsLookupError;
use crate::simulation::Network;

/// Turns a host name into addresses. Twisted: `IHostnameResolver`.
///
/// Endpoints ask it for names only; an IP address in its place is used as it is.
pub trait Resolver: fmt::Debug + 'static {
    /// The addresses of `host`, the most preferred first. An empty list counts as a failure; one that comes again is
    /// tried once.
    ///
    /// Cancelling the Deferred means that nobody wants the answer any more.
    fn resolve(&self, handle: &Handle, host: &str) -> Deferred<Vec<IpAddr>>;
}

/// The operating system's look-up (getaddrinfo), on the reactor's threads. Twisted: `GAIResolver`.
///
/// On a simulated reactor, the names are those of its [network](crate::SimulatedNetwork).
///
/// # Errors
///
/// [`DnsLookupError`], with what the operating system said.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, handle: &Handle, host: &str) -> Deferred<Vec<IpAddr>> {
        if let Some(network) = Network::of(handle) {
            return network.resolve(host);
        }
        let host = host.to_owned();
        handle.defer_to_thread(move || match (host.as_str(), 0).to_socket_addrs() {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(source) => Err(DnsLookupError { host, source: Some(source) }.into()),
        })
    }
}
