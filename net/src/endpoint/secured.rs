//! The arguments of endpoint strings that say whom to trust and who one is.

use super::EndpointError;
use super::description::{Description, Piece};
use crate::tls::{ClientTls, ServerTls, TlsConfigError};

pub(super) fn client(description: &mut Description) -> Result<ClientTls, EndpointError> {
    let kind_at = description.kind.at;
    let mut tls = match either(description, "trustRoots", "caCertsDir") {
        Some(roots) => blame(description, roots.at, ClientTls::trusting_file(&roots.text))?,
        None => blame(description, kind_at, ClientTls::platform())?,
    };
    let key = description.take_named("privateKey");
    let certificate = either(description, "certificate", "certKey");
    if let Some(first) = certificate.as_ref().or(key.as_ref()) {
        let certificate = certificate.as_ref().unwrap_or(first);
        let key = key.as_ref().unwrap_or(first);
        tls = blame(description, first.at, tls.certificate_files(&certificate.text, &key.text))?;
    }
    if let Some(name) = description.take_named("hostname") {
        tls = blame(description, name.at, tls.server_name(&name.text))?;
    }
    Ok(match description.take_named("alpn") {
        Some(protocols) => tls.alpn(protocols.text.split(',')),
        None => tls,
    })
}

pub(super) fn server(description: &mut Description) -> Result<ServerTls, EndpointError> {
    let key = description.require("privateKey")?;
    let certificate = match description.take_named("certificate") {
        Some(certificate) => certificate,
        None => description.take("certKey").unwrap_or_else(|| key.clone()),
    };
    let mut pem = blame(description, certificate.at, read(&certificate))?;
    if let Some(chain) = description.take_named("extraCertChain") {
        pem.push(b'\n');
        pem.extend(blame(description, chain.at, read(&chain))?);
    }
    let key_pem = blame(description, key.at, read(&key))?;
    let tls = blame(description, certificate.at, ServerTls::from_pem(&pem, &key_pem))?;
    Ok(match description.take_named("alpn") {
        Some(protocols) => tls.alpn(protocols.text.split(',')),
        None => tls,
    })
}

fn either(description: &mut Description, name: &str, other: &str) -> Option<Piece> {
    description.take_named(name).or_else(|| description.take_named(other))
}

fn read(file: &Piece) -> Result<Vec<u8>, TlsConfigError> {
    crate::tls::read_pem(file.text.as_ref())
}

fn blame<T>(
    description: &Description,
    at: usize,
    result: Result<T, TlsConfigError>,
) -> Result<T, EndpointError> {
    result.map_err(|error| description.error(at, error.to_string()))
}
