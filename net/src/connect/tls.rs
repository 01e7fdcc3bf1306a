use std::time::Duration;

use twistor_deferred::Deferred;

use super::{Connect, Connecting};
use crate::tls::ClientTls;
use crate::{ConnectStage, Stream};

/// Secures the connections of another connector by TLS. Twisted: `wrapClientTLS`.
#[derive(Clone, Debug)]
pub struct Tls<C> {
    pub(crate) connector: C,
    pub(crate) host: String,
    tls: ClientTls,
}

impl<C: Connect> Tls<C> {
    /// Creates a connector that secures the connections of `connector`. The server needs a certificate for
    /// `host` that `tls` trusts.
    pub fn new(connector: C, host: impl Into<String>, tls: ClientTls) -> Tls<C> {
        Tls { connector, host: host.into(), tls }
    }
}

impl<C: Connect> Connect for Tls<C> {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        let connected = self.connector.connect(on);
        let (on, tls, host) = (on.clone(), self.tls.clone(), self.host.clone());
        connected.add_callback(move |stream| {
            on.enter(ConnectStage::Handshake);
            // The deadline bounds the handshake too, and its error names the stage.
            let tls = if on.deadline().is_some() { tls.handshake_timeout(Duration::MAX) } else { tls };
            tls.secure(on.handle(), &host, stream)
        })
    }
}
