//! The trust in `https` servers and proxies.

#[cfg(feature = "tls")]
use twistor_deferred::Failure;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

/// The trust of a request. Empty without TLS.
#[cfg(feature = "tls")]
pub(super) type Trust = Option<ClientTls>;
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug, Default)]
pub(super) struct Trust;

/// Returns whether it is the default.
#[cfg(feature = "tls")]
pub(super) fn is_default(trust: &Trust) -> bool {
    trust.is_none()
}

#[cfg(not(feature = "tls"))]
pub(super) fn is_default(_: &Trust) -> bool {
    true
}

/// Returns the trust, or the platform's by default.
#[cfg(feature = "tls")]
pub(super) fn trusting(trust: &Trust) -> Result<ClientTls, Failure> {
    match trust {
        Some(trust) => Ok(trust.clone()),
        None => platform(),
    }
}

/// Adds the ALPN protocol of this client.
#[cfg(feature = "tls")]
pub(super) fn speaking_http(tls: ClientTls) -> ClientTls {
    tls.alpn(["http/1.1"])
}

/// Returns the platform's trust. It is loaded once, in a thread, because it reads many certificates.
#[cfg(feature = "tls")]
fn platform() -> Result<ClientTls, Failure> {
    use std::cell::RefCell;
    thread_local! {
        static PLATFORM: RefCell<Option<ClientTls>> = const { RefCell::new(None) };
    }
    PLATFORM.with_borrow_mut(|platform| {
        if let Some(tls) = platform {
            return Ok(tls.clone());
        }
        let tls = speaking_http(ClientTls::platform()?);
        *platform = Some(tls.clone());
        Ok(tls)
    })
}
