//! Connectors: ways to make a connection. All of them share a timeout, and an error that names the stage they
//! had reached.
//!
//! [`ClientEndpoint`](crate::ClientEndpoint) is built on these. A program can write its own connector to
//! reach a server in another way, such as through a proxy, over a serial gateway, or from a pool.
//! [`ClientEndpoint::by`](crate::ClientEndpoint::by) then provides the timeout,
//! [`Reconnecting`](crate::Reconnecting) and conversations for it.

mod attempt;
mod connecting;
pub(crate) mod literal;
mod race;
mod resolver;
mod socks;
#[cfg(feature = "tls")]
mod tls;

use std::net::IpAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::Rc;

use twistor_deferred::{Deferred, fail, maybe_deferred};

use crate::{ConnectStage, DnsLookupError, Stream};

pub use connecting::Connecting;
pub use resolver::{Resolver, SystemResolver};
pub use socks::{Socks5, SocksError};
#[cfg(feature = "tls")]
pub use tls::Tls;

/// A way to make a connection. Closures implement it.
///
/// # Examples
///
/// A connection to whichever of two servers answers first:
///
/// ```no_run
/// use twistor::net::Stream;
/// use twistor::net::connect::{Connect, Connecting, Tcp};
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let (near, far) = (Tcp::new("near.example", 4000), Tcp::new("far.example", 4000));
/// let either = move |on: &Connecting| -> Deferred<Stream> {
///     race([near.connect(on), far.connect(on)]).add_callback(|(_, stream)| Ok(stream))
/// };
/// let greeting = ClientEndpoint::by(either)
///     .converse(&reactor)
///     .add_callback(|conversation| conversation.read_line(1000));
/// println!("{}", String::from_utf8_lossy(&reactor.run_until(greeting)?));
/// # Ok::<(), Failure>(())
/// ```
pub trait Connect: 'static {
    /// Makes a connection on the reactor of `on`. It may take any time: the caller cancels the Deferred when
    /// the timeout expires.
    fn connect(&self, on: &Connecting) -> Deferred<Stream>;
}

impl<F: Fn(&Connecting) -> Deferred<Stream> + 'static> Connect for F {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        self(on)
    }
}

/// Connects to a TCP port of a host. Twisted: `HostnameEndpoint`.
///
/// All addresses of a name are tried, IPv6 and IPv4 in turn. The next attempt starts when the last one has
/// failed, or has had no answer for 250 ms.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) bind: Option<IpAddr>,
    /// `None`: the operating system.
    resolver: Option<Rc<dyn Resolver>>,
}

impl Tcp {
    /// Creates a connector to a TCP port of a host, given by name or IP address. An IPv6 address may have a
    /// zone: `fe80::1%eth0`.
    pub fn new(host: impl Into<String>, port: u16) -> Tcp {
        Tcp { host: host.into(), port, bind: None, resolver: None }
    }

    /// Sets the local address to connect from. Default: the operating system chooses.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> Tcp {
        self.bind = Some(address);
        self
    }

    /// Sets the resolver of host names. Default: the operating system.
    #[must_use]
    pub fn resolver(mut self, resolver: Rc<dyn Resolver>) -> Tcp {
        self.resolver = Some(resolver);
        self
    }
}

impl Connect for Tcp {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        let (handle, bind) = (on.handle(), self.bind);
        match literal::literal(&self.host, self.port) {
            Some(Ok(address)) => {
                on.enter(ConnectStage::Answer);
                return attempt::attempt(handle, address, bind);
            }
            Some(Err(source)) => {
                return fail(DnsLookupError::new(&self.host, Some(source)));
            }
            None => {}
        }
        on.enter(ConnectStage::Lookup);
        let resolver = self.resolver.as_deref().unwrap_or(&SystemResolver);
        // A panic of the resolver becomes a failure to connect, so that `Reconnecting` tries again.
        let found = maybe_deferred(|| resolver.resolve(handle, &self.host, self.port));
        let (host, on) = (self.host.clone(), on.clone());
        found.add_callback(move |addresses| {
            if addresses.is_empty() {
                return fail(DnsLookupError::new(host, None));
            }
            on.enter(ConnectStage::Answer);
            race::connect_any(on.handle(), addresses, bind)
        })
    }
}

/// Connects to a UNIX socket. On Linux, a path that begins with a NUL byte is an abstract name.
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct Unix {
    pub(crate) path: PathBuf,
}

#[cfg(unix)]
impl Unix {
    /// Creates a connector to the UNIX socket at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Unix {
        Unix { path: path.into() }
    }
}

#[cfg(unix)]
impl Connect for Unix {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        on.enter(ConnectStage::Answer);
        attempt::attempt_unix(on.handle(), self.path.clone())
    }
}
