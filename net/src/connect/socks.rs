//! Connections through a SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929).

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::str::FromStr;

use twistor_deferred::Failure;

use super::{Connect, Connecting, Resolver, SystemResolver, Tcp};
use crate::{ConnectStage, Conversation, DnsLookupError, Stream};

/// The port of a proxy whose URL has none.
const DEFAULT_PORT: u16 = 1080;

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

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
    credentials: Option<Rc<(String, String)>>,
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
        let (proxy, host) = (self.clone(), host.to_owned());
        move |on: &Connecting| {
            let (proxy, host, on) = (proxy.clone(), host.clone(), on.clone());
            on.handle().clone().spawn(async move { proxy.connect(&on, &host, port).await })
        }
    }

    async fn connect(&self, on: &Connecting, host: &str, port: u16) -> Result<Stream, Failure> {
        let (first, others) = match host.parse() {
            Ok(address) => (Some(address), Vec::new()),
            Err(_) if self.looks_up => {
                let mut found = look_up(on, host, port).await?.into_iter();
                (found.next(), found.collect())
            }
            Err(_) => (None, Vec::new()),
        };
        let mut asked = self.ask(on, host, first, port).await;
        for address in others {
            let refused = |failure: &Failure| matches!(failure.check(), Some(SocksError::Refused { .. }));
            if !asked.as_ref().is_err_and(refused) {
                break;
            }
            // A refusal ends the connection to the proxy.
            asked = self.ask(on, host, Some(address), port).await;
        }
        asked
    }

    /// Asks the proxy for a connection to an address, or to the host by its name.
    async fn ask(
        &self,
        on: &Connecting,
        host: &str,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<Stream, Failure> {
        let peer = self.proxy.connect(on).await?.converse(on.handle())?;
        on.enter(ConnectStage::Custom("the answer of the SOCKS proxy"));
        let asked = async {
            self.log_in(&peer).await?;
            request(&peer, host, address, port).await
        };
        asked.await.map_err(|failure: Failure| failure.context("talking to the SOCKS proxy"))?;
        Ok(peer.release()?)
    }

    async fn log_in(&self, peer: &Conversation) -> Result<(), Failure> {
        let methods: &[u8] =
            if self.credentials.is_some() { &[NO_PASSWORD, PASSWORD] } else { &[NO_PASSWORD] };
        peer.write(&[&[VERSION, methods.len() as u8], methods].concat());
        match (read(peer).await?, &self.credentials) {
            ([VERSION, NO_PASSWORD], _) => Ok(()),
            ([VERSION, PASSWORD], Some(credentials)) => {
                let (user, password) = &**credentials;
                let mut message = vec![PASSWORD_VERSION];
                push_short(&mut message, user)?;
                push_short(&mut message, password)?;
                peer.write(&message);
                match read(peer).await? {
                    [_, 0] => Ok(()),
                    [_, _] => Err(SocksError::Unauthorized.into()),
                }
            }
            ([VERSION, NO_METHOD | PASSWORD], _) => Err(SocksError::Unauthorized.into()),
            ([VERSION, _], _) => Err(SocksError::InvalidAnswer.into()),
            ([version, _], _) => Err(SocksError::NotSocks5(version).into()),
        }
    }
}

/// As [`Conversation::read_array`], which is a Deferred of another type for each length. Each type of Deferred adds
/// some kilobytes to a program that has a proxy.
async fn read<const COUNT: usize>(peer: &Conversation) -> Result<[u8; COUNT], Failure> {
    let mut array = [0; COUNT];
    array.copy_from_slice(&peer.read_exact(COUNT).await?);
    Ok(array)
}

async fn look_up(on: &Connecting, host: &str, port: u16) -> Result<Vec<IpAddr>, Failure> {
    on.enter(ConnectStage::Lookup);
    let found: Vec<IpAddr> =
        SystemResolver.resolve(on.handle(), host, port).await?.iter().map(|address| address.ip()).collect();
    if found.is_empty() {
        Err(DnsLookupError { host: host.to_owned(), source: None }.into())
    } else {
        Ok(found)
    }
}

/// Asks for a connection. Everything that follows the answer belongs to that.
async fn request(peer: &Conversation, host: &str, address: Option<IpAddr>, port: u16) -> Result<(), Failure> {
    let mut message = vec![VERSION, CONNECT, 0];
    match address {
        Some(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Some(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        None => {
            message.push(NAME);
            push_short(&mut message, host)?;
        }
    }
    message.extend(port.to_be_bytes());
    peer.write(&message);
    let [version, reply, _, kind] = read(peer).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks5(version).into());
    }
    if reply != 0 {
        return Err(SocksError::Refused { target: format!("{host}:{port}"), reply }.into());
    }
    // The address and port that the proxy connects from are not used.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => u8::from_be_bytes(read(peer).await?).into(),
        _ => return Err(SocksError::InvalidAnswer.into()),
    };
    peer.read_exact(length + 2).await?;
    Ok(())
}

/// Appends a text of up to 255 bytes, with its length in front.
fn push_short(message: &mut Vec<u8>, text: &str) -> Result<(), SocksError> {
    let length = u8::try_from(text.len()).map_err(|_| SocksError::TooLong)?;
    message.push(length);
    message.extend_from_slice(text.as_bytes());
    Ok(())
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
