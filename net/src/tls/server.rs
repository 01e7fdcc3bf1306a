use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};

use super::required::requiring;
use super::{HandshakeFailed, TlsConfigError, pem, provider};

/// How long a client may take for its handshake, unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

type FailureObserver = Rc<dyn Fn(&HandshakeFailed)>;

/// Who a server is, and what it agrees to. Twisted: `CertificateOptions`, `PrivateCertificate.options`.
///
/// Cloning one is cheap.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    timeout: Duration,
    observer: Option<FailureObserver>,
}

impl ServerTls {
    /// Shows this certificate: it and those between it and a root, and its private key, as PEM texts (both may be the
    /// same).
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<ServerTls, TlsConfigError> {
        ServerTls::showing(pem::identity_of(certificates, key, &provider())?)
    }

    /// As [`from_pem`](ServerTls::from_pem), from files.
    ///
    /// # Errors
    ///
    /// As there, and when a file cannot be read.
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

    /// What a rustls configuration says: certificates by name, or read again as they are renewed, and whatever else it
    /// can be told.
    pub fn from_config(config: impl Into<Arc<ServerConfig>>) -> ServerTls {
        ServerTls { config: config.into(), timeout: DEFAULT_TIMEOUT, observer: None }
    }

    /// Agrees to these protocols (ALPN), the most wanted first. A client that offers only others is refused; one that
    /// offers none is not. Twisted: `acceptableProtocols`.
    #[must_use]
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> ServerTls {
        let protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Serves only clients with a certificate from one of these authorities, or with one of these certificates
    /// themselves: a PEM text.
    ///
    /// Everything else stays as it was set, also by [`from_config`](ServerTls::from_config). A session of a server that
    /// does not require certificates, or requires others, is not resumed, even where they share a session store.
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    pub fn require_client_certificates(mut self, roots: &[u8]) -> Result<ServerTls, TlsConfigError> {
        self.config = Arc::new(requiring(&self.config, pem::certificates(roots)?)?);
        Ok(self)
    }

    /// Sets how long a client may take for its handshake; 10 seconds if never set.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> ServerTls {
        self.timeout = timeout;
        self
    }

    /// Has `observer` told of every handshake that failed. Without one, they go to the debug log: any port scanner
    /// makes them.
    #[must_use]
    pub fn on_failed_handshake(mut self, observer: impl Fn(&HandshakeFailed) + 'static) -> ServerTls {
        self.observer = Some(Rc::new(observer));
        self
    }

    /// A session with a client, about to begin.
    pub(crate) fn session(&self) -> Result<rustls::Connection, rustls::Error> {
        ServerConnection::new(self.config.clone()).map(Into::into)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn failed(&self, failure: &HandshakeFailed) {
        match &self.observer {
            Some(observer) => observer(failure),
            None => log::debug!("{failure}"),
        }
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsConfigError> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsConfigError::because("no TLS version can be used", error))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("handshake_timeout", &self.timeout).finish_non_exhaustive()
    }
}
