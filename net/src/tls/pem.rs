//! Certificates and keys from PEM text and files.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsConfigError;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    std::fs::read(path)
        .map_err(|error| TlsConfigError::because(format!("cannot read {}", path.display()), error))
}

/// All certificates in a text; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::because("cannot read a certificate", error))?;
    if found.is_empty() {
        return Err(TlsConfigError::new("there is no certificate in the PEM text"));
    }
    Ok(found)
}

/// A certificate, with those between it and a root behind it, and its private key.
pub(super) fn identity(certificates: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let chain = self::certificates(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsConfigError::because("cannot read a private key", error))?;
    let identity = CertifiedKey::from_der(chain, key, &super::provider())
        .map_err(|error| TlsConfigError::because("certificate and private key cannot be used", error))?;
    Ok(Arc::new(identity))
}
