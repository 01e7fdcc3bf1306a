use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection};
use rustls_platform_verifier::BuilderVerifierExt;

use super::errors::Cause;
use super::given::Given;
use super::{HandshakeFailed, TlsConfigError, pem, provider};
use crate::Address;

/// The default timeout of a handshake: that of an endpoint, which bounds the handshakes of its connections.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The trust and TLS settings of a client. Twisted: `optionsForClientTLS`, `CertificateOptions`.
///
/// Creating one reads certificates; cloning one is cheap. So create one and use it for all connections, which
/// can then resume each other's sessions too.
///
/// The server needs a certificate for the host name of the connection. No option trusts every
/// server; [`from_config`](ClientTls::from_config) accepts any verifier of rustls.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    timeout: Duration,
}

impl ClientTls {
    /// Trusts the platform's certificates: with the operating system's verifier on macOS, Windows and
    /// Android, and with its certificate files elsewhere. The environment variables `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` take precedence over those files. Twisted: `platformTrust`.
    ///
    /// # Errors
    ///
    /// If the platform has no trusted certificates.
    pub fn platform() -> Result<ClientTls, TlsConfigError> {
        let config = builder()?
            .with_platform_verifier()
            .map_err(|error| {
                TlsConfigError::because("cannot load the platform's trusted certificates", error)
            })?
            .with_no_client_auth();
        Ok(ClientTls::from_config(config))
    }

    /// Trusts only the certificates of a PEM text: servers whose certificate was signed by one of them, or is
    /// one of them. Twisted: `trustRootFromCertificates`.
    ///
    /// # Errors
    ///
    /// If the text contains no certificate, or one that cannot be parsed.
    pub fn trusting_pem(pem: &[u8]) -> Result<ClientTls, TlsConfigError> {
        ClientTls::trusting(pem::certificates(pem)?)
    }

    /// Trusts only the certificates of a PEM file, or of all `.pem` and `.crt` files of a folder.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or contains no certificate.
    pub fn trusting_file(path: impl AsRef<Path>) -> Result<ClientTls, TlsConfigError> {
        let path = path.as_ref();
        let mut certificates = Vec::new();
        let mut add = |file: &Path| {
            certificates.extend(pem::certificates(&pem::read(file)?).map_err(|error| error.within(file))?);
            Ok(())
        };
        if path.is_dir() {
            let unreadable =
                |error| TlsConfigError::because(format!("cannot list {}", path.display()), error);
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let file = entry.map_err(unreadable)?.path();
                if file.extension().is_some_and(|extension| extension == "pem" || extension == "crt") {
                    add(&file)?;
                }
            }
        } else {
            add(path)?;
        }
        if certificates.is_empty() {
            return Err(TlsConfigError::new(format!("{} contains no certificate", path.display())));
        }
        ClientTls::trusting(certificates)
    }

    fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<ClientTls, TlsConfigError> {
        let config = builder()?.dangerous().with_custom_certificate_verifier(Given::new(certificates)?);
        Ok(ClientTls::from_config(config.with_no_client_auth()))
    }

    /// Creates settings from a rustls configuration.
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> ClientTls {
        ClientTls { config: config.into(), name: None, timeout: DEFAULT_TIMEOUT }
    }

    /// Sets the offered protocols (ALPN), the preferred one first, such as `["h2", "http/1.1"]`. Twisted:
    /// `acceptableProtocols`.
    #[must_use]
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> ClientTls {
        let protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Sets the name to request (SNI) and to verify, instead of the host name of the connection. An IP
    /// address is accepted too.
    ///
    /// # Errors
    ///
    /// If `name` is neither a host name nor an IP address.
    pub fn server_name(mut self, name: &str) -> Result<ClientTls, TlsConfigError> {
        let parsed = ServerName::try_from(name)
            .map_err(|error| TlsConfigError::because(format!("invalid server name {name:?}"), error))?;
        self.name = Some(parsed.to_owned());
        Ok(self)
    }

    /// Sets the timeout of a handshake, for [`start_tls`](crate::Transport::start_tls) and
    /// [`secure`](ClientTls::secure). Default: 30 seconds. An endpoint or connector with a timeout applies that instead.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> ClientTls {
        self.timeout = timeout;
        self
    }

    /// Sets the certificate, its chain and its private key that are sent to servers that request one, from
    /// PEM texts, which may be the same.
    ///
    /// # Errors
    ///
    /// If one of them cannot be parsed, or the key does not belong to the certificate.
    pub fn certificate_pem(self, certificates: &[u8], key: &[u8]) -> Result<ClientTls, TlsConfigError> {
        let identity = pem::identity_of(certificates, key, self.config.crypto_provider())?;
        Ok(self.showing(identity))
    }

    /// Sets the certificate, its chain and its private key from PEM files, as
    /// [`certificate_pem`](ClientTls::certificate_pem).
    ///
    /// # Errors
    ///
    /// If a file cannot be read or parsed, or the key does not belong to the certificate.
    pub fn certificate_files(
        self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<ClientTls, TlsConfigError> {
        let provider = self.config.crypto_provider();
        let identity = pem::identity_in(certificates.as_ref(), key.as_ref(), provider)?;
        Ok(self.showing(identity))
    }

    pub(crate) fn showing(mut self, identity: Arc<CertifiedKey>) -> ClientTls {
        Arc::make_mut(&mut self.config).client_auth_cert_resolver =
            Arc::new(SingleCertAndKey::from(identity));
        self
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Creates the session with `host`, before its handshake.
    pub(crate) fn session(&self, host: &str, peer: &Address) -> Result<rustls::Connection, HandshakeFailed> {
        let name = match &self.name {
            Some(name) => Ok(name.clone()),
            // The zone of an IPv6 address has a meaning on this machine only.
            None => ServerName::try_from(host.split('%').next().unwrap_or(host).to_owned())
                .map_err(|_| rustls::Error::UnsupportedNameType),
        };
        name.and_then(|name| ClientConnection::new(self.config.clone(), name))
            .map(Into::into)
            .map_err(|error| HandshakeFailed::new(peer.clone(), Cause::Tls(error)))
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsConfigError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsConfigError::because("no usable TLS version", error))
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.name).finish_non_exhaustive()
    }
}
