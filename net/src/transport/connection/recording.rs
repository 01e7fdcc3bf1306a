//! Events of a connection for the reactor's recorder. Does nothing without the feature `trace`.

use twistor_deferred::Failure;

use super::Link;

/// An event of a connection.
#[cfg_attr(not(feature = "trace"), allow(dead_code, reason = "only a recording reads the fields"))]
pub(super) enum ConnectionStep<'a> {
    Made,
    Received(usize),
    Sent(usize),
    Lost(&'a Failure),
}

impl Link {
    #[cfg(not(feature = "trace"))]
    #[inline(always)]
    pub(super) fn record(&self, _: ConnectionStep<'_>) {}

    #[cfg(feature = "trace")]
    pub(super) fn record(&self, step: ConnectionStep<'_>) {
        use twistor_reactor::trace::ConnectionEvent;

        let Some(registration) = self.registration.get() else { return };
        registration.record_connection(|| match step {
            ConnectionStep::Made => {
                let peer = self.with_io(|io| io.socket.peer());
                let peer = peer.map_or_else(|_| "an unnamed peer".to_owned(), |peer| peer.to_string());
                ConnectionEvent::Made { peer: peer.into() }
            }
            ConnectionStep::Received(bytes) => ConnectionEvent::Received(bytes),
            ConnectionStep::Sent(bytes) => ConnectionEvent::Sent(bytes),
            ConnectionStep::Lost(reason) => ConnectionEvent::Lost(reason.to_string().into()),
        });
    }
}
