//! Why connections end, and why they do not come to be.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use twistor_deferred::Failure;

use crate::Address;

/// The connection was closed in order: by the peer, or by `lose_connection`. Twisted: `ConnectionDone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionDone;

impl fmt::Display for ConnectionDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was closed cleanly")
    }
}

impl Error for ConnectionDone {}

/// The connection was reset by this side's `abort_connection`. Twisted: `ConnectionAborted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionAborted;

impl fmt::Display for ConnectionAborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was aborted by this side")
    }
}

impl Error for ConnectionAborted {}

/// The connection goes on, but without this protocol: [`Transport::release`](crate::Transport::release) has handed it to
/// another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionReleased;

impl fmt::Display for ConnectionReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was released to another owner")
    }
}

impl Error for ConnectionReleased {}

/// The connection broke: the peer reset it, or the network did. The source says how. Twisted: `ConnectionLost`.
#[derive(Debug)]
pub struct ConnectionLost {
    source: io::Error,
}

impl ConnectionLost {
    /// A loss for the reason that the operating system gave.
    pub fn new(source: io::Error) -> ConnectionLost {
        ConnectionLost { source }
    }

    /// What the operating system said, such as [`io::ErrorKind::ConnectionReset`].
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection was lost: {}", self.source)
    }
}

impl Error for ConnectionLost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// A method of a protocol, factory or producer panicked; its connection was closed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerPanicked {
    handler: &'static str,
    message: String,
    given_at: Option<&'static Location<'static>>,
}

impl HandlerPanicked {
    pub(crate) fn new(handler: &'static str, message: String) -> HandlerPanicked {
        HandlerPanicked { handler, message, given_at: None }
    }

    /// Names the place in the user's code where the handler was given to the library.
    pub(crate) fn given_at(mut self, place: &'static Location<'static>) -> HandlerPanicked {
        self.given_at = Some(place);
        self
    }

    /// The method that panicked, such as `data_received`.
    pub fn handler(&self) -> &'static str {
        self.handler
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for HandlerPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.handler)?;
        if let Some(place) = self.given_at {
            write!(f, ", given at {place},")?;
        }
        write!(f, " panicked: {}", self.message)
    }
}

impl Error for HandlerPanicked {}

/// Calls user code, and returns a panic in it as the error [`HandlerPanicked`], which names `handler`.
///
/// ```
/// use twistor_net::{HandlerPanicked, guarded};
///
/// let parsed = guarded("the parser", || Ok("x".parse::<u64>().unwrap()));
/// let failure = parsed.unwrap_err();
/// assert_eq!(failure.check::<HandlerPanicked>().map(HandlerPanicked::handler), Some("the parser"));
/// ```
///
/// # Errors
///
/// The failure that `code` returns, or [`HandlerPanicked`].
#[inline]
pub fn guarded<T>(handler: &'static str, code: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match twistor_deferred::guarded(code) {
        Ok(result) => result,
        Err(message) => Err(HandlerPanicked::new(handler, message).into()),
    }
}

/// No one listens at the address. Twisted: `ConnectionRefusedError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRefused {
    /// The address that refused.
    pub address: Address,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection to {} refused{}", self.address, Others(&self.others))
    }
}

impl Error for ConnectRefused {}

/// No connection came to be in the time allowed. Twisted: `TimeoutError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTimedOut {
    /// What was to be connected to: of what is behind a proxy that was not reached, the proxy.
    pub target: String,
    /// What was waited for.
    pub stage: ConnectStage,
    /// The time allowed; none when the operating system gave up first.
    pub after: Option<Duration>,
    /// The other addresses of the same name, which failed too. Empty when the time allowed is over: see `after`.
    pub others: Vec<FailedAttempt>,
}

impl fmt::Display for ConnectTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connecting to {} timed out", self.target)?;
        if let Some(after) = self.after {
            write!(f, " after {after:?}")?;
        }
        write!(f, ", waiting for {}{}", self.stage, Others(&self.others))
    }
}

impl Error for ConnectTimedOut {}

/// What a connection that took too long was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The addresses of its name.
    Lookup,
    /// An answer from one of its addresses.
    Answer,
    /// The answer of a proxy to `CONNECT`.
    Tunnel,
    /// The end of the TLS handshake.
    Handshake,
    /// A stage of a connector that the program has written, in words that follow "waiting for".
    Custom(&'static str),
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectStage::Lookup => "the addresses of its name",
            ConnectStage::Answer => "an answer",
            ConnectStage::Tunnel => "the proxy's answer to CONNECT",
            ConnectStage::Handshake => "the TLS handshake",
            ConnectStage::Custom(stage) => stage,
        })
    }
}

/// There is no way to the address from here. Twisted: `NoRouteError`.
#[derive(Debug)]
pub struct NoRoute {
    /// The address that cannot be reached.
    pub address: Address,
    /// What the operating system said.
    pub source: io::Error,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no route to {}: {}{}", self.address, self.source, Others(&self.others))
    }
}

impl Error for NoRoute {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The name has no address, or could not be looked up. Twisted: `DNSLookupError`.
#[derive(Debug)]
pub struct DnsLookupError {
    /// The name.
    pub host: String,
    /// What the look-up said; none when it gave an empty list.
    pub source: Option<io::Error>,
}

impl fmt::Display for DnsLookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resolve {:?}: ", self.host)?;
        match &self.source {
            Some(source) => source.fmt(f),
            None => f.write_str("the name has no addresses"),
        }
    }
}

impl Error for DnsLookupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Connecting failed in a way that has no error of its own: no descriptor left, the local address taken, no such
/// UNIX socket. Twisted: `ConnectError`.
#[derive(Debug)]
pub struct ConnectFailed {
    /// What was to be connected to.
    pub address: Address,
    /// What the operating system said.
    pub source: io::Error,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: {}{}", self.address, self.source, Others(&self.others))
    }
}

impl Error for ConnectFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// A service did not get a connection in the number of attempts that the caller was ready to wait for. Its source is
/// the last failure.
#[derive(Clone, Debug)]
pub struct ConnectAttemptsFailed {
    /// The failures counted.
    pub failures: u32,
    source: Arc<dyn Error + Send + Sync>,
}

impl ConnectAttemptsFailed {
    pub(crate) fn new(failures: u32, source: Arc<dyn Error + Send + Sync>) -> ConnectAttemptsFailed {
        ConnectAttemptsFailed { failures, source }
    }
}

impl fmt::Display for ConnectAttemptsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection after {} failures: {}", self.failures, self.source)
    }
}

impl Error for ConnectAttemptsFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// An address that an attempt to connect to a name tried without success, besides the address that the error names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The address.
    pub address: Address,
    /// Why it failed, such as `refused`.
    pub reason: String,
}

impl FailedAttempt {
    pub(crate) fn new(address: impl Into<Address>, failure: &Failure) -> FailedAttempt {
        let reason = if failure.is::<ConnectRefused>() {
            "refused".to_owned()
        } else if failure.is::<ConnectTimedOut>() {
            "timed out".to_owned()
        } else if let Some(NoRoute { source, .. }) = failure.downcast_ref() {
            source.to_string()
        } else if let Some(ConnectFailed { source, .. }) = failure.downcast_ref() {
            source.to_string()
        } else {
            failure.to_string()
        };
        FailedAttempt { address: address.into(), reason }
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

/// How many other addresses an error prints. A name can have thousands.
const PRINTED: usize = 8;

/// The other addresses, as the end of an error's text.
struct Others<'a>(&'a [FailedAttempt]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return Ok(()) };
        write!(f, " (also tried {first}")?;
        for other in rest.iter().take(PRINTED - 1) {
            write!(f, ", {other}")?;
        }
        match self.0.len().saturating_sub(PRINTED) {
            0 => f.write_str(")"),
            more => write!(f, " and {more} more)"),
        }
    }
}

/// The failure for an error of the operating system about connecting to `address`.
pub(crate) fn connect_failure(address: Address, source: io::Error) -> Failure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    let others = Vec::new();
    match source.kind() {
        ConnectionRefused => ConnectRefused { address, others }.into(),
        TimedOut => {
            let (target, stage) = (address.to_string(), ConnectStage::Answer);
            ConnectTimedOut { target, stage, after: None, others }.into()
        }
        HostUnreachable | NetworkUnreachable => NoRoute { address, source, others }.into(),
        _ => ConnectFailed { address, source, others }.into(),
    }
}

/// The same failure to connect, with the other addresses that failed.
pub(crate) fn beside(failure: Failure, others: Vec<FailedAttempt>) -> Failure {
    let failure = match failure.trap::<ConnectRefused>() {
        Ok(refused) => return ConnectRefused { others, ..refused }.into(),
        Err(failure) => failure,
    };
    let failure = match failure.trap::<ConnectTimedOut>() {
        Ok(late) => return ConnectTimedOut { others, ..late }.into(),
        Err(failure) => failure,
    };
    let failure = match failure.trap::<NoRoute>() {
        Ok(unreachable) => return NoRoute { others, ..unreachable }.into(),
        Err(failure) => failure,
    };
    match failure.trap::<ConnectFailed>() {
        Ok(failed) => ConnectFailed { others, ..failed }.into(),
        Err(failure) => failure,
    }
}

/// The address cannot be listened on. Twisted: `CannotListenError`.
#[derive(Debug)]
pub struct CannotListen {
    /// The address.
    pub address: Address,
    /// What the operating system said.
    pub source: io::Error,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)
    }
}

impl Error for CannotListen {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
