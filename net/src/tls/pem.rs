//! Certificates and keys from PEM text and files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

use super::TlsConfigError;

/// The RSA key sizes, in bits, that common providers accept.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    std::fs::read(path)
        .map_err(|error| TlsConfigError::because(format!("cannot read {}", path.display()), error))
}

/// Parses all certificates of a PEM text. There must be at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::because("cannot read a certificate", error))?;
    if found.is_empty() {
        let what = if holds(pem, "PRIVATE KEY-----") {
            "found a private key instead of a certificate; are the two files swapped?"
        } else {
            no_pem(pem, "the PEM text contains no certificate")
        };
        return Err(TlsConfigError::new(what));
    }
    Ok(found)
}

/// Parses the private key of a PEM text.
pub(crate) fn private_key(
    pem: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsConfigError> {
    if holds(pem, "BEGIN ENCRYPTED PRIVATE KEY-----") || holds(pem, "Proc-Type: 4,ENCRYPTED") {
        let what = "the private key is encrypted; decrypt it first, for example with openssl pkey";
        return Err(TlsConfigError::new(what));
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if matches!(error, rustls::pki_types::pem::Error::NoItemsFound) {
            let what = if holds(pem, "BEGIN CERTIFICATE-----") {
                "found a certificate instead of a private key; are the two files swapped?"
            } else {
                no_pem(pem, "the PEM text contains no private key")
            };
            return TlsConfigError::new(what);
        }
        TlsConfigError::because("cannot read the private key", error)
    })?;
    let bits = rsa_bits(&key);
    provider.key_provider.load_private_key(key).map_err(|error| match bits {
        Some(bits) if !RSA_BITS.contains(&bits) => TlsConfigError::new(format!(
            "unsupported private key: RSA with {bits} bits (supported: {} to {})",
            RSA_BITS.start(),
            RSA_BITS.end(),
        )),
        _ => TlsConfigError::because("unsupported private key", error),
    })
}

/// Combines a certificate, its chain and its private key.
pub(crate) fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(identity)),
        Err(Error::InconsistentKeys(_)) => {
            let belongs = |certificate: &CertificateDer<'static>| {
                CertifiedKey::new(vec![certificate.clone()], identity.key.clone()).keys_match().is_ok()
            };
            Err(TlsConfigError::new(if identity.cert.iter().any(belongs) {
                "the private key belongs to a later certificate; the certificate of the key must come first"
            } else {
                "the private key does not belong to the certificate"
            }))
        }
        Err(error) => Err(TlsConfigError::because("unsupported certificate", error)),
    }
}

/// Parses and combines the certificates and the key of two PEM texts, which may be the same.
pub(super) fn identity_of(
    certificates: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    identity(self::certificates(certificates)?, private_key(key, provider)?)
}

/// Reads, parses and combines the certificates and the key of two PEM files. Errors name the file.
pub(super) fn identity_in(
    certificates: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let chain = self::certificates(&read(certificates)?).map_err(|error| error.within(certificates))?;
    let signing = private_key(&read(key)?, provider).map_err(|error| error.within(key))?;
    identity(chain, signing).map_err(|error| error.within(certificates).within(key))
}

fn holds(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Returns `otherwise`, or a more precise message if the text is DER.
fn no_pem(text: &[u8], otherwise: &'static str) -> &'static str {
    // Every certificate and key in DER begins with a long sequence.
    if text.starts_with(&[0x30, 0x82]) { "expected PEM, found DER" } else { otherwise }
}

/// Returns the number of bits of an RSA key; `None` for other keys.
fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const OCTETS: u8 = 0x04;
    // PKCS#1 (RFC 8017, A.1.2): version, modulus, and more. PKCS#8 (RFC 5208, section 5): version, algorithm,
    // and the PKCS#1 key in an octet string.
    let pkcs1 = match key {
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(key) => {
            let (info, _) = element(SEQUENCE, key.secret_pkcs8_der())?;
            let (_, rest) = element(INTEGER, info)?;
            let (_, rest) = element(SEQUENCE, rest)?;
            element(OCTETS, rest)?.0
        }
        _ => return None,
    };
    let (fields, _) = element(SEQUENCE, pkcs1)?;
    let (_, rest) = element(INTEGER, fields)?;
    let (modulus, _) = element(INTEGER, rest)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Splits a DER element with this tag into its content and the bytes after it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (digits, rest) =
        rest.split_at_checked(usize::from(length & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
    let length = digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
    rest.split_at_checked(length)
}
