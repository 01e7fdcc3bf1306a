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
use crate::{Protocol, Resolver, Stream, Transport};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What to connect to. Twisted: `IStreamClientEndpoint`; `TCP4ClientEndpoint`, `HostnameEndpoint`,
/// `UNIXClientEndpoint`, and `clientFromString` through [`FromStr`].
///
/// # Endpoint strings
///
/// `tcp:HOST:PORT`, `tls:HOST:PORT` (or `ssl:`), `unix:PATH` (or `unix:abstract=NAME`). Before, behind or instead, arguments by name: `host`, `port`,
/// `path`, `timeout` in seconds, `bindAddress`; for TLS `trustRoots` (or `caCertsDir`, a PEM file or a folder of them;
/// the platform's if left out), `certificate` (or `certKey`) and `privateKey` (PEM files), `hostname` (to be asked for
/// instead of the host) and `alpn` (protocols, a comma between them). A backslash takes the meaning from the
/// colon, equals sign or backslash behind it; an IPv6 address may stand in brackets instead: `tcp:[::1]:80`. One that is
/// good on one link only has the link's interface behind it: `tcp:[fe80::1%eth0]:80`.
///
/// # Examples
///
/// ```no_run
/// use twistor_net::{ClientEndpoint, Failure, Protocol, Transport};
/// use twistor_reactor::Reactor;
///
/// struct Shout;
///
/// impl Protocol for Shout {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"hello\r\n");
///         transport.lose_connection();
///         Ok(())
///     }
///     fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let endpoint: ClientEndpoint = "tcp:localhost:7:timeout=5".parse()?;
/// let handle = reactor.clone();
/// endpoint
///     .connect(&reactor, Shout)
///     .add_callback(|transport| println!("connected: {transport:?}"))
///     .add_errback(|failure| Ok(eprintln!("error: {failure}")))
///     .add_callback(move |()| handle.stop());
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// A connector that the program has written.
#[derive(Clone)]
struct Custom(Rc<dyn Connect>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connect")
    }
}

impl ClientEndpoint {
    /// A TCP port of a host, given by name or IP address (an IPv6 address may have a zone: `fe80::1%eth0`).
    pub fn tcp(host: impl Into<String>, port: u16) -> ClientEndpoint {
        ClientEndpoint::new(Target::Tcp(Tcp::new(host, port)))
    }

    /// A TCP port of a host, given by name or IP address, secured by TLS. Twisted: `SSL4ClientEndpoint`,
    /// `wrapClientTLS`.
    ///
    /// The server has to have a certificate for `host`, from someone whom `tls` trusts.
    #[cfg(feature = "tls")]
    pub fn tls(host: impl Into<String>, port: u16, tls: ClientTls) -> ClientEndpoint {
        let host = host.into();
        ClientEndpoint::new(Target::Tls(Tls::new(Tcp::new(host.clone(), port), host, tls)))
    }

    /// A UNIX socket. On Linux, a path that begins with a NUL byte is an abstract name.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ClientEndpoint {
        ClientEndpoint::new(Target::Unix(Unix::new(path)))
    }

    /// Connections that `connector` makes: see [`connect`](crate::connect). It prints as `custom`, which does not read
    /// back.
    pub fn by(connector: impl Connect) -> ClientEndpoint {
        ClientEndpoint::new(Target::By(Custom(Rc::new(connector))))
    }

    fn new(target: Target) -> ClientEndpoint {
        ClientEndpoint { target, timeout: DEFAULT_TIMEOUT }
    }

    /// The TCP port, if it is one, secured by TLS or not.
    fn tcp_mut(&mut self) -> Option<&mut Tcp> {
        match &mut self.target {
            Target::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "tls")]
            Target::Tls(tls) => Some(&mut tls.connector),
            _ => None,
        }
    }

    /// Sets how long connecting may take, looking the name up and the TLS handshake included; 30 seconds if never set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> ClientEndpoint {
        self.timeout = timeout;
        self
    }

    /// Sets the local address to connect from. Does nothing where the target is not a TCP port.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> ClientEndpoint {
        if let Some(tcp) = self.tcp_mut() {
            tcp.bind = Some(address);
        }
        self
    }

    /// Sets the resolver of names. Default: the operating system. Does nothing where the target is not a TCP port.
    #[must_use]
    pub fn resolver(mut self, resolver: Rc<dyn Resolver>) -> ClientEndpoint {
        if let Some(tcp) = self.tcp_mut() {
            *tcp = tcp.clone().resolver(resolver);
        }
        self
    }

    /// Connects, and runs `protocol` on the connection. Twisted: `connectProtocol`.
    ///
    /// Each call makes a connection of its own. All addresses of a name are tried: the next when the last has failed
    /// or been quiet for 250 ms, with IPv6 and IPv4 taking turns.
    ///
    /// # Ordering
    ///
    /// `connection_made` has run when the Deferred fires, always from the loop.
    ///
    /// # Errors
    ///
    /// [`ConnectRefused`](crate::ConnectRefused) (also where the operating system connected the socket to itself),
    /// [`ConnectTimedOut`](crate::ConnectTimedOut),
    /// [`DnsLookupError`](crate::DnsLookupError), [`NoRoute`](crate::NoRoute), [`Cancelled`](twistor_deferred::Cancelled) when the Deferred
    /// is cancelled, `HandshakeFailed` when there is a server but no TLS with it, else
    /// [`ConnectFailed`](crate::ConnectFailed). When all addresses of a name fail, the error is the most telling one,
    /// and its `others` lists the rest. Then the protocol is dropped, and was not called.
    ///
    /// # Cancel safety
    ///
    /// Cancelling stops connecting, name lookup included. A connection that has been made and is dropped unread stays
    /// open: its protocol has it.
    #[track_caller]
    pub fn connect<P: Protocol>(&self, handle: &Handle, protocol: P) -> Deferred<Transport> {
        let (connecting, starter) = (Connecting::new(handle, self.target.clone()), handle.clone());
        connecting
            .within(self.timeout, |on| self.target.connect(on))
            .add_callback(move |stream| Ok(stream.run(&starter, protocol)?))
            .attributed_to(Location::caller())
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
            // A panic in it is a failure to connect, so that Reconnecting goes on.
            Target::By(Custom(connector)) => maybe_deferred(|| connector.connect(on)),
        }
    }
}

/// Without the arguments that have names.
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

/// The endpoint as a string, which reads back as the same; of TLS, it leaves out whom it trusts and who it is.
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
                    Duration::try_from_secs_f64(seconds)
                        .map_err(|error| description.error(timeout.at, error.to_string()))?
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

/// A time in seconds, as decimals say it exactly.
struct Seconds(Duration);

impl Seconds {
    /// Reads digits, with a point among them or not. Other ways to write a number are not exact.
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
