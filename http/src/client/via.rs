//! One proxy: its kind and place, the credentials for it, and the trust in it.

use std::rc::Rc;

use ::http::HeaderValue;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

use crate::{InvalidUrl, Url};

/// The port of a proxy whose URL has none.
const DEFAULT_PORT: &str = ":1080";

#[derive(Clone, Debug)]
pub(super) struct Via {
    /// Scheme, host and port, as error messages name it.
    pub(super) name: String,
    /// The place of the proxy. Of a SOCKS proxy, the scheme is `http`, because the connection to it uses no TLS.
    pub(super) url: Url,
    /// `None`: it is an HTTP proxy.
    pub(super) socks: Option<Socks>,
    /// The credentials for an HTTP proxy.
    pub(super) authorization: Option<HeaderValue>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

/// How a SOCKS5 proxy is used.
#[derive(Clone)]
pub(super) struct Socks {
    /// Names of hosts are looked up here, not at the proxy.
    pub(super) looks_up: bool,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
}

impl Via {
    pub(super) fn read(text: &str) -> Result<Rc<Via>, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is = |other: &str| scheme.eq_ignore_ascii_case(other);
        let kind = ["socks5", "socks5h"].into_iter().find(|kind| is(kind));
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':');
        let port = if has_port || is("https") { "" } else { DEFAULT_PORT };
        // The parts of a SOCKS proxy's URL have the same form.
        let scheme = if kind.is_some() { "http" } else { scheme };
        let url = Url::parse(&format!("{scheme}://{authority}{port}"))
            .map_err(|error| error.moved(scheme.len() + 3, text.len() - rest.len()))?;
        let origin = url.origin().to_string();
        let (name, socks, authorization) = match kind {
            None => (origin, None, url.basic_credentials()),
            Some(kind) => {
                let credentials = url.user_and_password()?;
                let socks = Socks { looks_up: kind == "socks5", credentials };
                (origin.replacen("http", kind, 1), Some(socks), None)
            }
        };
        let authorization = authorization.and_then(|value| HeaderValue::try_from(value).ok());
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Rc::new(Via {
            name,
            url,
            socks,
            authorization,
            #[cfg(feature = "tls")]
            tls: None,
        }))
    }

    fn has_own_trust(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Returns whether connections through one may be used through the other.
    pub(super) fn is_same(self: &Rc<Via>, other: &Rc<Via>) -> bool {
        Rc::ptr_eq(self, other)
            // The name has the kind, and the URL the credentials.
            || (self.name == other.name
                && self.url == other.url
                && self.authorization == other.authorization
                // Two settings of TLS cannot be compared.
                && !self.has_own_trust()
                && !other.has_own_trust())
    }
}

impl std::fmt::Debug for Socks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socks").field("looks_up", &self.looks_up).finish_non_exhaustive()
    }
}
