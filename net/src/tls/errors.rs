//! Why there is no TLS, or no more of it.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Error as RustlsError};

use crate::Address;

/// The handshake came to nothing: there is a peer, but no connection. Twisted: `SSL.Error`.
///
/// A client gets it from `connect`, a server from
/// [`on_failed_handshake`](crate::tls::ServerTls::on_failed_handshake).
#[derive(Debug)]
pub struct HandshakeFailed {
    peer: Address,
    cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Tls(RustlsError),
    NotTls(Opening),
    Io(io::Error),
    Closed,
    TimedOut(Duration),
}

/// What kind of thing went wrong in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// What the peer sent is not TLS at all.
    NotTls,
    /// The peer's certificate is refused: expired, for another name, from nobody trusted, or missing.
    BadCertificate,
    /// The peer refuses, and said why in an alert: our certificate, the name, the versions.
    Refused,
    /// The peer closed the connection in the middle.
    Closed,
    /// The peer took too long.
    TimedOut,
    /// The connection broke.
    Io,
    /// The peer did something that TLS does not allow, or shares no way of doing it with this side.
    Protocol,
}

impl HandshakeFailed {
    pub(super) fn new(peer: Address, cause: Cause) -> HandshakeFailed {
        HandshakeFailed { peer, cause }
    }

    /// The peer.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> HandshakeFailure {
        match &self.cause {
            Cause::NotTls(_) => HandshakeFailure::NotTls,
            Cause::Tls(
                RustlsError::InvalidCertificate(_)
                | RustlsError::NoCertificatesPresented
                | RustlsError::InvalidCertRevocationList(_)
                | RustlsError::UnsupportedNameType,
            ) => HandshakeFailure::BadCertificate,
            Cause::Tls(RustlsError::AlertReceived(_)) => HandshakeFailure::Refused,
            Cause::Tls(_) => HandshakeFailure::Protocol,
            Cause::Closed => HandshakeFailure::Closed,
            Cause::TimedOut(_) => HandshakeFailure::TimedOut,
            Cause::Io(_) => HandshakeFailure::Io,
        }
    }

    /// The alert that the peer refused with.
    pub fn alert(&self) -> Option<AlertDescription> {
        match &self.cause {
            Cause::Tls(RustlsError::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }
}

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS handshake with {} failed: ", self.peer)?;
        match &self.cause {
            Cause::NotTls(opening) => opening.fmt(f),
            Cause::Tls(error) => error.fmt(f),
            Cause::Io(error) => error.fmt(f),
            Cause::Closed => f.write_str("the peer closed the connection"),
            Cause::TimedOut(after) => write!(f, "it took longer than {after:?}"),
        }
    }
}

/// The first bytes that a peer sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; 16],
    length: usize,
}

impl Opening {
    /// Keeps the beginning of `data`, which follows what was added before.
    pub(super) fn add(&mut self, data: &[u8]) {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(data) {
            *place = *byte;
            self.length += 1;
        }
    }

    /// Whether these begin a TLS record: its type, and the version that they all have (RFC 8446, section 5.1).
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.bytes, [20..=24, 3, ..])
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const METHODS: [&[u8]; 9] =
            [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"PATCH ", b"PRI "];
        let bytes = &self.bytes[..self.length];
        if METHODS.iter().any(|method| bytes.starts_with(method)) {
            f.write_str("the peer does not speak TLS: it sent a plain HTTP request to a TLS port")
        } else if bytes.starts_with(b"HTTP/") {
            f.write_str("the peer does not speak TLS: it answered in plain HTTP")
        } else {
            write!(f, "the peer does not speak TLS: it began with \"{}\"", bytes.escape_ascii())
        }
    }
}

impl Error for HandshakeFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Tls(error) => Some(error),
            Cause::Io(error) => Some(error),
            Cause::NotTls(_) | Cause::Closed | Cause::TimedOut(_) => None,
        }
    }
}

/// The connection ended, but the peer did not say that it was done (no close_notify): somebody else may have cut it,
/// and data may be missing. Twisted: `ConnectionLost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsTruncated;

impl fmt::Display for TlsTruncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection ended without TLS close_notify: data may be missing")
    }
}

impl Error for TlsTruncated {}

/// Certificates, keys or names that TLS cannot be set up with.
#[derive(Debug)]
pub struct TlsConfigError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TlsConfigError {
    pub(super) fn new(what: impl Into<String>) -> TlsConfigError {
        TlsConfigError { what: what.into(), source: None }
    }

    pub(super) fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> TlsConfigError {
        TlsConfigError { what: what.into(), source: Some(source.into()) }
    }

    /// The same, with the file it was found in.
    pub(crate) fn within(mut self, path: &std::path::Path) -> TlsConfigError {
        let place = format!(" (in {})", path.display());
        // A certificate and its key can be in one file.
        if !self.what.ends_with(&place) {
            self.what += &place;
        }
        self
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
