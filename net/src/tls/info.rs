use rustls::pki_types::CertificateDer;
use rustls::{Connection, ProtocolVersion, SupportedCipherSuite};

/// The negotiated parameters of a TLS connection, returned by [`Transport::tls`](crate::Transport::tls).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The negotiated protocol (ALPN), if any. Twisted: `negotiatedProtocol`.
    pub alpn: Option<Vec<u8>>,
    /// On a server: the name that the client requested (SNI).
    pub server_name: Option<String>,
    /// The peer's certificate, followed by the rest of its chain. Empty if the peer sent none. Twisted:
    /// `getPeerCertificate`.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
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
