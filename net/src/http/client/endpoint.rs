//! Where to connect for an origin.

use std::time::Duration;

use twistor_deferred::Failure;

use crate::ClientEndpoint;
use crate::http::{Origin, Scheme};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;

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

pub(super) fn endpoint(origin: &Origin, timeout: Duration, trust: &Trust) -> Result<ClientEndpoint, Failure> {
    let endpoint = match origin.scheme {
        Scheme::Http => ClientEndpoint::tcp(origin.host.clone(), origin.port),
        Scheme::Https => secure(origin, trust)?,
    };
    Ok(endpoint.timeout(timeout))
}

#[cfg(feature = "tls")]
fn secure(origin: &Origin, trust: &Trust) -> Result<ClientEndpoint, Failure> {
    let trust = match trust {
        Some(trust) => trust.clone(),
        None => platform()?,
    };
    Ok(ClientEndpoint::tls(origin.host.clone(), origin.port, trust))
}

#[cfg(not(feature = "tls"))]
fn secure(_origin: &Origin, (): &Trust) -> Result<ClientEndpoint, Failure> {
    Err(super::TlsUnavailable.into())
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
