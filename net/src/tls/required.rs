//! Converts a server's configuration into one that requires client certificates.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use super::{TlsConfigError, given};

/// Returns the same configuration, but for clients with a certificate from one of `roots` only.
///
/// rustls cannot replace the verifier of a configuration, and does not reveal its protocol versions. So this
/// builds another configuration and copies each setting.
pub(super) fn requiring(
    config: &ServerConfig,
    roots: Vec<CertificateDer<'static>>,
) -> Result<ServerConfig, TlsConfigError> {
    let cannot = |error| TlsConfigError::because("cannot require client certificates", error);
    let provider = config.crypto_provider().clone();
    let realm = realm(&roots);
    let verifier = GivenClients::new(roots, provider.clone())?;
    let mut required = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(config).map_err(cannot)?)
        .map_err(cannot)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(config.cert_resolver.clone());
    required.ignore_client_order = config.ignore_client_order;
    required.max_fragment_size = config.max_fragment_size;
    required.session_storage = Arc::new(Sessions { realm, inner: config.session_storage.clone() });
    required.ticketer = Arc::new(Tickets { realm, inner: config.ticketer.clone() });
    required.alpn_protocols.clone_from(&config.alpn_protocols);
    required.key_log = config.key_log.clone();
    required.enable_secret_extraction = config.enable_secret_extraction;
    required.max_early_data_size = config.max_early_data_size;
    required.send_half_rtt_data = config.send_half_rtt_data;
    required.send_tls13_tickets = config.send_tls13_tickets;
    required.max_tls13_tickets = config.max_tls13_tickets;
    required.require_ems = config.require_ems;
    required.time_provider = config.time_provider.clone();
    required.cert_compressors.clone_from(&config.cert_compressors);
    required.cert_compression_cache = config.cert_compression_cache.clone();
    required.cert_decompressors.clone_from(&config.cert_decompressors);
    Ok(required)
}

/// Returns the protocol versions of a configuration. rustls reveals them only in a handshake. So this tries a
/// handshake with a client of each version, up to the choice of the certificate.
fn versions(config: &ServerConfig) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let mut probed = config.clone();
    probed.cert_resolver = Arc::new(NoCertificate);
    probed.alpn_protocols = Vec::new();
    let probed = Arc::new(probed);
    let mut found = Vec::new();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = ClientConfig::builder_with_provider(config.crypto_provider().clone())
            .with_protocol_versions(&[version]);
        // The provider has no cipher suite of this version.
        let Ok(client) = client else { continue };
        let client = client.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = std::net::Ipv4Addr::LOCALHOST.into();
        let mut client =
            ClientConnection::new(Arc::new(client), rustls::pki_types::ServerName::IpAddress(name))?;
        let mut server = ServerConnection::new(probed.clone())?;
        let mut hello = Vec::new();
        let cannot = |error: std::io::Error| Error::General(error.to_string());
        client.write_tls(&mut hello).map_err(cannot)?;
        server.read_tls(&mut &hello[..]).map_err(cannot)?;
        if !matches!(server.process_new_packets(), Err(Error::PeerIncompatible(_))) {
            found.push(version);
        }
    }
    Ok(found)
}

/// Ends a handshake when the certificate is chosen.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Identifies the clients that may resume a session, by a hash of the roots. Otherwise, a session of a server
/// that requires no certificate, or other roots, would admit clients without one. Processes with the same
/// roots, which may share tickets, get the same value.
type Realm = [u8; 8];

fn realm(roots: &[CertificateDer<'static>]) -> Realm {
    let mut hasher = DefaultHasher::new();
    for root in roots {
        root.as_ref().hash(&mut hasher);
    }
    hasher.finish().to_be_bytes()
}

/// The sessions of one realm in a store that other servers may share.
#[derive(Debug)]
struct Sessions {
    realm: Realm,
    inner: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.realm, key].concat()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

/// The tickets of one realm from a ticketer that other servers may share.
#[derive(Debug)]
struct Tickets {
    realm: Realm,
    inner: Arc<dyn ProducesTickets>,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[&self.realm, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.inner.decrypt(cipher)?.strip_prefix(&self.realm).map(<[u8]>::to_vec)
    }
}

/// Accepts clients whose certificate was signed by one of the given certificates, or is one of them: see
/// [`Given`](super::given::Given).
#[derive(Debug)]
struct GivenClients {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<dyn ClientCertVerifier>,
}

impl GivenClients {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<GivenClients>, TlsConfigError> {
        let authorities = WebPkiClientVerifier::builder_with_provider(given::roots(&certificates)?, provider)
            .build()
            .map_err(|error| TlsConfigError::because("cannot check client certificates", error))?;
        Ok(Arc::new(GivenClients { certificates, authorities }))
    }
}

impl ClientCertVerifier for GivenClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.authorities.verify_client_cert(shown, intermediates, now) {
            // webpki refuses an authority as a client's certificate, after it has checked the validity
            // period.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
                if self.certificates.contains(shown) {
                    Ok(ClientCertVerified::assertion())
                } else {
                    Err(CertificateError::UnknownIssuer.into())
                }
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // P12.1: a setting that a later rustls adds has to be copied too
    #[test]
    fn each_setting_of_rustls_is_known() {
        let config = ServerConfig::builder_with_provider(super::super::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        let text = format!("{config:#?}");
        let names = text.lines().filter_map(|line| {
            let field = line.strip_prefix("    ").filter(|field| !field.starts_with([' ', '}', ')', ']']))?;
            field.split_once(':').map(|(name, _)| name)
        });
        let known = [
            // Kept by the builder.
            "provider",
            "cert_resolver",
            "versions",
            "verifier",
            // Copied.
            "ignore_client_order",
            "max_fragment_size",
            "session_storage",
            "ticketer",
            "alpn_protocols",
            "key_log",
            "enable_secret_extraction",
            "max_early_data_size",
            "send_half_rtt_data",
            "send_tls13_tickets",
            "max_tls13_tickets",
            "require_ems",
            "time_provider",
            "cert_compressors",
            "cert_compression_cache",
            "cert_decompressors",
        ];
        let mut names: Vec<&str> = names.collect();
        names.retain(|name| !known.contains(name));
        assert!(names.is_empty(), "{names:?}");
    }
}
