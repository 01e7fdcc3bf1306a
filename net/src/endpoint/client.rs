use std::fmt;
use std::net::IpAddr;
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use twistor_deferred::{Deferred, Failure, fail, maybe_deferred};
use twistor_reactor::Handle;

use super::EndpointError;
use super::description::{Description, quote};
#[cfg(unix)]
use super::description::{quote_path, unix_path};
use super::literal::literal;
use super::timeout::{Progress, within};
use super::{connect, race};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;
use crate::transport::connection::Connection;
use crate::transport::watched::WatchedSocket;
use crate::{ConnectStage, DnsLookupError, Protocol, Resolver, SystemResolver, Transport};

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
    target: Rc<Target>,
    timeout: Duration,
    bind: Option<IpAddr>,
    /// None: the operating system.
    resolver: Option<Rc<dyn Resolver>>,
}

#[derive(Debug)]
enum Target {
    Tcp {
        host: String,
        port: u16,
        #[cfg(feature = "tls")]
        tls: Option<ClientTls>,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl ClientEndpoint {
    /// A TCP port of a host, given by name or IP address (an IPv6 address may have a zone: `fe80::1%eth0`).
    pub fn tcp(host: impl Into<String>, port: u16) -> ClientEndpoint {
        ClientEndpoint::new(Target::Tcp {
            host: host.into(),
            port,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// A TCP port of a host, given by name or IP address, secured by TLS. Twisted: `SSL4ClientEndpoint`,
    /// `wrapClientTLS`.
    ///
    /// The server has to have a certificate for `host`, from someone whom `tls` trusts.
    #[cfg(feature = "tls")]
    pub fn tls(host: impl Into<String>, port: u16, tls: ClientTls) -> ClientEndpoint {
        ClientEndpoint::new(Target::Tcp { host: host.into(), port, tls: Some(tls) })
    }

    /// A UNIX socket. On Linux, a path that begins with a NUL byte is an abstract name.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ClientEndpoint {
        ClientEndpoint::new(Target::Unix(path.into()))
    }

    fn new(target: Target) -> ClientEndpoint {
        ClientEndpoint { target: Rc::new(target), timeout: DEFAULT_TIMEOUT, bind: None, resolver: None }
    }

    /// Sets how long connecting may take, looking the name up and the TLS handshake included; 30 seconds if never set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> ClientEndpoint {
        self.timeout = timeout;
        self
    }

    /// Sets the local address to connect from.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> ClientEndpoint {
        self.bind = Some(address);
        self
    }

    /// Sets who looks names up; the operating system if never set.
    #[must_use]
    pub fn resolver(mut self, resolver: Rc<dyn Resolver>) -> ClientEndpoint {
        self.resolver = Some(resolver);
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
    /// [`DnsLookupError`], [`NoRoute`](crate::NoRoute), [`Cancelled`](twistor_deferred::Cancelled) when the Deferred
    /// is cancelled, `HandshakeFailed` when there is a server but no TLS with it, else
    /// [`ConnectFailed`](crate::ConnectFailed). When all addresses of a name fail, the error is the most telling one,
    /// and its `others` lists the rest. Then the protocol is dropped, and was not called.
    #[track_caller]
    pub fn connect<P: Protocol>(&self, handle: &Handle, protocol: P) -> Deferred<Transport> {
        let starter = handle.clone();
        let progress = Progress::new(self.target.clone());
        within(handle, self.open(handle, &progress), self.timeout, progress)
            .add_callback(move |socket| Ok(Connection::start(&starter, socket, protocol)?))
            .attributed_to(Location::caller())
    }

    /// A connected socket, secured if this is a TLS endpoint, however long that takes.
    pub(crate) fn open(&self, handle: &Handle, progress: &Progress) -> Deferred<WatchedSocket> {
        match &*self.target {
            #[cfg(feature = "tls")]
            Target::Tcp { host, port, tls: Some(tls) } => {
                let connected = self.connect_tcp(handle, host, *port, progress);
                let (tls, host) = (tls.clone(), host.clone());
                let (handle, progress) = (handle.clone(), progress.clone());
                connected.add_callback(move |socket| {
                    progress.enter(ConnectStage::Handshake);
                    tls.secure(&handle, &host, socket)
                })
            }
            Target::Tcp { host, port, .. } => self.connect_tcp(handle, host, *port, progress),
            #[cfg(unix)]
            Target::Unix(path) => connect::attempt_unix(handle, path.clone()),
        }
    }

    fn connect_tcp(
        &self,
        handle: &Handle,
        host: &str,
        port: u16,
        progress: &Progress,
    ) -> Deferred<WatchedSocket> {
        let bind = self.bind;
        match literal(host, port) {
            Some(Ok(address)) => return connect::attempt(handle, address, bind),
            Some(Err(source)) => return fail(DnsLookupError { host: host.to_owned(), source: Some(source) }),
            None => {}
        }
        progress.enter(ConnectStage::Lookup);
        let resolver = self.resolver.as_deref().unwrap_or(&SystemResolver);
        // A panic in it is a failure to connect: whoever connects again and again goes on.
        let found = maybe_deferred(|| resolver.resolve(handle, host, port));
        let (handle, host, progress) = (handle.clone(), host.to_owned(), progress.clone());
        found
            .add_callback(move |addresses| {
                if addresses.is_empty() {
                    return Err(Failure::from(DnsLookupError { host, source: None }));
                }
                Ok(addresses)
            })
            .add_callback(move |addresses| {
                progress.enter(ConnectStage::Answer);
                race::connect_any(&handle, addresses, bind)
            })
    }
}

/// Without the arguments that have names.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "tls")]
            Target::Tcp { host, port, tls: Some(_) } => write!(f, "tls:{}:{port}", quote(host)),
            Target::Tcp { host, port, .. } => write!(f, "tcp:{}:{port}", quote(host)),
            #[cfg(unix)]
            Target::Unix(path) => write!(f, "unix:{}", quote_path(path)),
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
        if let Some(address) = self.bind {
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
        if matches!(*endpoint.target, Target::Tcp { .. }) {
            endpoint.bind = description.read_named("bindAddress", "an IP address")?;
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
