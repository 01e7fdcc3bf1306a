//! Why a page did not come. What is wrong with a message, a URL or a redirect is told by the errors of those.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use twistor_net::ConnectStage;

use crate::{DecodeError, Headers};

/// The server answered with a status that is no success (2xx). Twisted: `twisted.web.error.Error`.
#[derive(Clone)]
pub struct HttpError {
    /// The status.
    pub status: StatusCode,
    /// The server's words for it, or the usual ones if it sent none.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The page that came with it: without the rest if it was cut off, undecodable or above the limit.
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

/// The body ended before its end. Twisted: `PartialDownloadError`, `ResponseFailed`.
#[derive(Clone)]
pub struct PartialDownload {
    /// What came, where it was kept.
    pub body: Vec<u8>,
    /// How many bytes came.
    pub received: u64,
    /// How many were due, where the server had said.
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

/// The connection ended before the head of the response was whole. Twisted: `ResponseNeverReceived`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoResponse {
    /// Whether a part of the head had come.
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

/// A request took longer than one of its time limits allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTimedOut {
    /// The limit that was exceeded.
    pub kind: TimeoutKind,
    /// The server, as scheme, host and port, and the proxy if there is one; the proxy alone while it was not
    /// reached.
    pub target: String,
    /// The stage of the request at that time.
    pub stage: RequestStage,
    /// The time allowed; of [`TimeoutKind::Rate`], the length of a period.
    pub after: Duration,
}

/// A time limit of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// [`Request::timeout`](super::Request::timeout), on the whole request.
    Total,
    /// [`Request::idle_timeout`](super::Request::idle_timeout): nothing was received from the server or taken by it.
    Idle,
    /// [`Request::min_rate`](super::Request::min_rate): the body came too slowly.
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
                write!(f, "request to {target} timed out after {after:?}, waiting for {stage}")
            }
            TimeoutKind::Idle => write!(f, "nothing came from {target} for {after:?}, waiting for {stage}"),
            TimeoutKind::Rate { received, least } => write!(
                f,
                "response from {target} is too slow: {received} bytes in {after:?}, at least {least} are demanded"
            ),
        }
    }
}

impl Error for RequestTimedOut {}

/// What a request that took too long was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestStage {
    /// A connection of the agent's: as many as it may open are in use.
    Queue,
    /// A new connection.
    Connect(ConnectStage),
    /// The server to take in the request.
    Send,
    /// The head of the response.
    Head,
    /// The rest of its body.
    Body,
}

impl fmt::Display for RequestStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestStage::Queue => "a connection to be free",
            RequestStage::Connect(stage) => return write!(f, "a connection: {stage}"),
            RequestStage::Send => "the request to be taken in",
            RequestStage::Head => "the head of the response",
            RequestStage::Body => "the rest of the response",
        })
    }
}

/// There is no connection to the proxy: its name was not found, nobody listens there, and so on, as the source says.
#[derive(Debug)]
pub struct ProxyUnreachable {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// Why not: [`ConnectRefused`](twistor_net::ConnectRefused),
    /// [`DnsLookupError`](twistor_net::DnsLookupError), or what else
    /// [`ClientEndpoint::connect`](twistor_net::ClientEndpoint::connect) tells.
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

/// The proxy was asked for a tunnel to an `https` server, and answered with a status that is no success
/// (2xx): 407 where it wants other credentials, 502 or 504 where it does not reach the server, and so on.
#[derive(Clone)]
pub struct ProxyRefused {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// Host and port of the server.
    pub target: String,
    /// The status.
    pub status: StatusCode,
    /// The proxy's words for it, or the usual ones if it sent none.
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

/// The proxy was asked for a tunnel to an `https` server, and gave no answer that HTTP allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyMisbehaved {
    /// The proxy: scheme, host and port.
    pub proxy: String,
    /// Host and port of the server.
    pub target: String,
    /// What it did.
    pub fault: ProxyFault,
}

/// What a proxy did instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyFault {
    /// It closed the connection.
    Closed,
    /// The connection broke, as these words say.
    Lost(String),
    /// Its answer is malformed, or too large.
    Answer(DecodeError),
    /// It sent something behind its answer, where the server waits for the client to speak first.
    UnaskedBytes,
}

impl fmt::Display for ProxyMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no tunnel to {} through the proxy {}: ", self.target, self.proxy)?;
        match &self.fault {
            ProxyFault::Closed => f.write_str("it closed the connection"),
            ProxyFault::Lost(cause) => f.write_str(cause),
            ProxyFault::Answer(error) => error.fmt(f),
            ProxyFault::UnaskedBytes => f.write_str("it sent bytes behind its answer"),
        }
    }
}

impl Error for ProxyMisbehaved {}

/// The URL is an `https` one, and this build speaks no TLS.
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
