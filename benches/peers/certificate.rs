//! The certificate of the servers over TLS, and rustls's configurations with it: the same for all peers that use rustls.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::runner::child::Arguments;

/// Writes a new certificate and its key next to this program. Returns both paths.
pub fn files() -> Result<[String; 2], String> {
    let error = |error: &dyn std::fmt::Display| format!("the certificate: {error}");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).map_err(|reason| error(&reason))?;
    let own = std::env::current_exe().map_err(|reason| error(&reason))?;
    let write = |name: &str, text: String| -> Result<String, String> {
        let path = own.with_file_name(name);
        std::fs::write(&path, text).map_err(|reason| error(&reason))?;
        Ok(path.to_string_lossy().into_owned())
    };
    Ok([write("benches-cert.pem", cert.pem())?, write("benches-key.pem", signing_key.serialize_pem())?])
}

/// `CERTIFICATE KEY`: files.
pub fn server_config(arguments: &Arguments<'_>) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(arguments.text(0)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(arguments.text(1)).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration")
}

/// Of a client that trusts this certificate. Each handshake is a full one.
pub fn client_config(certificate: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(Path::new(certificate)).expect("a certificate");
    roots.add(certificate).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config
}
