//! The reasons why connections end, and why connecting and listening fail.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use twistor_deferred::Failure;

use crate::Address;

/// The connection was closed cleanly, by the peer or by `lose_connection`. Twisted: `ConnectionDone`.
///
/// This type and [`ConnectionAborted`] stay exhaustive: they carry no details, and protocols return them as
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionDone;

impl fmt::Display for ConnectionDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was closed cleanly")
    }
}

impl Error for ConnectionDone {}

/// This side reset the connection with `abort_connection`. Twisted: `ConnectionAborted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionAborted;

impl fmt::Display for ConnectionAborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was aborted by this side")
    }
}

impl Error for ConnectionAborted {}

/// [`Transport::release`](crate::Transport::release) has passed the connection to another owner. The
/// connection continues without this protocol.
///
/// This type stays exhaustive, like [`ConnectionDone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionReleased;

impl fmt::Display for ConnectionReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was released to another owner")
    }
}

impl Error for ConnectionReleased {}

/// The connection broke: the peer or the network reset it. The source has the details. Twisted:
/// `ConnectionLost`.
#[derive(Debug)]
pub struct ConnectionLost {
    source: io::Error,
}

impl ConnectionLost {
    /// Creates a loss with the reason `source`, such as an error of the operating system.
    pub fn new(source: io::Error) -> ConnectionLost {
        ConnectionLost { source }
    }

    /// Returns the kind of the source, such as [`io::ErrorKind::ConnectionReset`].
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

/// A method of a protocol, factory or producer panicked, and its connection was closed.
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

    /// Names the place in the user's code that gave the handler to the library.
    pub(crate) fn given_at(mut self, place: &'static Location<'static>) -> HandlerPanicked {
        self.given_at = Some(place);
        self
    }

    /// Returns the name of the method that panicked, such as `data_received`.
    pub fn handler(&self) -> &'static str {
        self.handler
    }

    /// Returns the panic message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for HandlerPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked: {}", self.handler, self.message)?;
        match self.given_at {
            Some(place) => write!(f, " (given at {place})"),
            None => Ok(()),
        }
    }
}

impl Error for HandlerPanicked {}

/// Calls user code, and converts a panic into the error [`HandlerPanicked`] with the name `handler`.
///
/// # Errors
///
/// The failure that `code` returns, or [`HandlerPanicked`].
///
/// # Examples
///
/// ```
/// use twistor::net::{HandlerPanicked, guarded};
///
/// let parsed = guarded("the parser", || Ok("x".parse::<u64>().unwrap()));
/// let failure = parsed.unwrap_err();
/// assert_eq!(failure.check::<HandlerPanicked>().map(HandlerPanicked::handler), Some("the parser"));
/// ```
#[inline]
pub fn guarded<T>(handler: &'static str, code: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match twistor_deferred::guarded(code) {
        Ok(result) => result,
        Err(message) => Err(HandlerPanicked::new(handler, message).into()),
    }
}

/// Calls user code like [`guarded`]. The error also names `given_at`, the place where the code was given to
/// the library.
///
/// # Errors
///
/// The failure that `code` returns, or [`HandlerPanicked`].
#[inline]
pub fn guarded_at<T>(
    handler: &'static str,
    given_at: &'static Location<'static>,
    code: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    match twistor_deferred::guarded(code) {
        Ok(result) => result,
        Err(message) => Err(HandlerPanicked::new(handler, message).given_at(given_at).into()),
    }
}

/// No process listens at the address. Twisted: `ConnectionRefusedError`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectRefused {
    /// The address that refused the connection.
    pub address: Address,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl ConnectRefused {
    /// Creates the error for one address.
    pub fn new(address: impl Into<Address>) -> ConnectRefused {
        ConnectRefused { address: address.into(), others: Vec::new() }
    }
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection to {} refused{}", self.address, Others(&self.others))
    }
}

impl Error for ConnectRefused {}

/// The connection was not made in time. Twisted: `TimeoutError`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectTimedOut {
    /// The target: the proxy, if that was not reached yet.
    pub target: String,
    /// The stage that the connection had reached.
    pub stage: ConnectStage,
    /// The timeout; `None` if the operating system gave up first.
    pub after: Option<Duration>,
    /// The other addresses of the same name, which failed too. Empty if the timeout expired: see `after`.
    pub others: Vec<FailedAttempt>,
}

impl ConnectTimedOut {
    /// Creates the error for one target.
    pub fn new(target: impl Into<String>, stage: ConnectStage, after: Option<Duration>) -> ConnectTimedOut {
        ConnectTimedOut { target: target.into(), stage, after, others: Vec::new() }
    }
}

impl fmt::Display for ConnectTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connecting to {} timed out", self.target)?;
        if let Some(after) = self.after {
            write!(f, " after {after:?}")?;
        }
        write!(f, " while waiting for {}{}", self.stage, Others(&self.others))
    }
}

impl Error for ConnectTimedOut {}

/// The stages of making a connection. The text of each follows "while waiting for".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStage {
    /// Waiting for the name lookup.
    Lookup,
    /// Waiting for one of the addresses to accept the connection.
    Answer,
    /// Waiting for the proxy to answer `CONNECT`.
    Tunnel,
    /// Waiting for the end of the TLS handshake.
    Handshake,
    /// A stage of a connector of the program. The text follows "while waiting for" in error messages.
    Custom(&'static str),
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectStage::Lookup => "the name lookup",
            ConnectStage::Answer => "an answer",
            ConnectStage::Tunnel => "the proxy to answer CONNECT",
            ConnectStage::Handshake => "the TLS handshake",
            ConnectStage::Custom(stage) => stage,
        })
    }
}

/// The network has no route to the address. Twisted: `NoRouteError`.
#[derive(Debug)]
#[non_exhaustive]
pub struct NoRoute {
    /// The address that cannot be reached.
    pub address: Address,
    /// The error of the operating system.
    pub source: io::Error,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl NoRoute {
    /// Creates the error for one address.
    pub fn new(address: impl Into<Address>, source: io::Error) -> NoRoute {
        NoRoute { address: address.into(), source, others: Vec::new() }
    }
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

/// The name has no address, or the lookup failed. Twisted: `DNSLookupError`.
#[derive(Debug)]
#[non_exhaustive]
pub struct DnsLookupError {
    /// The name.
    pub host: String,
    /// The error of the lookup; `None` if it returned an empty list.
    pub source: Option<io::Error>,
}

impl DnsLookupError {
    /// Creates the error for a name, such as in a [`Resolver`](crate::Resolver).
    pub fn new(host: impl Into<String>, source: Option<io::Error>) -> DnsLookupError {
        DnsLookupError { host: host.into(), source }
    }
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

/// Connecting failed for another reason, such as a lack of file descriptors, a local address in use, or a
/// missing UNIX socket. Twisted: `ConnectError`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectFailed {
    /// The address of the target.
    pub address: Address,
    /// The error of the operating system.
    pub source: io::Error,
    /// The other addresses of the same name, which failed too.
    pub others: Vec<FailedAttempt>,
}

impl ConnectFailed {
    /// Creates the error for one address.
    pub fn new(address: impl Into<Address>, source: io::Error) -> ConnectFailed {
        ConnectFailed { address: address.into(), source, others: Vec::new() }
    }
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

/// A [`Reconnecting`](crate::Reconnecting) service did not connect within the number of attempts that the
/// caller allowed. Its source is the last failure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectAttemptsFailed {
    /// The number of failed attempts.
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
        let attempts = if self.failures == 1 { "attempt" } else { "attempts" };
        write!(f, "no connection after {} failed {attempts}: {}", self.failures, self.source)
    }
}

impl Error for ConnectAttemptsFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Another address of a name that failed too, beside the address that the error names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The address.
    pub address: Address,
    /// The reason, such as `refused`.
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

/// The number of other addresses that an error prints. A name can have thousands.
const PRINTED: usize = 8;

/// Displays the other addresses at the end of an error message.
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

/// Converts an error of the operating system about connecting to `address`.
pub(crate) fn connect_failure(address: Address, source: io::Error) -> Failure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match source.kind() {
        ConnectionRefused => ConnectRefused::new(address).into(),
        TimedOut => ConnectTimedOut::new(address.to_string(), ConnectStage::Answer, None).into(),
        HostUnreachable | NetworkUnreachable => NoRoute::new(address, source).into(),
        _ => ConnectFailed::new(address, source).into(),
    }
}

/// Adds the other addresses that failed to a failure to connect.
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
#[non_exhaustive]
pub struct CannotListen {
    /// The address.
    pub address: Address,
    /// The error of the operating system.
    pub source: io::Error,
}

impl CannotListen {
    /// Creates the error for an address.
    pub fn new(address: impl Into<Address>, source: io::Error) -> CannotListen {
        CannotListen { address: address.into(), source }
    }
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

/// A wrapper does not pass `Protocol::unread` on to a protocol that keeps bytes.
pub(crate) struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the protocol around a `Framed` or a `Conversation` does not pass `Protocol::unread` on")
    }
}

/// Returns whether the operating system had no memory for a message. It does not report when it has memory
/// again.
#[cold]
pub(crate) fn has_no_buffers(error: &io::Error) -> bool {
    error.raw_os_error() == Some(NO_BUFFERS)
}

#[cfg(unix)]
pub(crate) const NO_BUFFERS: i32 = libc::ENOBUFS;
#[cfg(not(unix))]
pub(crate) const NO_BUFFERS: i32 = 10055; // WSAENOBUFS
