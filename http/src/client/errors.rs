//! Errors of requests and responses. Malformed messages, URLs and redirects have error types of their
//! modules.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use twistor_net::ConnectStage;

use crate::{DecodeError, Headers};

/// The server answered with a status other than success (2xx). Twisted: `twisted.web.error.Error`.
#[derive(Clone)]
pub struct HttpError {
    /// The status.
    pub status: StatusCode,
    /// The server's reason phrase, or the usual one of the status.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The page of the response: only a part of it if it was incomplete, undecodable or above the limit.
    pub body: Vec<u8>,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_str(), self.reason)
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpError({self}, {} bytes)", self.body.len())
    }
}

impl Error for HttpError {}

/// The body was incomplete. Twisted: `PartialDownloadError`, `ResponseFailed`.
#[derive(Clone)]
pub struct PartialDownload {
    /// The received bytes, if they were kept.
    pub body: Vec<u8>,
    /// The number of received bytes.
    pub received: u64,
    /// The announced number of bytes, if there is one.
    pub expected: Option<u64>,
    /// What happened to the connection.
    pub cause: String,
}

impl fmt::Display for PartialDownload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partial download: {} bytes", self.received)?;
        if let Some(expected) = self.expected {
            write!(f, " of {expected}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl fmt::Debug for PartialDownload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartialDownload({self})")
    }
}

impl Error for PartialDownload {}

/// The connection ended before the head of the response was complete. Twisted: `ResponseNeverReceived`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoResponse {
    /// Whether a part of the head had arrived.
    pub partial: bool,
    /// What happened to the connection.
    pub cause: String,
}

impl fmt::Display for NoResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.partial { "only part of a response head" } else { "no response" };
        write!(f, "{what}: {}", self.cause)
    }
}

impl Error for NoResponse {}

/// A request exceeded one of its timeouts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTimedOut {
    /// The timeout that was exceeded.
    pub kind: TimeoutKind,
    /// The server, as scheme, host and port, and the proxy if there is one; the proxy alone while it was not
    /// reached.
    pub target: String,
    /// The stage of the request at that time.
    pub stage: RequestStage,
    /// The duration of the timeout. For [`TimeoutKind::Rate`]: the length of a period.
    pub after: Duration,
}

/// A timeout of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// [`Request::timeout`](super::Request::timeout), for the whole request.
    Total,
    /// [`Request::idle_timeout`](super::Request::idle_timeout): the server sent and accepted nothing.
    Idle,
    /// [`Request::min_rate`](super::Request::min_rate): the body arrived too slowly.
    Rate {
        /// The bytes received in the last period.
        received: u64,
        /// The bytes demanded in each period.
        least: u64,
    },
}

impl fmt::Display for RequestTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestTimedOut { target, stage, after, .. } = self;
        match self.kind {
            TimeoutKind::Total => {
                write!(f, "request to {target} timed out after {after:?} while waiting for {stage}")
            }
            TimeoutKind::Idle => write!(f, "no data from {target} for {after:?} while waiting for {stage}"),
            TimeoutKind::Rate { received, least } => write!(
                f,
                "response from {target} is too slow: {received} bytes in {after:?}, at least {least} are demanded"
            ),
        }
    }
}

impl Error for RequestTimedOut {}

/// The stages of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestStage {
    /// Waiting for a connection of the agent, whose limit is reached.
    Queue,
    /// Waiting for a new connection.
    Connect(ConnectStage),
    /// Waiting for the server to accept the request.
    Send,
    /// Waiting for the head of the response.
    Head,
    /// Waiting for the rest of its body.
    Body,
}

impl fmt::Display for RequestStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestStage::Queue => "a connection to be free",
            RequestStage::Connect(stage) => return write!(f, "a connection: {stage}"),
            RequestStage::Send => "the request to be taken in",
            RequestStage::Head => "the response head",
            RequestStage::Body => "the rest of the response",
        })
    }
}

/// Connecting to the proxy failed. The source has the reason.
#[derive(Debug)]
pub struct ProxyUnreachable {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// The reason: [`ConnectRefused`](twistor_net::ConnectRefused),
    /// [`DnsLookupError`](twistor_net::DnsLookupError), or another error of
    /// [`ClientEndpoint::connect`](twistor_net::ClientEndpoint::connect).
    pub source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for ProxyUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} cannot be reached: {}", self.proxy, self.source)
    }
}

impl Error for ProxyUnreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The proxy refused a tunnel to an `https` server, with a status other than success (2xx), such as 407 if it
/// requires other credentials, or 502 or 504 if it cannot reach the server.
#[derive(Clone)]
pub struct ProxyRefused {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// Host and port of the server.
    pub target: String,
    /// The status.
    pub status: StatusCode,
    /// The proxy's reason phrase, or the usual one of the status.
    pub reason: String,
    /// The header fields of its answer.
    pub headers: Headers,
}

impl fmt::Display for ProxyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} refuses a tunnel to {}: ", self.proxy, self.target)?;
        write!(f, "{} {}", self.status.as_str(), self.reason)
    }
}

impl fmt::Debug for ProxyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyRefused({self})")
    }
}

impl Error for ProxyRefused {}

/// The proxy gave no valid answer to the request for a tunnel to an `https` server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyMisbehaved {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// Host and port of the server.
    pub target: String,
    /// The fault of the proxy.
    pub fault: ProxyFault,
}

/// The fault of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyFault {
    /// It closed the connection.
    Closed,
    /// The connection broke, for this reason.
    Lost(String),
    /// Its answer is malformed, or too large.
    Answer(DecodeError),
    /// It sent data after its answer, although TLS begins with the client.
    UnaskedBytes,
}

impl fmt::Display for ProxyMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no tunnel to {} through the proxy {}: ", self.target, self.proxy)?;
        match &self.fault {
            ProxyFault::Closed => f.write_str("it closed the connection"),
            ProxyFault::Lost(cause) => f.write_str(cause),
            ProxyFault::Answer(error) => error.fmt(f),
            ProxyFault::UnaskedBytes => f.write_str("it sent bytes after its answer"),
        }
    }
}

impl Error for ProxyMisbehaved {}

/// The URL has the scheme `https`, but the feature `tls` is off.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsUnavailable;

#[cfg(not(feature = "tls"))]
impl fmt::Display for TlsUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https is not available: built without TLS")
    }
}

#[cfg(not(feature = "tls"))]
impl Error for TlsUnavailable {}
