//! Errors of TLS handshakes, closes and configurations.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as RustlsError};

use crate::Address;
use crate::errors::Unreachable;

/// The TLS handshake failed, so no connection was made. Twisted: `SSL.Error`.
///
/// A client receives it from `connect`, a server from
/// [`on_failed_handshake`](crate::tls::ServerTls::on_failed_handshake).
#[derive(Debug)]
pub struct HandshakeFailed {
    peer: Address,
    cause: Cause,
}

#[derive(Debug)]
pub(crate) enum Cause {
    Tls(RustlsError),
    /// The certificate of this peer has no trusted issuer.
    Untrusted(CertificateOwner, RustlsError),
    NotTls(Opening),
    Io(io::Error),
    Closed,
    TimedOut(Duration),
    /// This many plaintext bytes arrived after the command to start TLS.
    Plaintext(usize),
    /// A wrapper hides whether such bytes arrived.
    Unreachable,
    /// The connection already uses `start_tls` or `accept_tls`.
    Repeated,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum CertificateOwner {
    Server,
    Client,
}

impl Cause {
    /// Returns the cause of an error of this side's session.
    pub(super) fn of_session(error: RustlsError, session: &rustls::Connection) -> Cause {
        match session {
            _ if !is_untrusted(&error) => Cause::Tls(error),
            rustls::Connection::Client(_) => Cause::Untrusted(CertificateOwner::Server, error),
            rustls::Connection::Server(_) => Cause::Untrusted(CertificateOwner::Client, error),
        }
    }
}

/// Returns whether a certificate has no trusted issuer, or is self-signed and not trusted.
fn is_untrusted(error: &RustlsError) -> bool {
    match error {
        RustlsError::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        // webpki refuses most self-signed certificates like this, because tools mark them as authorities. The type of
        // its errors is not exported by rustls.
        RustlsError::InvalidCertificate(CertificateError::Other(error)) => {
            error.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}

/// The kind of a handshake failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The peer does not speak TLS.
    NotTls,
    /// The peer's certificate was refused: it is expired, for another name, untrusted or missing.
    BadCertificate,
    /// The peer refused the handshake with an alert, such as about this side's certificate, the requested
    /// name or the version.
    Refused,
    /// The peer closed the connection during the handshake.
    Closed,
    /// The handshake timed out.
    TimedOut,
    /// Plaintext arrived after the command that secures a live connection. An attacker may have injected it.
    Plaintext,
    /// The connection broke.
    Io,
    /// The peer violated the TLS protocol, or both sides have no version or cipher suite in common.
    Protocol,
    /// This side cannot secure the connection: it is already secured, or a wrapper hides the bytes that its
    /// protocol keeps.
    Unsupported,
}

impl HandshakeFailed {
    pub(crate) fn new(peer: Address, cause: Cause) -> HandshakeFailed {
        HandshakeFailed { peer, cause }
    }

    /// Creates an equal failure, since both the Deferred and the loss of the connection report it.
    pub(crate) fn duplicate(&self) -> HandshakeFailed {
        let cause = match &self.cause {
            Cause::Tls(error) => Cause::Tls(error.clone()),
            Cause::Untrusted(owner, error) => Cause::Untrusted(*owner, error.clone()),
            Cause::NotTls(opening) => Cause::NotTls(*opening),
            Cause::Io(error) => Cause::Io(io::Error::new(error.kind(), error.to_string())),
            Cause::Closed => Cause::Closed,
            Cause::TimedOut(after) => Cause::TimedOut(*after),
            Cause::Plaintext(count) => Cause::Plaintext(*count),
            Cause::Unreachable => Cause::Unreachable,
            Cause::Repeated => Cause::Repeated,
        };
        HandshakeFailed::new(self.peer.clone(), cause)
    }

    /// Returns the address of the peer.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Returns the kind of the failure.
    pub fn kind(&self) -> HandshakeFailure {
        match &self.cause {
            Cause::NotTls(_) => HandshakeFailure::NotTls,
            Cause::Untrusted(..) => HandshakeFailure::BadCertificate,
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
            Cause::Plaintext(_) => HandshakeFailure::Plaintext,
            Cause::Unreachable | Cause::Repeated => HandshakeFailure::Unsupported,
        }
    }

    /// Returns whether the peer's certificate is valid in itself but has no trusted issuer: it is self-signed, or was
    /// signed by an unknown authority. [`ClientTls::trusting_file`](crate::tls::ClientTls::trusting_file) trusts it.
    pub fn is_untrusted(&self) -> bool {
        matches!(self.cause, Cause::Untrusted(..))
    }

    /// Returns the alert with which the peer refused the handshake.
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
            // Ends with the source, which is not printed a second time with all causes of a failure.
            Cause::Untrusted(CertificateOwner::Server, error) => write!(
                f,
                "the server's certificate is not trusted (a self-signed one is trusted with \
                 ClientTls::trusting_file): {error}"
            ),
            Cause::Untrusted(CertificateOwner::Client, error) => {
                write!(f, "the client's certificate is not trusted: {error}")
            }
            Cause::Io(error) => error.fmt(f),
            Cause::Closed => f.write_str("the peer closed the connection"),
            Cause::TimedOut(after) => write!(f, "timed out after {after:?}"),
            Cause::Plaintext(count) => {
                write!(f, "{count} bytes arrived in the clear after the command to start TLS")
            }
            Cause::Unreachable => Unreachable.fmt(f),
            Cause::Repeated => f.write_str("the connection is secured already, or is being secured"),
        }
    }
}

/// The first bytes received from a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    bytes: [u8; 16],
    length: usize,
}

impl Opening {
    /// Appends received bytes, as far as there is room.
    pub(super) fn add(&mut self, data: &[u8]) {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(data) {
            *place = *byte;
            self.length += 1;
        }
    }

    /// Returns whether the bytes begin a TLS record: a record type and the major version that all records
    /// share (RFC 8446, section 5.1).
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
            Cause::Tls(error) | Cause::Untrusted(_, error) => Some(error),
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The connection ended without the peer's close_notify, so an attacker may have cut it and data may be
/// missing. Twisted: `ConnectionLost`.
///
/// This type stays exhaustive: it carries no details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsTruncated;

impl fmt::Display for TlsTruncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection ended without TLS close_notify: data may be missing")
    }
}

impl Error for TlsTruncated {}

/// The certificates, keys or names of a TLS configuration are invalid.
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

    /// Appends the name of the file to the message.
    pub(crate) fn within(mut self, path: &std::path::Path) -> TlsConfigError {
        let place = format!(" (in {})", path.display());
        // A certificate and its key can be in the same file.
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
