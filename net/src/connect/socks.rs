//! Connections through a SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929).

mod dialogue;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::str::FromStr;
use std::vec;

use twistor_deferred::{Deferred, fail};

use self::dialogue::{Credentials, Dialogue};
use super::{Connect, Connecting, Resolver, SystemResolver, Tcp};
use crate::{ConnectStage, DnsLookupError, Stream};

/// The port of a proxy whose URL has none.
const DEFAULT_PORT: u16 = 1080;

/// A SOCKS5 proxy. Its connectors reach hosts through it.
///
/// # Examples
///
/// ```no_run
/// use twistor::net::connect::Socks5;
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let proxy = Socks5::new("127.0.0.1", 1080).credentials("me", "secret");
/// let greeting = ClientEndpoint::by(proxy.to("mail.example", 25))
///     .converse(&reactor)
///     .add_callback(|server| server.read_line(1000));
/// println!("{}", String::from_utf8_lossy(&reactor.run_until(greeting)?));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone)]
pub struct Socks5 {
    proxy: Rc<dyn Connect>,
    credentials: Credentials,
    looks_up: bool,
}

impl Socks5 {
    /// Creates a proxy at a TCP port of a host.
    pub fn new(host: impl Into<String>, port: u16) -> Socks5 {
        Socks5::by(Tcp::new(host, port))
    }

    /// Creates a proxy that `proxy` connects to, such as by a UNIX socket.
    pub fn by(proxy: impl Connect) -> Socks5 {
        Socks5 { proxy: Rc::new(proxy), credentials: None, looks_up: false }
    }

    /// Sets the user name and password for the proxy, each of 1 to 255 bytes. They are sent only if the proxy asks for
    /// them, and in the clear.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Socks5 {
        self.credentials = Some(Rc::new((user.into(), password.into())));
        self
    }

    /// Looks names up here and sends the proxy an address, as curl does for `socks5://`. If the proxy refuses it, the next
    /// address of the name is tried. Default: the proxy looks names up, as for `socks5h://`.
    #[must_use]
    pub fn look_up_names(mut self) -> Socks5 {
        self.looks_up = true;
        self
    }

    /// Returns a connector to a port of a host, given by name or IP address, through this proxy.
    ///
    /// # Errors
    ///
    /// The connector fails with [`SocksError`], or with the error of the connection to the proxy.
    pub fn to(&self, host: &str, port: u16) -> impl Connect + use<> {
        let (proxy, host) = (self.clone(), Rc::from(host));
        move |on: &Connecting| proxy.connect(on, &host, port)
    }

    fn connect(&self, on: &Connecting, host: &Rc<str>, port: u16) -> Deferred<Stream> {
        match host.parse() {
            Ok(address) => self.ask(on, host, Some(address), port),
            Err(_) if self.looks_up => {
                on.enter(ConnectStage::Lookup);
                let (proxy, asking, host) = (self.clone(), on.clone(), host.clone());
                let found = SystemResolver.resolve(on.handle(), &host, port);
                found.add_callback(move |found| proxy.ask_each(&asking, &host, found.into_iter(), port))
            }
            Err(_) => self.ask(on, host, None, port),
        }
    }

    /// Asks for one address after another, until the proxy does not refuse it. A refusal ends the connection to the
    /// proxy.
    fn ask_each(
        &self,
        on: &Connecting,
        host: &Rc<str>,
        mut addresses: vec::IntoIter<SocketAddr>,
        port: u16,
    ) -> Deferred<Stream> {
        let Some(address) = addresses.next() else {
            return fail(DnsLookupError { host: host.to_string(), source: None });
        };
        let asked = self.ask(on, host, Some(address.ip()), port);
        if addresses.as_slice().is_empty() {
            return asked;
        }
        let (proxy, on, host) = (self.clone(), on.clone(), host.clone());
        asked.add_errback(move |failure| match failure.check() {
            Some(SocksError::Refused { .. }) => proxy.ask_each(&on, &host, addresses, port),
            _ => fail(failure),
        })
    }

    /// Asks the proxy for a connection to an address, or to the host by its name.
    fn ask(&self, on: &Connecting, host: &str, address: Option<IpAddr>, port: u16) -> Deferred<Stream> {
        let dialogue = match Dialogue::new(self.credentials.clone(), host, address, port) {
            Ok(dialogue) => dialogue,
            Err(error) => return fail(error),
        };
        let asking = on.clone();
        self.proxy.connect(on).add_callback(move |stream| {
            asking.enter(ConnectStage::Custom("the answer of the SOCKS proxy"));
            dialogue.hold(asking.handle(), stream)
        })
    }
}

/// Reads the URL of a proxy as curl does: `socks5h://[USER[:PASSWORD]@]HOST[:PORT]`, or with `socks5://`, for which names
/// are [looked up here](Socks5::look_up_names). The port is 1080 if none is given. User name and password may be
/// percent-encoded. Anything after the port is ignored.
///
/// # Examples
///
/// ```
/// use twistor::net::connect::Socks5;
///
/// let proxy: Socks5 = "socks5h://me:secret@proxy.example".parse()?;
/// # drop(proxy);
/// # Ok::<(), twistor::net::connect::SocksError>(())
/// ```
impl FromStr for Socks5 {
    type Err = SocksError;

    fn from_str(url: &str) -> Result<Socks5, SocksError> {
        let (scheme, rest) = url.split_once("://").ok_or(SocksError::InvalidUrl("no scheme"))?;
        let looks_up = scheme.eq_ignore_ascii_case("socks5");
        if !looks_up && !scheme.eq_ignore_ascii_case("socks5h") {
            return Err(SocksError::InvalidUrl("the scheme is not socks5 or socks5h"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[').map(|place| place.split_once(']')) {
            Some(Some((host, ""))) => (host, None),
            Some(Some((host, port))) => (
                host,
                Some(port.strip_prefix(':').ok_or(SocksError::InvalidUrl("no colon after the brackets"))?),
            ),
            Some(None) => return Err(SocksError::InvalidUrl("no closing bracket")),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(SocksError::InvalidUrl("no host"));
        }
        let port =
            port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| SocksError::InvalidUrl("invalid port"))?;
        let mut proxy = Socks5 { looks_up, ..Socks5::new(host, port) };
        if let Some(user) = user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            proxy = proxy.credentials(decoded(user)?, decoded(password)?);
        }
        Ok(proxy)
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<String, SocksError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (byte, used) = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 2),
            _ => (byte, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    String::from_utf8(bytes).map_err(|_| SocksError::InvalidUrl("user name or password is not UTF-8"))
}

impl fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socks5").field("looks_up", &self.looks_up).finish_non_exhaustive()
    }
}

/// The error of a connection through a SOCKS5 proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksError {
    /// The proxy does not accept the user name and password, or requires some.
    Unauthorized,
    /// The proxy refused the request, or could not fulfil it.
    Refused {
        /// The host and port that were asked for.
        target: String,
        /// The proxy's reply (RFC 1928, section 6).
        reply: u8,
    },
    /// The server does not speak SOCKS5. Contains the version that it answered with.
    NotSocks5(u8),
    /// The proxy chose a method that was not offered, or sent an address of an unknown kind.
    InvalidAnswer,
    /// A host name, user name or password is longer than 255 bytes.
    TooLong,
    /// The text is not the URL of a SOCKS5 proxy, for this reason.
    InvalidUrl(&'static str),
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocksError::Unauthorized => {
                f.write_str("SOCKS proxy requires a user name and password, or does not accept those it got")
            }
            SocksError::Refused { target, reply } => {
                write!(f, "SOCKS proxy cannot connect to {target}: {}", reason(*reply))
            }
            SocksError::NotSocks5(version) => {
                write!(f, "the server is not a SOCKS5 proxy: it answered with version {version}")
            }
            SocksError::InvalidAnswer => f.write_str("SOCKS proxy sent an invalid answer"),
            SocksError::TooLong => f.write_str("host name, user name or password too long for SOCKS5"),
            SocksError::InvalidUrl(reason) => write!(f, "not the URL of a SOCKS5 proxy: {reason}"),
        }
    }
}

fn reason(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown reply",
    }
}

impl std::error::Error for SocksError {}
