use std::fmt;
use std::net::IpAddr;
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use twistor_deferred::{Deferred, maybe_deferred};
use twistor_reactor::Handle;

use super::EndpointError;
use super::description::{Description, quote};
#[cfg(unix)]
use super::description::{quote_path, unix_path};
#[cfg(feature = "tls")]
use crate::connect::Tls;
#[cfg(unix)]
use crate::connect::Unix;
use crate::connect::{Connect, Connecting, Tcp};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;
use crate::{Conversation, Protocol, Resolver, Stream, Transport};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to connect to. Twisted: `IStreamClientEndpoint`, `TCP4ClientEndpoint`, `HostnameEndpoint`,
/// `UNIXClientEndpoint`, and `clientFromString` as [`FromStr`].
///
/// # Endpoint strings
///
/// An endpoint string is a kind and its arguments, separated by colons. Every argument can be given by name,
/// as `name=value`. Some can be given by position instead:
///
/// | Kind | By position, in this order | By name only |
/// |---|---|---|
/// | `tcp` | `host`, `port` | `timeout`, `bindAddress` |
/// | `tls`, `ssl` | `host`, `port` | `timeout`, `bindAddress`, `trustRoots` (or `caCertsDir`), `certificate` (or `certKey`), `privateKey`, `hostname`, `alpn` |
/// | `unix` | `path` (or `address`) | `timeout`, `abstract` |
///
/// - `timeout`: in seconds, such as `1.5`. Default: 30.
/// - `bindAddress`: the local IP address to connect from.
/// - `trustRoots`: a PEM file, or a folder of them. Default: the platform's roots.
/// - `certificate`, `privateKey`: PEM files. If one is left out, the other file contains both.
/// - `hostname`: the name to request and verify instead of the host.
/// - `alpn`: protocol names, separated by commas.
/// - `abstract`: an abstract name instead of a path, on Linux.
///
/// A backslash escapes a colon, an equals sign or a backslash. An IPv6 address may be written in brackets
/// instead: `tcp:[::1]:80`. A link-local address needs its interface: `tcp:[fe80::1%eth0]:80`.
///
/// # Examples
///
/// ```no_run
/// use twistor::prelude::*;
///
/// struct Greeter;
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"hello\r\n");
///         Ok(())
///     }
///
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         println!("{}", String::from_utf8_lossy(data));
///         transport.lose_connection();
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let endpoint: ClientEndpoint = "tcp:localhost:7:timeout=5".parse()?;
/// let handle = reactor.handle();
/// endpoint
///     .connect(&reactor, Greeter)
///     .add_callback(|transport| println!("connected: {transport:?}"))
///     .add_errback(move |failure| {
///         eprintln!("error: {failure}");
///         handle.stop();
///         Ok(())
///     })
///     .detach();
/// reactor.run()?;
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientEndpoint {
    target: Target,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Target {
    Tcp(Tcp),
    #[cfg(feature = "tls")]
    Tls(Tls<Tcp>),
    #[cfg(unix)]
    Unix(Unix),
    By(Custom),
}

/// A connector of the program.
#[derive(Clone)]
struct Custom(Rc<dyn Connect>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connect")
    }
}

impl ClientEndpoint {
    /// Creates an endpoint for a TCP port of a host, given by name or IP address. An IPv6 address may have a
    /// zone: `fe80::1%eth0`.
    pub fn tcp(host: impl Into<String>, port: u16) -> ClientEndpoint {
        ClientEndpoint::new(Target::Tcp(Tcp::new(host, port)))
    }

    /// Creates an endpoint for a TCP port of a host, secured by TLS. Twisted: `SSL4ClientEndpoint`,
    /// `wrapClientTLS`.
    ///
    /// The server needs a certificate for `host` that `tls` trusts.
    #[cfg(feature = "tls")]
    pub fn tls(host: impl Into<String>, port: u16, tls: ClientTls) -> ClientEndpoint {
        let host = host.into();
        ClientEndpoint::new(Target::Tls(Tls::new(Tcp::new(host.clone(), port), host, tls)))
    }

    /// Creates an endpoint for a UNIX socket. On Linux, a path that begins with a NUL byte is an abstract
    /// name.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ClientEndpoint {
        ClientEndpoint::new(Target::Unix(Unix::new(path)))
    }

    /// Creates an endpoint for the connections that `connector` makes: see [`connect`](crate::connect). It
    /// displays as `custom`, which cannot be parsed again.
    pub fn by(connector: impl Connect) -> ClientEndpoint {
        ClientEndpoint::new(Target::By(Custom(Rc::new(connector))))
    }

    fn new(target: Target) -> ClientEndpoint {
        ClientEndpoint { target, timeout: DEFAULT_TIMEOUT }
    }

    /// Returns the TCP connector, with or without TLS.
    fn tcp_mut(&mut self) -> Option<&mut Tcp> {
        match &mut self.target {
            Target::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "tls")]
            Target::Tls(tls) => Some(&mut tls.connector),
            _ => None,
        }
    }

    /// Sets the timeout of connecting, which includes the name lookup and the TLS handshake. Default: 30
    /// seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> ClientEndpoint {
        self.timeout = timeout;
        self
    }

    /// Sets the local address to connect from. Has no effect if the target is not a TCP port.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> ClientEndpoint {
        if let Some(tcp) = self.tcp_mut() {
            tcp.bind = Some(address);
        }
        self
    }

    /// Sets the resolver of host names. Default: the operating system. Has no effect if the target is not a
    /// TCP port.
    #[must_use]
    pub fn resolver(mut self, resolver: Rc<dyn Resolver>) -> ClientEndpoint {
        if let Some(tcp) = self.tcp_mut() {
            *tcp = tcp.clone().resolver(resolver);
        }
        self
    }

    /// Connects, and runs `protocol` on the connection. Twisted: `connectProtocol`.
    ///
    /// Each call makes a new connection. All addresses of a name are tried, IPv6 and IPv4 in turn. The next
    /// attempt starts when the last one has failed, or has had no answer for 250 ms.
    ///
    /// # Errors
    ///
    /// On failure, the protocol is dropped without a call. If all addresses of a name fail, the error is the
    /// most telling one, and its `others` lists the rest.
    ///
    /// - [`ConnectRefused`](crate::ConnectRefused), also if the operating system connected the socket to
    ///   itself
    /// - [`ConnectTimedOut`](crate::ConnectTimedOut)
    /// - [`DnsLookupError`](crate::DnsLookupError)
    /// - [`NoRoute`](crate::NoRoute)
    /// - `HandshakeFailed` of the module `tls`, if the server is reached but the TLS handshake fails
    /// - [`Cancelled`](twistor_deferred::Cancelled), if the Deferred is cancelled
    /// - [`ConnectFailed`](crate::ConnectFailed) for any other reason
    ///
    /// # Ordering
    ///
    /// `connection_made` has run when the Deferred fires. Both happen in the loop.
    ///
    /// # Cancel safety
    ///
    /// Cancelling stops connecting, including the name lookup. A connection that was made stays open, because
    /// its protocol owns it, even if the result of the Deferred is dropped unread.
    #[track_caller]
    pub fn connect<P: Protocol>(&self, handle: &Handle, protocol: P) -> Deferred<Transport> {
        let (connecting, starter) = (Connecting::new(handle, self.target.clone()), handle.clone());
        connecting
            .within(self.timeout, |on| self.target.connect(on))
            .add_callback(move |stream| Ok(stream.run(&starter, protocol)?))
            .attributed_to(Location::caller())
    }

    /// Connects, and returns a [`Conversation`].
    ///
    /// # Errors
    ///
    /// Those of [`connect`](ClientEndpoint::connect).
    #[track_caller]
    pub fn converse(&self, handle: &Handle) -> Deferred<Conversation> {
        let (protocol, conversation) = Conversation::begin();
        self.connect(handle, protocol).add_callback(move |transport| Ok(conversation(transport)))
    }
}

impl Connect for Target {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        match self {
            Target::Tcp(tcp) => tcp.connect(on),
            #[cfg(feature = "tls")]
            Target::Tls(tls) => tls.connect(on),
            #[cfg(unix)]
            Target::Unix(unix) => unix.connect(on),
            // A panic of the connector becomes a failure to connect, so that `Reconnecting` tries again.
            Target::By(Custom(connector)) => maybe_deferred(|| connector.connect(on)),
        }
    }
}

/// Displays the kind and the positional arguments.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(Tcp { host, port, .. }) => write!(f, "tcp:{}:{port}", quote(host)),
            #[cfg(feature = "tls")]
            Target::Tls(Tls { connector: Tcp { host, port, .. }, .. }) => {
                write!(f, "tls:{}:{port}", quote(host))
            }
            #[cfg(unix)]
            Target::Unix(Unix { path }) => write!(f, "unix:{}", quote_path(path)),
            Target::By(_) => f.write_str("custom"),
        }
    }
}

/// Displays the endpoint as a string that reads back as the same endpoint. The trust and identity of TLS are
/// left out.
impl fmt::Display for ClientEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)?;
        if self.timeout != DEFAULT_TIMEOUT {
            write!(f, ":timeout={}", Seconds(self.timeout))?;
        }
        let bind = match &self.target {
            Target::Tcp(tcp) => tcp.bind,
            #[cfg(feature = "tls")]
            Target::Tls(tls) => tls.connector.bind,
            _ => None,
        };
        if let Some(address) = bind {
            write!(f, ":bindAddress={}", quote(&address.to_string()))?;
        }
        Ok(())
    }
}

impl FromStr for ClientEndpoint {
    type Err = EndpointError;

    fn from_str(source: &str) -> Result<ClientEndpoint, EndpointError> {
        let mut description = Description::parse(source)?;
        let mut endpoint = match description.kind.text.to_ascii_lowercase().as_str() {
            "tcp" => {
                let (host, port) = host_and_port(&mut description)?;
                ClientEndpoint::tcp(host, port)
            }
            #[cfg(feature = "tls")]
            "tls" | "ssl" => {
                let (host, port) = host_and_port(&mut description)?;
                ClientEndpoint::tls(host, port, super::secured::client(&mut description)?)
            }
            #[cfg(unix)]
            "unix" => ClientEndpoint::unix(unix_path(&mut description)?),
            _ => return Err(description.unknown_kind(super::CLIENT_KINDS)),
        };
        if let Some(timeout) = description.take_named("timeout")? {
            endpoint.timeout = match Seconds::exactly(&timeout.text) {
                Some(timeout) => timeout,
                None => {
                    let seconds: f64 = description.read(&timeout, "a number of seconds")?;
                    Duration::try_from_secs_f64(seconds).map_err(|_| {
                        let what = format!("{:?} is not a valid number of seconds", timeout.text);
                        description.error(timeout.at, what)
                    })?
                }
            };
        }
        if let Some(tcp) = endpoint.tcp_mut() {
            tcp.bind = description.read_named("bindAddress", "an IP address")?;
        }
        description.finish()?;
        Ok(endpoint)
    }
}

fn host_and_port(description: &mut Description) -> Result<(String, u16), EndpointError> {
    let host = description.require("host")?;
    let port = description.require("port")?;
    Ok((host.text, description.read(&port, "a port number")?))
}

/// A time in seconds, read and displayed as an exact decimal number.
struct Seconds(Duration);

impl Seconds {
    /// Parses digits with an optional point. Other number formats are not exact.
    fn exactly(text: &str) -> Option<Duration> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
            return None;
        }
        let nanoseconds = format!("{part:0<9}").parse().ok()?;
        Some(Duration::new(whole.parse().ok()?, nanoseconds))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs())?;
        match self.0.subsec_nanos() {
            0 => Ok(()),
            part => write!(f, ".{}", format!("{part:09}").trim_end_matches('0')),
        }
    }
}
