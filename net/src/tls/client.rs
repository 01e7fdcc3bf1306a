use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection};
use rustls_platform_verifier::BuilderVerifierExt;
use twistor_deferred::{Deferred, fail};
use twistor_reactor::Handle;

use super::errors::Cause;
use super::given::Given;
use super::{HandshakeFailed, TlsConfigError, handshake, pem, provider};
use crate::{Address, ConnectionLost, Stream};

/// Whom a client trusts, and what it asks for. Twisted: `optionsForClientTLS`, `CertificateOptions`.
///
/// Making one reads certificates; cloning one is cheap. So make one and use it for all connections: they then resume
/// each other's sessions too.
///
/// The server has to have a certificate for the host name connected to; there is no switch for trusting everybody
/// ([`from_config`](ClientTls::from_config) takes whatever rustls can be told).
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Trusts whom the operating system trusts: by its own verifier on macOS, Windows and Android, by its certificate
    /// files elsewhere (the environment's `SSL_CERT_FILE` and `SSL_CERT_DIR` go first). Twisted: `platformTrust`.
    ///
    /// # Errors
    ///
    /// When there are no certificates to trust.
    pub fn platform() -> Result<ClientTls, TlsConfigError> {
        let config = builder()?
            .with_platform_verifier()
            .map_err(|error| TlsConfigError::because("cannot find whom the platform trusts", error))?
            .with_no_client_auth();
        Ok(ClientTls::from_config(config))
    }

    /// Trusts the certificates of a PEM text, and nobody else: servers whose certificate one of these has signed, and
    /// servers whose certificate is one of these. Twisted: `trustRootFromCertificates`.
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    pub fn trusting_pem(pem: &[u8]) -> Result<ClientTls, TlsConfigError> {
        ClientTls::trusting(pem::certificates(pem)?)
    }

    /// Trusts the certificates of a PEM file, or of all `.pem` and `.crt` files of a folder, and nobody else.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or has no certificate in it.
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
            return Err(TlsConfigError::new(format!("there is no certificate in {}", path.display())));
        }
        ClientTls::trusting(certificates)
    }

    fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<ClientTls, TlsConfigError> {
        let config = builder()?.dangerous().with_custom_certificate_verifier(Given::new(certificates)?);
        Ok(ClientTls::from_config(config.with_no_client_auth()))
    }

    /// What a rustls configuration says.
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> ClientTls {
        ClientTls { config: config.into(), name: None }
    }

    /// Offers protocols to choose from (ALPN), the most wanted first, such as `["h2", "http/1.1"]`. Twisted:
    /// `acceptableProtocols`.
    #[must_use]
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> ClientTls {
        let protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Asks for this name (SNI), and for a certificate of it, instead of the host connected to. An IP address is one
    /// too.
    ///
    /// # Errors
    ///
    /// When it is neither a name nor an address.
    pub fn server_name(mut self, name: &str) -> Result<ClientTls, TlsConfigError> {
        let parsed = ServerName::try_from(name)
            .map_err(|error| TlsConfigError::because(format!("{name:?} cannot name a server"), error))?;
        self.name = Some(parsed.to_owned());
        Ok(self)
    }

    /// Shows a certificate to servers that ask for one: it and those between it and a root, and its private key, as
    /// PEM texts (both may be the same).
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not belong together.
    pub fn certificate_pem(self, certificates: &[u8], key: &[u8]) -> Result<ClientTls, TlsConfigError> {
        let identity = pem::identity_of(certificates, key, self.config.crypto_provider())?;
        Ok(self.showing(identity))
    }

    /// As [`certificate_pem`](ClientTls::certificate_pem), from files.
    ///
    /// # Errors
    ///
    /// As there, and when a file cannot be read.
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

    /// Secures a connection to `host`, which the server's certificate has to name, by a TLS handshake.
    ///
    /// # Errors
    ///
    /// [`HandshakeFailed`], or `ConnectionLost` if the connection is gone. The connection is closed then, and when the
    /// Deferred is cancelled.
    pub fn secure(&self, handle: &Handle, host: &str, stream: Stream) -> Deferred<Stream> {
        let peer = match stream.peer() {
            Ok(peer) => peer,
            Err(error) => return fail(ConnectionLost::new(error)),
        };
        match self.session(host, &peer) {
            Ok(session) => {
                handshake(handle, stream.into(), session, peer, None).add_callback(|socket| Ok(socket.into()))
            }
            Err(error) => fail(error),
        }
    }

    /// A session with `host`, about to begin.
    fn session(&self, host: &str, peer: &Address) -> Result<rustls::Connection, HandshakeFailed> {
        let name = match &self.name {
            Some(name) => Ok(name.clone()),
            // The zone of an IPv6 address is this machine's own business.
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
        .map_err(|error| TlsConfigError::because("no TLS version can be used", error))
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.name).finish_non_exhaustive()
    }
}
