//! A request to be sent, and how.

use std::time::Duration;

use ::http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE,
    COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
#[cfg(feature = "compression")]
use ::http::header::{ACCEPT_ENCODING, RANGE};
use ::http::{HeaderMap, Method};
use twistor_deferred::Failure;

use super::AGENT;
use super::proxy::Proxy;
use super::route::Route;
use crate::http::{EncodeError, HeadWriter, Hop, Limits, Redirects, Url};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;

/// A request, and how it is to be done: the long form of [`get_page`](super::get_page).
///
/// What is wrong with a method, URL or header is told when the request is sent, before anything is.
///
/// `Host`, `User-Agent`, `Accept` and the credentials of the URL are added where they are not set; `Content-Length`
/// is the library's business. `Proxy-Authorization` is sent to a [proxy](Request::proxy) that is given the whole request,
/// and to nobody else. `Debug` shows no credentials and no cookies.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use twistor_net::http::Request;
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let page = Request::post("http://localhost:8080/echo")
///     .header("Content-Type", "text/plain")
///     .body("Hello, world!")
///     .timeout(Duration::from_secs(5))
///     .max_redirects(0)
///     .get_page(&reactor);
/// println!("{}", reactor.run_until(page)?.text());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(super) parts: Result<Parts, Failure>,
    pub(super) settings: Settings,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// How it is done.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) redirects: Redirects,
    pub(super) insecure_redirects: bool,
    /// None: the agent's, if it has one.
    pub(super) proxy: Option<Proxy>,
    /// Whom to trust; none: whom the platform trusts.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
    #[cfg(feature = "compression")]
    pub(super) max_decoded: u64,
}

impl Request {
    /// A request with that method.
    #[track_caller]
    pub fn new(method: impl TryInto<Method>, url: impl AsRef<str>) -> Request {
        let method = method.try_into().map_err(|_| Failure::from(EncodeError::InvalidMethod));
        let parts = method.and_then(|method| {
            Ok(Parts { method, url: Url::parse(url.as_ref())?, headers: HeaderMap::new(), body: Vec::new() })
        });
        Request {
            parts,
            settings: Settings {
                connect_timeout: Duration::from_secs(30),
                timeout: None,
                idle_timeout: Some(Duration::from_secs(60)),
                limits: Limits::default(),
                redirects: Redirects::new(20),
                insecure_redirects: false,
                proxy: None,
                #[cfg(feature = "tls")]
                tls: None,
                #[cfg(feature = "compression")]
                max_decoded: 128 << 20,
            },
        }
    }

    /// A `GET` request.
    #[track_caller]
    pub fn get(url: impl AsRef<str>) -> Request {
        Request::new(Method::GET, url)
    }

    /// A `HEAD` request.
    #[track_caller]
    pub fn head(url: impl AsRef<str>) -> Request {
        Request::new(Method::HEAD, url)
    }

    /// A `POST` request.
    #[track_caller]
    pub fn post(url: impl AsRef<str>) -> Request {
        Request::new(Method::POST, url)
    }

    /// Adds a header; one set before stays.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Request {
        self.parts = self.parts.and_then(|mut parts| {
            let (name, value) = header(name.as_ref(), value.as_ref())?;
            parts.headers.append(name, value);
            Ok(parts)
        });
        self
    }

    /// Adds all headers of a map.
    #[track_caller]
    pub fn headers(mut self, headers: &HeaderMap) -> Request {
        for (name, value) in headers {
            self = self.header(name, value);
        }
        self
    }

    /// Sets the body, sent with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        if let Ok(parts) = &mut self.parts {
            parts.body = body.into();
        }
        self
    }

    /// How long connecting may take, for each connection that is needed: 30 seconds if never set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Request {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long the whole may take, from being sent to the last byte, redirects and waiting for a connection
    /// included. No bound if never set.
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.settings.timeout = Some(timeout);
        self
    }

    /// How long the server may be silent, once it has the request; 60 seconds if never set, `None` for ever.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request {
        self.settings.idle_timeout = timeout.into();
        self
    }

    /// Bounds on the response. The size of bodies has none unless set; see [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Request {
        self.settings.limits = limits;
        self
    }

    /// The largest body to take: [`Limits::body_size`] alone.
    pub fn max_body(mut self, bytes: u64) -> Request {
        self.settings.limits.body_size = bytes;
        self
    }

    /// The largest body to take after it is decompressed; 128 MiB if never set.
    ///
    /// Compressed bodies are asked for, unless the request has an `Accept-Encoding` or a `Range` of its own; then
    /// what comes is left as it is.
    #[cfg(feature = "compression")]
    pub fn max_decoded(mut self, bytes: u64) -> Request {
        self.settings.max_decoded = bytes;
        self
    }

    /// Whom to trust, and who to be, for `https` URLs: whom the platform trusts if never set.
    ///
    /// Connections made for this request are not shared with others; to share them, set it for an
    /// [`Agent`](super::Agent).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Request {
        self.settings.tls = Some(super::trust::speaking_http(tls));
        self
    }

    /// Which proxy the request goes through; its [`Agent`](super::Agent::proxy)'s if never set, else none.
    ///
    /// [`Proxy::none`] goes without, whatever the agent's.
    pub fn proxy(mut self, proxy: Proxy) -> Request {
        self.settings.proxy = Some(proxy);
        self
    }

    /// How many redirects are followed before [`TooManyRedirects`](crate::http::TooManyRedirects); 20 if never set.
    /// With 0, the first one is too many already; [`keep_redirects`](Request::keep_redirects) takes it as an answer.
    pub fn max_redirects(mut self, count: usize) -> Request {
        self.settings.redirects = Redirects::new(count).allow_insecure(self.settings.insecure_redirects);
        self
    }

    /// Follows redirects from https to http as well.
    pub fn allow_insecure_redirects(mut self, allow: bool) -> Request {
        self.settings.insecure_redirects = allow;
        self.settings.redirects = self.settings.redirects.allow_insecure(allow);
        self
    }

    /// Follows no redirect: its response is the answer, which makes it an [`HttpError`](super::HttpError) for
    /// [`get_page`](super::get_page). Twisted: `followRedirect=False`.
    pub fn keep_redirects(mut self) -> Request {
        self.settings.redirects = Redirects::none();
        self
    }
}

/// A `GET` request for a URL.
impl<U: AsRef<str>> From<U> for Request {
    #[track_caller]
    fn from(url: U) -> Request {
        Request::get(url)
    }
}

#[track_caller]
fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), Failure> {
    let invalid = |at| EncodeError::InvalidHeaderValue { name: name.to_owned(), at };
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| EncodeError::InvalidHeaderName { name: name.escape_default().to_string() })?;
    let at = value.iter().position(|&byte| byte != b'\t' && (byte < b' ' || byte == 0x7f));
    match HeaderValue::from_bytes(value) {
        Ok(mut value) => {
            // So that it is not shown by `Debug`.
            value.set_sensitive([AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(&parsed));
            Ok((parsed, value))
        }
        Err(_) => Err(invalid(at.unwrap_or_default()).into()),
    }
}

impl Parts {
    /// The bytes to send; `persist` tells the server whether another request may follow.
    pub(super) fn encode(
        &self,
        persist: bool,
        route: &Route,
        cookies: Option<HeaderValue>,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        // A proxy has to be told the whole URL (RFC 9112, section 3.2.2).
        let target = if route.reader().is_some() { self.url.as_str() } else { self.url.target() };
        let mut head = HeadWriter::request(&mut out, &self.method, target)?;
        let absent = |name| !self.headers.contains_key(name);
        if absent(HOST) {
            head.field("Host", self.url.authority())?;
        }
        if absent(USER_AGENT) {
            head.known("User-Agent", AGENT);
        }
        if absent(ACCEPT) {
            head.known("Accept", "*/*");
        }
        #[cfg(feature = "compression")]
        if self.is_decoded() {
            head.known("Accept-Encoding", "gzip, deflate");
        }
        if absent(AUTHORIZATION) {
            if let Some(credentials) = self.url.basic_credentials() {
                head.field("Authorization", credentials)?;
            }
        }
        if let Some(authorization) = route.reader().and_then(|via| via.authorization.as_ref()) {
            if absent(PROXY_AUTHORIZATION) {
                head.field("Proxy-Authorization", authorization)?;
            }
        }
        if let Some(cookies) = cookies {
            head.field("Cookie", &cookies)?;
        }
        if !persist && absent(CONNECTION) {
            head.known("Connection", "close");
        }
        for (name, value) in &self.headers {
            // Servers are not to see it.
            if *name != PROXY_AUTHORIZATION || route.reader().is_some() {
                head.header(name, value)?;
            }
        }
        if !self.body.is_empty()
            || !matches!(
                self.method,
                Method::GET
                    | Method::HEAD
                    | Method::DELETE
                    | Method::OPTIONS
                    | Method::TRACE
                    | Method::CONNECT
            )
        {
            head.length(self.body.len() as u64)?;
        }
        head.finish();
        out.extend_from_slice(&self.body);
        Ok(out)
    }

    /// Whether the response is to be decompressed for the one who asked.
    #[cfg(feature = "compression")]
    pub(super) fn is_decoded(&self) -> bool {
        ![ACCEPT_ENCODING, RANGE].iter().any(|name| self.headers.contains_key(name))
    }

    /// The request that a redirect asks for.
    pub(super) fn redirect(&mut self, hop: Hop) {
        if !hop.keep_body {
            self.body = Vec::new();
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
                self.headers.remove(name);
            }
        }
        if !hop.same_origin {
            // What was meant for that server alone; it does not come back on a later hop, either.
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
                self.headers.remove(name);
            }
        }
        (self.method, self.url) = (hop.method, hop.url);
    }

    /// Whether sending the request twice does no more than sending it once (RFC 9110, section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        )
    }
}
