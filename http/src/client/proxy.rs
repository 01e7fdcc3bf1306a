//! Which proxy a URL goes through.

use std::error::Error;
use std::fmt;
use std::rc::Rc;

use ::http::HeaderValue;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

use super::exceptions::Exceptions;
use crate::{InvalidUrl, Scheme, Url};

/// Which proxy the requests for a URL go through, if any. Twisted: `ProxyAgent`.
///
/// Requests for `http` URLs are given to the proxy whole. For `https` URLs it is asked for a tunnel (`CONNECT`), and TLS
/// is spoken through it with the server, so that the proxy learns the host and port, and nothing else. The way to the
/// proxy is itself secured if its URL is an `https` one.
///
/// A proxy is used only where one is given to an [`Agent`](super::Agent::proxy) or a
/// [`Request`](super::Request::proxy); the environment is read by [`Proxy::from_env`] and by nothing else.
///
/// # URLs of proxies
///
/// As curl reads them: `http://` may be left out, the port is 1080 (443 for `https`) if none is given, and what follows
/// the port is ignored. User name and password, percent-encoded where they have to be, are told to the proxy in
/// `Proxy-Authorization`, and to nobody else; neither `Display` nor `Debug` shows them.
///
/// # Examples
///
/// ```no_run
/// use twistor_http::{Agent, Proxy, Request};
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let proxy = Proxy::new("http://me:secret@proxy.example:3128")?.except("localhost, .example.org");
/// let agent = Agent::new(&reactor).proxy(proxy);
/// let page = reactor.run_until(agent.get_page(Request::get("https://www.rust-lang.org/")))?;
/// println!("{} bytes", page.body().len());
///
/// // What curl would do here.
/// let agent = Agent::new(&reactor).proxy(Proxy::from_env());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Proxy {
    http: Option<Chosen>,
    https: Option<Chosen>,
    except: Rc<Exceptions>,
}

/// A proxy, or why a variable of the environment does not name one.
type Chosen = Result<Rc<Via>, InvalidProxy>;

/// One proxy, and what it has to be told and shown.
#[derive(Clone, Debug)]
pub(super) struct Via {
    pub(super) url: Url,
    pub(super) authorization: Option<HeaderValue>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

impl Proxy {
    /// All requests go through this proxy.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`]: the text is no URL, or one of a proxy of another kind, such as `socks5`.
    pub fn new(url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        let via = Some(Ok(Via::read(url.as_ref(), None)?));
        Ok(Proxy { http: via.clone(), https: via, except: Rc::default() })
    }

    /// No request goes through a proxy. Also for a request that is to go without its agent's.
    pub fn none() -> Proxy {
        Proxy::default()
    }

    /// The requests for `http` URLs go through this proxy.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Proxy::new).
    pub fn for_http(self, url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        Ok(Proxy { http: Some(Ok(Via::read(url.as_ref(), None)?)), ..self })
    }

    /// The requests for `https` URLs go through this proxy.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Proxy::new).
    pub fn for_https(self, url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        Ok(Proxy { https: Some(Ok(Via::read(url.as_ref(), None)?)), ..self })
    }

    /// Hosts that no proxy is used for, in the form of `no_proxy`; replaces what was said before.
    ///
    /// The list has commas or spaces in it. A name stands for that host and all below it, with a dot before it or
    /// without; an IP address for itself, and with a prefix length for its network (`10.0.0.0/8`), which holds for URLs
    /// that have the address in them: no name is looked up for it. A single `*` stands for all hosts.
    #[must_use]
    pub fn except(self, hosts: impl AsRef<str>) -> Proxy {
        Proxy { except: Rc::new(Exceptions::read(hosts.as_ref())), ..self }
    }

    /// Reads the proxies from the environment, as curl does.
    ///
    /// `http_proxy` holds for `http` URLs, `https_proxy` or `HTTPS_PROXY` for `https` ones, `all_proxy` or `ALL_PROXY`
    /// for those that have none of their own, and `no_proxy` or `NO_PROXY` tells the [exceptions](Proxy::except); of two
    /// spellings the first counts, and an empty one is none. `HTTP_PROXY` in capitals is not looked at: to a CGI program
    /// it is a header, `Proxy`, of whoever sent the request.
    ///
    /// A variable that names a proxy of another kind, such as `socks5`, or none at all, fails the requests that would
    /// use it, with [`InvalidProxy`], and no others.
    pub fn from_env() -> Proxy {
        Proxy::from_vars(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the proxies as [`from_env`](Proxy::from_env), from variables that are kept elsewhere.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor_deferred::Failure;
    /// use twistor_http::Proxy;
    ///
    /// let proxy = Proxy::from_vars(|name| match name {
    ///     "https_proxy" => Some("proxy.example:3128".to_owned()),
    ///     "no_proxy" => Some("example.org".to_owned()),
    ///     _ => None,
    /// });
    /// let through = |url: &str| Ok::<_, Failure>(proxy.of(&url.parse()?)?.map(ToString::to_string));
    /// assert_eq!(through("https://rust-lang.org/")?.as_deref(), Some("http://proxy.example:3128/"));
    /// assert_eq!(through("http://rust-lang.org/")?, None);
    /// assert_eq!(through("https://www.example.org/")?, None);
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn from_vars(look_up: impl Fn(&str) -> Option<String>) -> Proxy {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, look_up(name).filter(|value| !value.is_empty())?)))
        };
        let all = &["all_proxy", "ALL_PROXY"];
        let via = |names: &[&'static str]| {
            first(names).or_else(|| first(all)).map(|(name, url)| Via::read(&url, Some(name)))
        };
        let (http, https) = (via(&["http_proxy"]), via(&["https_proxy", "HTTPS_PROXY"]));
        let except = first(&["no_proxy", "NO_PROXY"]).map(|(_, hosts)| Exceptions::read(&hosts));
        Proxy { http, https, except: Rc::new(except.unwrap_or_default()) }
    }

    /// What the proxies are told in `Proxy-Authorization`, instead of their URLs' user name and password: for schemes
    /// other than Basic. It is told to them alone, and `Debug` does not show it.
    #[must_use]
    pub fn authorization(self, mut value: HeaderValue) -> Proxy {
        value.set_sensitive(true);
        self.change(|via| via.authorization = Some(value.clone()))
    }

    /// Whom to trust, and who to be, on the way to proxies with an `https` URL; whom the platform trusts if never set.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Proxy {
        let tls = super::trust::speaking_http(tls);
        self.change(|via| via.tls = Some(tls.clone()))
    }

    fn change(mut self, change: impl Fn(&mut Via)) -> Proxy {
        for via in [&mut self.http, &mut self.https].into_iter().flatten().flatten() {
            change(Rc::make_mut(via));
        }
        self
    }

    /// Returns the proxy for requests to that URL, if they go through one.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`]: the variable that holds for this URL does not name an HTTP proxy.
    pub fn of(&self, url: &Url) -> Result<Option<&Url>, InvalidProxy> {
        Ok(self.via(url)?.map(|via| &via.url))
    }

    pub(super) fn via(&self, url: &Url) -> Result<Option<&Rc<Via>>, InvalidProxy> {
        let chosen = match url.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        match chosen {
            Some(chosen) if !self.except.cover(url.host()) => chosen.as_ref().map(Some).map_err(Clone::clone),
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |via: &Option<Chosen>| {
            via.as_ref().map(|via| via.as_ref().map_or_else(ToString::to_string, |via| via.name()))
        };
        let (http, https) = (url(&self.http), url(&self.https));
        f.debug_struct("Proxy").field("http", &http).field("https", &https).finish_non_exhaustive()
    }
}

impl std::str::FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(url: &str) -> Result<Proxy, InvalidProxy> {
        Proxy::new(url)
    }
}

impl Via {
    fn read(text: &str, variable: Option<&'static str>) -> Result<Rc<Via>, InvalidProxy> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':');
        let port = if has_port || !scheme.eq_ignore_ascii_case("http") { "" } else { ":1080" };
        let url = Url::parse(&format!("{scheme}://{authority}{port}"))
            .map_err(|cause| InvalidProxy { variable, cause })?;
        let authorization = url.basic_credentials().and_then(|value| HeaderValue::try_from(value).ok());
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Rc::new(Via {
            url,
            authorization,
            #[cfg(feature = "tls")]
            tls: None,
        }))
    }

    /// How errors name it.
    pub(super) fn name(&self) -> String {
        self.url.origin().to_string()
    }

    fn has_own_trust(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Whether the connections through one may be used through the other.
    pub(super) fn is_same(self: &Rc<Via>, other: &Rc<Via>) -> bool {
        Rc::ptr_eq(self, other)
            || (self.url == other.url
                && self.authorization == other.authorization
                && !self.has_own_trust()
                && !other.has_own_trust())
    }
}

/// Why a text does not name a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    variable: Option<&'static str>,
    cause: InvalidUrl,
}

impl InvalidProxy {
    /// The variable of the environment that has the text, if it is from there.
    pub fn variable(&self) -> Option<&'static str> {
        self.variable
    }
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names no HTTP proxy: {}", self.variable.unwrap_or("the text"), self.cause)
    }
}

impl Error for InvalidProxy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
