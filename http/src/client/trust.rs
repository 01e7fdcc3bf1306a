//! Whom an `https` server, or such a proxy, is trusted by.

#[cfg(feature = "tls")]
use twistor_deferred::Failure;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

/// Whom to trust; nothing to say where there is no TLS.
#[cfg(feature = "tls")]
pub(super) type Trust = Option<ClientTls>;
#[cfg(not(feature = "tls"))]
pub(super) type Trust = ();

/// Whether it says nothing of its own.
#[cfg(feature = "tls")]
pub(super) fn is_default(trust: &Trust) -> bool {
    trust.is_none()
}

#[cfg(not(feature = "tls"))]
pub(super) fn is_default((): &Trust) -> bool {
    true
}

/// What that comes to: the platform's, if nothing else was said.
#[cfg(feature = "tls")]
pub(super) fn trusting(trust: &Trust) -> Result<ClientTls, Failure> {
    match trust {
        Some(trust) => Ok(trust.clone()),
        None => platform(),
    }
}

/// This client speaks one protocol over TLS, and says so.
#[cfg(feature = "tls")]
pub(super) fn speaking_http(tls: ClientTls) -> ClientTls {
    tls.alpn(["http/1.1"])
}

/// What the platform trusts, looked up once in a thread: it reads all of its certificates.
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
