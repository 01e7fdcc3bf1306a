use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;

use twistor_reactor::Handle;

use super::EndpointError;
use super::description::{Description, Piece, quote};
#[cfg(unix)]
use super::description::{quote_path, unix_path};
use crate::connect::literal::literal;
use crate::network::{self, StreamBinding};
use crate::stream::Security;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;
use crate::{Address, CannotListen, Factory, Listener, ListeningPort};

const DEFAULT_BACKLOG: u32 = 1024;

/// Where to listen. Twisted: `IStreamServerEndpoint`, `TCP4ServerEndpoint`, `TCP6ServerEndpoint`,
/// `UNIXServerEndpoint`, and `serverFromString` as [`FromStr`].
///
/// # Endpoint strings
///
/// An endpoint string is a kind and its arguments, separated by colons. Every argument can be given by name,
/// as `name=value`. Some can be given by position instead:
///
/// | Kind | By position, in this order | By name only |
/// |---|---|---|
/// | `tcp`, `tcp6` | `port`, `interface`, `backlog` | `reusePort`, `onlyV6` |
/// | `ssl`, `tls` | `port`, `privateKey`, `certKey`, `interface`, `backlog` | `certificate` (the same as `certKey`), `extraCertChain`, `alpn`, `reusePort`, `onlyV6` |
/// | `unix` | `path` (or `address`), `mode`, `backlog` | `abstract` |
///
/// - `interface`: an IP address. Default: all of IPv4, and with `tcp6` all of IPv6. It may also precede the
///   port: `tcp:127.0.0.1:8080` means `tcp:8080:interface=127.0.0.1`.
/// - `reusePort` and `onlyV6`: `1` or `0`; see [`reuse_port`](ServerEndpoint::reuse_port) and
///   [`only_v6`](ServerEndpoint::only_v6).
/// - `privateKey`, `certKey`, `extraCertChain`: PEM files. Default of `certKey`: the file of the private key.
/// - `alpn`: protocol names, separated by commas.
/// - `mode`: the octal permissions of the socket's file.
/// - `abstract`: an abstract name instead of a path, on Linux.
///
/// A backslash escapes a colon, an equals sign or a backslash. An IPv6 address may be written in brackets
/// instead: `tcp:80:interface=[::]`. A link-local address needs its interface: `tcp:[fe80::1%eth0]:80`.
///
/// # Examples
///
/// ```
/// use twistor::prelude::*;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let endpoint: ServerEndpoint = "tcp:0:interface=127.0.0.1".parse()?;
/// let port = endpoint.listen(&reactor, |_peer| Echo)?;
/// println!("listening on {}", port.address());
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerEndpoint {
    binding: StreamBinding,
    security: Security,
    backlog: u32,
}

impl ServerEndpoint {
    /// Creates an endpoint for a TCP port of an interface, such as `127.0.0.1:8080`. Port 0 selects any free
    /// port.
    pub fn tcp(address: SocketAddr) -> ServerEndpoint {
        ServerEndpoint::new(StreamBinding::Tcp { address, reuse_port: false, only_v6: None })
    }

    /// Creates an endpoint for a TCP port secured by TLS. Twisted: `SSL4ServerEndpoint`.
    #[cfg(feature = "tls")]
    pub fn tls(address: SocketAddr, tls: ServerTls) -> ServerEndpoint {
        ServerEndpoint { security: Security::Tls(tls), ..ServerEndpoint::tcp(address) }
    }

    /// Creates an endpoint for a UNIX socket. `listen` creates the socket's file, and the end of the listener
    /// removes it. A file left by a dead process is replaced. On Linux, a path that begins with a NUL byte is
    /// an abstract name, which has no file.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ServerEndpoint {
        ServerEndpoint::new(StreamBinding::Unix { path: path.into(), mode: None })
    }

    fn new(binding: StreamBinding) -> ServerEndpoint {
        ServerEndpoint { binding, security: Security::None, backlog: DEFAULT_BACKLOG }
    }

    /// Sets the number of connections that may wait to be accepted. Default: 1,024. The operating system may
    /// use a lower limit.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> ServerEndpoint {
        self.backlog = connections;
        self
    }

    /// Sets whether several sockets can listen on one TCP port (SO_REUSEPORT), such as one reactor per core.
    /// The operating system distributes the connections among them. Default: off. Has no effect on a UNIX
    /// socket, and on Windows, illumos and Solaris.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> ServerEndpoint {
        match &mut self.binding {
            StreamBinding::Tcp { reuse_port, .. } => *reuse_port = on,
            #[cfg(unix)]
            StreamBinding::Unix { .. } => {}
        }
        self
    }

    /// Sets whether a port of an IPv6 interface refuses IPv4 (IPV6_V6ONLY). Default: the operating system's
    /// setting. Has no effect on other ports.
    ///
    /// If IPv4 is not refused, `[::]:80` accepts both families, and IPv4 peers have addresses such as
    /// `::ffff:192.0.2.1`.
    #[must_use]
    pub fn only_v6(mut self, on: bool) -> ServerEndpoint {
        match &mut self.binding {
            StreamBinding::Tcp { only_v6, .. } => *only_v6 = Some(on),
            #[cfg(unix)]
            StreamBinding::Unix { .. } => {}
        }
        self
    }

    /// Sets the permissions of a UNIX socket's file, such as `0o660`. Has no effect on a TCP port.
    #[cfg(unix)]
    #[must_use]
    pub fn mode(mut self, permissions: u32) -> ServerEndpoint {
        if let StreamBinding::Unix { mode, .. } = &mut self.binding {
            *mode = Some(permissions & 0o7777);
        }
        self
    }

    /// Returns the address to listen on, as it was given. Its port is 0 if any free port may be used.
    pub fn address(&self) -> Address {
        self.binding.address()
    }

    /// Listens, and runs a protocol from `factory` on each connection: [`bind`](ServerEndpoint::bind)
    /// followed by [`serve`](Listener::serve).
    ///
    /// Clients can connect as soon as this returns; the reactor accepts their connections while it runs. A
    /// lack of file descriptors does not stop the listener: it tries again every 100 ms.
    ///
    /// # Errors
    ///
    /// [`CannotListen`] with the error of the operating system.
    #[track_caller]
    pub fn listen<F: Factory>(&self, handle: &Handle, factory: F) -> Result<ListeningPort, CannotListen> {
        self.bind(handle)?.serve(handle, factory).map_err(|source| CannotListen::new(self.address(), source))
    }

    /// Binds the socket and listens, without accepting connections yet. So a program can drop its privileges,
    /// or learn the port, before it serves connections. `handle` selects the network: the operating system's
    /// or a simulated one.
    ///
    /// # Errors
    ///
    /// [`CannotListen`] with the error of the operating system.
    pub fn bind(&self, handle: &Handle) -> Result<Listener, CannotListen> {
        match network::listen(handle, &self.binding, self.backlog) {
            Ok((acceptor, address)) => Ok(Listener::new(acceptor, address, self.security.clone())),
            Err(source) => Err(CannotListen::new(self.address(), source)),
        }
    }
}

/// Displays the endpoint as a string that reads back as the same endpoint. The identity of TLS is left out.
impl fmt::Display for ServerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.binding {
            StreamBinding::Tcp { address, reuse_port, only_v6 } => {
                let kind = match self.security {
                    Security::None => "tcp",
                    #[cfg(feature = "tls")]
                    Security::Tls(_) => "ssl",
                };
                let mut interface = address.ip().to_string();
                if let SocketAddr::V6(address) = address {
                    if address.scope_id() != 0 {
                        interface += &format!("%{}", address.scope_id());
                    }
                }
                write!(f, "{kind}:{}:interface={}", address.port(), quote(&interface))?;
                if *reuse_port {
                    f.write_str(":reusePort=1")?;
                }
                if let Some(only) = only_v6 {
                    write!(f, ":onlyV6={}", u8::from(*only))?;
                }
            }
            #[cfg(unix)]
            StreamBinding::Unix { path, mode } => {
                write!(f, "unix:{}", quote_path(path))?;
                if let Some(mode) = mode {
                    write!(f, ":mode={mode:o}")?;
                }
            }
        }
        if self.backlog != DEFAULT_BACKLOG {
            write!(f, ":backlog={}", self.backlog)?;
        }
        Ok(())
    }
}

impl FromStr for ServerEndpoint {
    type Err = EndpointError;

    fn from_str(source: &str) -> Result<ServerEndpoint, EndpointError> {
        let mut description = Description::parse(source)?;
        let mut endpoint = match description.kind.text.to_ascii_lowercase().as_str() {
            "tcp" => tcp(&mut description, Ipv4Addr::UNSPECIFIED.into())?,
            "tcp6" => tcp(&mut description, Ipv6Addr::UNSPECIFIED.into())?,
            #[cfg(feature = "tls")]
            "ssl" | "tls" => {
                let port = Port::take(&mut description)?;
                let tls = super::secured::server(&mut description)?;
                let endpoint = tcp_port(&mut description, &port, Ipv4Addr::UNSPECIFIED.into())?;
                ServerEndpoint { security: Security::Tls(tls), ..endpoint }
            }
            #[cfg(unix)]
            "unix" => {
                let endpoint = ServerEndpoint::unix(unix_path(&mut description)?);
                match description.take("mode")? {
                    Some(mode) => endpoint.mode(
                        u32::from_str_radix(&mode.text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(
                            || description.error(mode.at, format!("{:?} is not an octal mode", mode.text)),
                        )?,
                    ),
                    None => endpoint,
                }
            }
            _ => return Err(description.unknown_kind(super::SERVER_KINDS)),
        };
        if let Some(backlog) = description.read_next("backlog", "a number of connections")? {
            endpoint.backlog = backlog;
        }
        description.finish()?;
        Ok(endpoint)
    }
}

fn tcp(description: &mut Description, all: IpAddr) -> Result<ServerEndpoint, EndpointError> {
    let port = Port::take(description)?;
    tcp_port(description, &port, all)
}

/// A port, and the interface if that precedes it: `127.0.0.1:8080`.
struct Port {
    interface: Option<SocketAddr>,
    port: Piece,
}

impl Port {
    fn take(description: &mut Description) -> Result<Port, EndpointError> {
        if let Some(port) = description.take_named("port")? {
            return Ok(Port { interface: None, port });
        }
        let first = description.require("port")?;
        if literal(&first.text, 0).is_none() {
            return Ok(Port { interface: None, port: first });
        }
        Ok(Port { interface: Some(read_interface(description, &first)?), port: description.require("port")? })
    }
}

/// Parses the address of an interface. Its port is 0.
fn read_interface(description: &Description, piece: &Piece) -> Result<SocketAddr, EndpointError> {
    let what = match literal(&piece.text, 0) {
        Some(Ok(address)) => return Ok(address),
        Some(Err(error)) => error.to_string(),
        None => format!("{:?} is not an IP address", piece.text),
    };
    Err(description.error(piece.at, what))
}

/// Creates the endpoint for a port of the given interface. Default: the interface `all`.
fn tcp_port(
    description: &mut Description,
    Port { interface, port }: &Port,
    all: IpAddr,
) -> Result<ServerEndpoint, EndpointError> {
    let kind = &description.kind.text;
    let what = format!("a port number (expected {kind}:PORT or {kind}:PORT:interface=ADDRESS)");
    let port = description.read(port, &what)?;
    let mut address = match (*interface, description.place_of("interface")) {
        (Some(_), Some(second)) => return Err(description.error(second, "duplicate interface")),
        (Some(interface), None) => interface,
        (None, _) => match description.take("interface")? {
            Some(next) => read_interface(description, &next)?,
            None => SocketAddr::new(all, 0),
        },
    };
    address.set_port(port);
    let reuse: u8 = description.read_named("reusePort", "1 or 0")?.unwrap_or(0);
    let only_v6: Option<u8> = description.read_named("onlyV6", "1 or 0")?;
    let endpoint = ServerEndpoint::tcp(address).reuse_port(reuse != 0);
    Ok(match only_v6 {
        Some(only) => endpoint.only_v6(only != 0),
        None => endpoint,
    })
}
