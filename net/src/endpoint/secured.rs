//! The arguments of endpoint strings for the trust and identity of TLS.

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::EndpointError;
use super::description::{Description, Piece};
use crate::tls::{ClientTls, ServerTls, TlsConfigError};

pub(super) fn client(description: &mut Description) -> Result<ClientTls, EndpointError> {
    let kind_at = description.kind.at;
    let mut tls = match either(description, "trustRoots", "caCertsDir")? {
        Some(roots) => blame(description, roots.at, ClientTls::trusting_file(&roots.text))?,
        None => blame(description, kind_at, ClientTls::platform())?,
    };
    let key = description.take_named("privateKey")?;
    let certificate = either(description, "certificate", "certKey")?;
    if let Some(first) = certificate.as_ref().or(key.as_ref()) {
        let certificate = certificate.as_ref().unwrap_or(first);
        tls = tls.showing(identity(description, certificate, None, key.as_ref().unwrap_or(first))?);
    }
    if let Some(name) = description.take_named("hostname")? {
        tls = blame(description, name.at, tls.server_name(&name.text))?;
    }
    Ok(match alpn(description)? {
        Some(protocols) => tls.alpn(protocols),
        None => tls,
    })
}

pub(super) fn server(description: &mut Description) -> Result<ServerTls, EndpointError> {
    let key = description.require("privateKey")?;
    let certificate = match description.take_named("certificate")? {
        Some(certificate) => certificate,
        None => description.take("certKey")?.unwrap_or_else(|| key.clone()),
    };
    let chain = description.take_named("extraCertChain")?;
    let identity = identity(description, &certificate, chain.as_ref(), &key)?;
    let tls = blame(description, certificate.at, ServerTls::showing(identity))?;
    Ok(match alpn(description)? {
        Some(protocols) => tls.alpn(protocols),
        None => tls,
    })
}

fn either(description: &mut Description, name: &str, other: &str) -> Result<Option<Piece>, EndpointError> {
    match description.take_named(name)? {
        Some(piece) => Ok(Some(piece)),
        None => description.take_named(other),
    }
}

/// Removes the protocol names. TLS can express neither an empty name (RFC 7301, section 3.1) nor one above
/// 255 bytes.
fn alpn(description: &mut Description) -> Result<Option<Vec<String>>, EndpointError> {
    let Some(protocols) = description.take_named("alpn")? else { return Ok(None) };
    let names: Vec<String> = protocols.text.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| name.is_empty() || name.len() > 255) {
        Some(name) => Err(description.error(protocols.at, format!("{name:?} is not a valid ALPN protocol"))),
        None => Ok(Some(names)),
    }
}

/// Reads a certificate, its chain and its key from files. Each error points at the argument that caused it.
fn identity(
    description: &Description,
    certificate: &Piece,
    chain: Option<&Piece>,
    key: &Piece,
) -> Result<Arc<CertifiedKey>, EndpointError> {
    let mut certificates = read(description, certificate, crate::tls::certificates)?;
    if let Some(chain) = chain {
        certificates.extend(read(description, chain, crate::tls::certificates)?);
    }
    let signing = read(description, key, |pem| crate::tls::private_key(pem, &crate::tls::provider()))?;
    let together = crate::tls::identity(certificates, signing)
        .map_err(|error| error.within(certificate.text.as_ref()).within(key.text.as_ref()));
    blame(description, key.at, together)
}

fn read<T>(
    description: &Description,
    file: &Piece,
    parse: impl FnOnce(&[u8]) -> Result<T, TlsConfigError>,
) -> Result<T, EndpointError> {
    let path = file.text.as_ref();
    let parsed = crate::tls::read_pem(path).and_then(|pem| parse(&pem).map_err(|error| error.within(path)));
    blame(description, file.at, parsed)
}

fn blame<T>(
    description: &Description,
    at: usize,
    result: Result<T, TlsConfigError>,
) -> Result<T, EndpointError> {
    result.map_err(|error| description.error(at, error.to_string()))
}
