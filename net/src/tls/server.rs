use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use twistor_deferred::guarded;

use super::errors::Cause;
use super::required::requiring;
use super::{HandshakeFailed, TlsConfigError, pem, provider};
use crate::{Address, HandlerPanicked};

/// The default timeout of a handshake.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

type FailureObserver = Rc<dyn Fn(&HandshakeFailed)>;

/// The identity and TLS settings of a server. Twisted: `CertificateOptions`, `PrivateCertificate.options`.
///
/// It is cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    timeout: Duration,
    /// The observer of failed handshakes, and the place in the user's code that passed it.
    observer: Option<(FailureObserver, &'static Location<'static>)>,
}

impl ServerTls {
    /// Creates settings with a certificate, its chain and its private key from PEM texts, which may be the
    /// same.
    ///
    /// # Errors
    ///
    /// If one of them cannot be parsed, or the key does not belong to the certificate.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<ServerTls, TlsConfigError> {
        ServerTls::showing(pem::identity_of(certificates, key, &provider())?)
    }

    /// Creates settings with a certificate, its chain and its private key from PEM files, as
    /// [`from_pem`](ServerTls::from_pem).
    ///
    /// # Errors
    ///
    /// If a file cannot be read or parsed, or the key does not belong to the certificate.
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<ServerTls, TlsConfigError> {
        ServerTls::showing(pem::identity_in(certificates.as_ref(), key.as_ref(), &provider())?)
    }

    pub(crate) fn showing(identity: Arc<CertifiedKey>) -> Result<ServerTls, TlsConfigError> {
        let identity = Arc::new(SingleCertAndKey::from(identity));
        Ok(ServerTls::from_config(builder()?.with_no_client_auth().with_cert_resolver(identity)))
    }

    /// Creates settings from a rustls configuration, such as one with several certificates selected by name,
    /// or one that reloads renewed certificates.
    pub fn from_config(config: impl Into<Arc<ServerConfig>>) -> ServerTls {
        ServerTls { config: config.into(), timeout: DEFAULT_TIMEOUT, observer: None }
    }

    /// Sets the accepted protocols (ALPN), the preferred one first. A client that offers only others is
    /// refused; a client that offers none is accepted. Twisted: `acceptableProtocols`.
    #[must_use]
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> ServerTls {
        let protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Requires clients to have a certificate that was signed by one of these certificates, or is one of
    /// them. `roots` is a PEM text.
    ///
    /// All other settings are kept, including those from [`from_config`](ServerTls::from_config). A session
    /// of a server that requires no certificates, or other ones, is not resumed, even if both share a session
    /// store.
    ///
    /// # Errors
    ///
    /// If the text contains no certificate, or one that cannot be parsed.
    pub fn require_client_certificates(mut self, roots: &[u8]) -> Result<ServerTls, TlsConfigError> {
        self.config = Arc::new(requiring(&self.config, pem::certificates(roots)?)?);
        Ok(self)
    }

    /// Sets the timeout of a handshake. Default: 10 seconds.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> ServerTls {
        self.timeout = timeout;
        self
    }

    /// Calls `observer` for every failed handshake. Default: they are logged at debug level, because any port
    /// scanner causes them.
    #[must_use]
    #[track_caller]
    pub fn on_failed_handshake(mut self, observer: impl Fn(&HandshakeFailed) + 'static) -> ServerTls {
        self.observer = Some((Rc::new(observer), Location::caller()));
        self
    }

    /// Creates the session with a client, before its handshake.
    pub(crate) fn session(&self, peer: &Address) -> Result<rustls::Connection, HandshakeFailed> {
        ServerConnection::new(self.config.clone())
            .map(Into::into)
            .map_err(|error| HandshakeFailed::new(peer.clone(), Cause::Tls(error)))
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn failed(&self, failure: &HandshakeFailed) {
        match &self.observer {
            Some((observer, place)) => {
                if let Err(message) = guarded(|| observer(failure)) {
                    log::error!("{}", HandlerPanicked::new("on_failed_handshake", message).given_at(place));
                }
            }
            None => log::debug!("{failure}"),
        }
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsConfigError> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsConfigError::because("no usable TLS version", error))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("handshake_timeout", &self.timeout).finish_non_exhaustive()
    }
}
