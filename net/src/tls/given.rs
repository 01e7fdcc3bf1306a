//! Verification of servers against given certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsConfigError, provider};

/// Returns a store with the given certificates as authorities.
pub(super) fn roots(certificates: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| TlsConfigError::because("cannot trust a certificate", error))?;
    }
    Ok(Arc::new(roots))
}

/// Trusts servers whose certificate was signed by one of the given certificates, or is one of them.
///
/// The second case is for self-signed certificates. Common tools mark those as authorities, and webpki
/// refuses an authority as a server's certificate.
#[derive(Debug)]
pub(super) struct Given {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Given {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<Given>, TlsConfigError> {
        let authorities = WebPkiServerVerifier::builder_with_provider(roots(&certificates)?, provider())
            .build()
            .map_err(|error| TlsConfigError::because("cannot trust these certificates", error))?;
        Ok(Arc::new(Given { certificates, authorities }))
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(shown, intermediates, name, ocsp, now) {
            // webpki has checked the validity period, whose error is another one, but not yet the name.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.contains(shown) =>
            {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
                Err(CertificateError::UnknownIssuer.into())
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
