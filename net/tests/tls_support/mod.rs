//! An authority for the tests, and the certificates that it signs.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use twistor_net::tls::rustls::{self, ClientConfig, RootCertStore};
use twistor_net::tls::{ClientTls, ServerTls};

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the tests' own authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn signs(&self, name: &str) -> Identity {
        self.signs_with(name, |_| ())
    }

    pub fn signs_expired(&self, name: &str) -> Identity {
        self.signs_with(name, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// Creates the kind of certificate that `openssl req -x509` makes: self-signed, and marked as an
    /// authority.
    pub fn self_signed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        Identity { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn signs_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientTls {
        ClientTls::trusting_pem(self.pem.as_bytes()).unwrap()
    }
}

impl Identity {
    /// The rustls configuration of a hand-written server.
    pub fn rustls_server(&self) -> rustls::ServerConfig {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
    }

    pub fn server(&self) -> ServerTls {
        ServerTls::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// Returns an openssl command. If the program is missing, prints the reason and returns `None`.
pub fn openssl() -> Option<Command> {
    let mut probe = Command::new("openssl");
    match probe.arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Some(Command::new("openssl")),
        outcome => {
            println!("skipped: no openssl here ({outcome:?})");
            None
        }
    }
}

/// The rustls configuration of a hand-written client.
pub fn config_of(authority: &Authority) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
