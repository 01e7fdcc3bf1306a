//! The choice of a proxy for a URL.

use std::error::Error;
use std::fmt;
use std::rc::Rc;

use ::http::HeaderValue;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

use super::exceptions::Exceptions;
use super::via::Via;
use crate::{InvalidUrl, Scheme, Url};

/// The proxies for requests, by URL. Twisted: `ProxyAgent`.
///
/// Requests for `http` URLs are sent to the proxy. For `https` URLs, the proxy opens a tunnel (`CONNECT`),
/// and TLS with the server runs through it, so the proxy learns only the host and port. If the proxy has an
/// `https` URL, the connection to it uses TLS too.
///
/// Through a SOCKS5 proxy (`socks5://` or `socks5h://`), all requests use tunnels.
///
/// A proxy is used only if it is given to an [`Agent`](super::Agent::proxy) or a
/// [`Request`](super::Request::proxy). Only [`Proxy::from_env`] reads the environment.
///
/// # URLs of proxies
///
/// They are read as by curl: `http://` may be left out, the default port is 1080 (443 for `https`), and
/// everything after the port is ignored. User name and password, percent-encoded if necessary, are sent only
/// to the proxy: in `Proxy-Authorization`, or to a SOCKS5 proxy if it asks for them. Neither `Display` nor
/// `Debug` shows them.
///
/// With `socks5h`, the proxy looks up the names of hosts. With `socks5`, the operating system looks them up
/// here, and the proxy gets their addresses, one after another until it can connect to one.
///
/// # Examples
///
/// ```no_run
/// use twistor::http::Proxy;
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let proxy = Proxy::new("http://me:secret@proxy.example:3128")?.except("localhost, .example.org");
/// let agent = Agent::new(&reactor).proxy(proxy);
/// let page = reactor.run_until(agent.get_page(Request::get("https://www.rust-lang.org/")))?;
/// println!("{} bytes", page.body().len());
///
/// // The same choice as curl's in this environment.
/// let agent = Agent::new(&reactor).proxy(Proxy::from_env());
/// # drop(agent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Proxy {
    http: Option<Chosen>,
    https: Option<Chosen>,
    except: Rc<Exceptions>,
}

/// A proxy, or the error of an environment variable that does not name one.
type Chosen = Result<Rc<Via>, InvalidProxy>;

impl Proxy {
    /// Uses this proxy for all requests.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`] if the text is not a URL, or is that of another kind of proxy, such as `socks4`.
    pub fn new(url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        let via = Some(Ok(read(url.as_ref(), None)?));
        Ok(Proxy { http: via.clone(), https: via, except: Rc::default() })
    }

    /// Uses no proxy, even if the agent has one.
    pub fn none() -> Proxy {
        Proxy::default()
    }

    /// Uses this proxy for `http` URLs.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Proxy::new).
    pub fn for_http(self, url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        Ok(Proxy { http: Some(Ok(read(url.as_ref(), None)?)), ..self })
    }

    /// Uses this proxy for `https` URLs.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Proxy::new).
    pub fn for_https(self, url: impl AsRef<str>) -> Result<Proxy, InvalidProxy> {
        Ok(Proxy { https: Some(Ok(read(url.as_ref(), None)?)), ..self })
    }

    /// Sets the hosts for which no proxy is used, in the format of `no_proxy`. Replaces an earlier list.
    ///
    /// The list is separated by commas or spaces. A name means that host and all below it, with or without a
    /// leading dot. An IP address means itself, and with a prefix length its network (`10.0.0.0/8`), for URLs
    /// that contain an address: names are not looked up. A single `*` means all hosts.
    #[must_use]
    pub fn except(self, hosts: impl AsRef<str>) -> Proxy {
        Proxy { except: Rc::new(Exceptions::read(hosts.as_ref())), ..self }
    }

    /// Reads the proxies from the environment, like curl.
    ///
    /// `http_proxy` applies to `http` URLs, `https_proxy` or `HTTPS_PROXY` to `https` URLs, `all_proxy` or
    /// `ALL_PROXY` to those without another, and `no_proxy` or `NO_PROXY` lists the
    /// [exceptions](Proxy::except). Of two spellings the first takes precedence, and an empty variable counts
    /// as unset. `HTTP_PROXY` in capitals is ignored, because in a CGI program it contains the header `Proxy`
    /// of the client's request.
    ///
    /// A variable that names another kind of proxy, such as `socks4`, or is invalid, fails only the requests
    /// that would use it, with [`InvalidProxy`].
    pub fn from_env() -> Proxy {
        Proxy::from_vars(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the proxies like [`from_env`](Proxy::from_env), from variables that `look_up` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::http::Proxy;
    /// use twistor::prelude::*;
    ///
    /// let proxy = Proxy::from_vars(|name| match name {
    ///     "https_proxy" => Some("proxy.example:3128".to_owned()),
    ///     "no_proxy" => Some("example.org".to_owned()),
    ///     _ => None,
    /// });
    /// let through = |url: &str| Ok::<_, Failure>(proxy.of(&url.parse()?)?.map(str::to_owned));
    /// assert_eq!(through("https://rust-lang.org/")?.as_deref(), Some("http://proxy.example:3128"));
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
            first(names).or_else(|| first(all)).map(|(name, url)| read(&url, Some(name)))
        };
        let (http, https) = (via(&["http_proxy"]), via(&["https_proxy", "HTTPS_PROXY"]));
        let except = first(&["no_proxy", "NO_PROXY"]).map(|(_, hosts)| Exceptions::read(&hosts));
        Proxy { http, https, except: Rc::new(except.unwrap_or_default()) }
    }

    /// Sets the value of `Proxy-Authorization`, instead of the URL's user name and password, for schemes
    /// other than Basic. It is sent only to the HTTP proxies, and `Debug` does not show it.
    #[must_use]
    pub fn authorization(self, mut value: HeaderValue) -> Proxy {
        value.set_sensitive(true);
        self.change(|via| via.authorization = Some(value.clone()))
    }

    /// Sets the trust and client certificate for proxies with an `https` URL. Default: the platform's trust.
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

    /// Returns the proxy for requests to `url`, if they use one, as scheme, host and port.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`] if the environment variable for this URL does not name a proxy.
    pub fn of(&self, url: &Url) -> Result<Option<&str>, InvalidProxy> {
        Ok(self.via(url)?.map(|via| &*via.name))
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

fn read(text: &str, variable: Option<&'static str>) -> Chosen {
    Via::read(text).map_err(|cause| InvalidProxy { variable, cause })
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |via: &Option<Chosen>| {
            via.as_ref().map(|via| via.as_ref().map_or_else(ToString::to_string, |via| via.name.clone()))
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

/// The error of a text that does not name a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    variable: Option<&'static str>,
    cause: InvalidUrl,
}

impl InvalidProxy {
    /// Returns the environment variable that contains the text, if it is from there.
    pub fn variable(&self) -> Option<&'static str> {
        self.variable
    }
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid proxy in {}: ", self.variable.unwrap_or("the text"))?;
        match &self.cause {
            InvalidUrl::UnsupportedScheme { scheme } => {
                write!(f, "it begins with {scheme}:, not with http, https, socks5 or socks5h")
            }
            cause => cause.fmt(f),
        }
    }
}

impl Error for InvalidProxy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
