use rustls::pki_types::CertificateDer;
use rustls::{Connection, ProtocolVersion, SupportedCipherSuite};

/// What the two sides of a TLS connection agreed upon, as [`Transport::tls`](crate::Transport::tls) tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol chosen (ALPN), if any. Twisted: `negotiatedProtocol`.
    pub alpn: Option<Vec<u8>>,
    /// The name that the client asked for (SNI), on a server's side.
    pub server_name: Option<String>,
    /// The peer's certificate, and those it sent behind it. Empty when it showed none. Twisted: `getPeerCertificate`.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
    /// The ciphers in use.
    pub cipher_suite: Option<SupportedCipherSuite>,
}

impl TlsInfo {
    pub(super) fn of(session: &Connection) -> TlsInfo {
        TlsInfo {
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            server_name: match session {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            peer_certificates: session
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            version: session.protocol_version(),
            cipher_suite: session.negotiated_cipher_suite(),
        }
    }
}
