//! Ways to make a connection, and what all of them share: a time limit, and an error that says how far they came.
//!
//! [`ClientEndpoint`](crate::ClientEndpoint) is built on these. A program writes another to reach a server in
//! another way: through a proxy, over a serial line's gateway, from a pool. It then has timeouts,
//! [`Reconnecting`](crate::Reconnecting) and conversations like any other, by
//! [`ClientEndpoint::by`](crate::ClientEndpoint::by).

mod attempt;
mod connecting;
pub(crate) mod literal;
mod race;
mod resolver;
#[cfg(feature = "tls")]
mod tls;

use std::net::IpAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::Rc;

use twistor_deferred::{Deferred, Failure, fail, maybe_deferred};

use crate::{ConnectStage, DnsLookupError, Stream};

pub use connecting::Connecting;
pub use resolver::{Resolver, SystemResolver};
#[cfg(feature = "tls")]
pub use tls::Tls;

/// A way to make a connection. A closure is one.
///
/// # Examples
///
/// A connection from whichever of two servers answers first:
///
/// ```no_run
/// use twistor_deferred::{Deferred, race};
/// use twistor_net::connect::{Connect, Connecting, Tcp};
/// use twistor_net::{ClientEndpoint, Stream};
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let (near, far) = (Tcp::new("near.example", 4000), Tcp::new("far.example", 4000));
/// let either = move |on: &Connecting| -> Deferred<Stream> {
///     race([near.connect(on), far.connect(on)]).add_callback(|(_, stream)| Ok(stream))
/// };
/// let conversation = ClientEndpoint::by(either).converse(&reactor);
/// # drop(conversation);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Connect: 'static {
    /// Makes a connection on the reactor of `on`, however long that takes: its caller cancels the Deferred when the time
    /// is over.
    fn connect(&self, on: &Connecting) -> Deferred<Stream>;
}

impl<F: Fn(&Connecting) -> Deferred<Stream> + 'static> Connect for F {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        self(on)
    }
}

/// Connects to a TCP port of a host. Twisted: `HostnameEndpoint`.
///
/// All addresses of a name are tried: the next when the last has failed or been silent for 250 ms, with IPv6 and IPv4
/// taking turns.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) bind: Option<IpAddr>,
    /// None: the operating system.
    resolver: Option<Rc<dyn Resolver>>,
}

impl Tcp {
    /// A TCP port of a host, given by name or IP address (an IPv6 address may have a zone: `fe80::1%eth0`).
    pub fn new(host: impl Into<String>, port: u16) -> Tcp {
        Tcp { host: host.into(), port, bind: None, resolver: None }
    }

    /// Sets the local address to connect from.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> Tcp {
        self.bind = Some(address);
        self
    }

    /// Sets the resolver of names. Default: the operating system.
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
                return attempt::attempt(handle, address, bind).add_callback(|socket| Ok(socket.into()));
            }
            Some(Err(source)) => {
                return fail(DnsLookupError { host: self.host.clone(), source: Some(source) });
            }
            None => {}
        }
        on.enter(ConnectStage::Lookup);
        let resolver = self.resolver.as_deref().unwrap_or(&SystemResolver);
        // A panic in it is a failure to connect, so that Reconnecting goes on.
        let found = maybe_deferred(|| resolver.resolve(handle, &self.host, self.port));
        let (host, on) = (self.host.clone(), on.clone());
        found
            .add_callback(move |addresses| {
                if addresses.is_empty() {
                    return Err(Failure::from(DnsLookupError { host, source: None }));
                }
                Ok(addresses)
            })
            .add_callback(move |addresses| {
                on.enter(ConnectStage::Answer);
                race::connect_any(on.handle(), addresses, bind)
            })
            .add_callback(|socket| Ok(socket.into()))
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
    /// A UNIX socket at this path.
    pub fn new(path: impl Into<PathBuf>) -> Unix {
        Unix { path: path.into() }
    }
}

#[cfg(unix)]
impl Connect for Unix {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        on.enter(ConnectStage::Answer);
        attempt::attempt_unix(on.handle(), self.path.clone()).add_callback(|socket| Ok(socket.into()))
    }
}
