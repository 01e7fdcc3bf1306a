//! A request to be sent, and its settings.

use std::time::Duration;

#[cfg(feature = "compression")]
use ::http::header::RANGE;
use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, COOKIE, EXPECT, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, USER_AGENT, WWW_AUTHENTICATE,
};
use ::http::{HeaderMap, Method};
use twistor_deferred::Failure;
#[cfg(feature = "tls")]
use twistor_net::tls::ClientTls;

use super::AGENT;
use super::proxy::Proxy;
use super::route::Route;
use crate::{EncodeError, HeadWriter, Limits, Redirect, Redirects, Url};

/// A request and its settings: the long form of [`get_page`](super::get_page).
///
/// An invalid method, URL or header is reported when the request is sent, before any byte of it.
///
/// `Host`, `User-Agent`, `Accept` and the credentials of the URL are added unless they are set. The library
/// sets `Content-Length`. `Proxy-Authorization` is sent only to a [proxy](Request::proxy) that receives the
/// whole request. `Debug` shows neither credentials nor cookies.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use twistor::prelude::*;
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
    pub(super) parts: Result<RequestParts, Failure>,
    pub(super) settings: RequestSettings,
}

/// The parts that are sent.
#[derive(Clone, Debug)]
pub(super) struct RequestParts {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The settings of sending it.
#[derive(Clone, Debug)]
pub(super) struct RequestSettings {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) min_rate: Option<(u64, Duration)>,
    /// Without a limit on the body, which `max_body` sets.
    pub(super) limits: Limits,
    /// `None`: the default of the method that receives the response.
    pub(super) max_body: Option<u64>,
    pub(super) redirects: Redirects,
    pub(super) insecure_redirects: bool,
    /// `None`: the agent's proxy, if it has one.
    pub(super) proxy: Option<Box<Proxy>>,
    /// `None`: the platform's trust.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
    /// Whether compressed bodies are requested and decoded. `None`: yes for pages and responses, no for
    /// downloads.
    pub(super) decode: Option<bool>,
    /// Headers that do not cross origins, in addition to those that never do.
    pub(super) sensitive: Vec<HeaderName>,
}

impl RequestSettings {
    pub(super) fn decodes(&self) -> bool {
        self.decode.unwrap_or(true)
    }
}

impl Request {
    /// Creates a request with this method.
    #[track_caller]
    pub fn new(method: impl AsRef<str>, url: impl AsRef<str>) -> Request {
        let method = method.as_ref();
        // Without closures and `?`, which would hide the caller's place from the failures.
        let parts = match (Method::from_bytes(method.as_bytes()), Url::parse(url.as_ref())) {
            (Ok(method), Ok(url)) if method != Method::CONNECT => {
                Ok(RequestParts { method, url, headers: HeaderMap::new(), body: Vec::new() })
            }
            (Ok(_), Err(error)) => Err(error.into()),
            _ => Err(EncodeError::InvalidMethod { method: method.escape_default().to_string() }.into()),
        };
        Request {
            parts,
            settings: RequestSettings {
                connect_timeout: Duration::from_secs(30),
                timeout: None,
                idle_timeout: Some(Duration::from_secs(60)),
                min_rate: None,
                limits: Limits::default(),
                max_body: None,
                redirects: Redirects::new(20),
                insecure_redirects: false,
                proxy: None,
                #[cfg(feature = "tls")]
                tls: None,
                decode: None,
                sensitive: Vec::new(),
            },
        }
    }

    /// Creates a `GET` request.
    #[track_caller]
    pub fn get(url: impl AsRef<str>) -> Request {
        Request::new(Method::GET, url)
    }

    /// Creates a `HEAD` request.
    #[track_caller]
    pub fn head(url: impl AsRef<str>) -> Request {
        Request::new(Method::HEAD, url)
    }

    /// Creates a `POST` request.
    #[track_caller]
    pub fn post(url: impl AsRef<str>) -> Request {
        Request::new(Method::POST, url)
    }

    /// Adds a header. Earlier ones with the same name stay, except `Host`.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Request {
        self.parts = self.parts.and_then(|mut parts| {
            let (name, mut value) = header(name.as_ref(), value.as_ref())?;
            if self.settings.sensitive.contains(&name) {
                value.set_sensitive(true);
            }
            if name == HOST {
                parts.headers.insert(name, value);
            } else {
                parts.headers.append(name, value);
            }
            Ok(parts)
        });
        self
    }

    /// Adds all headers of a map. Values marked as sensitive stay so.
    #[track_caller]
    pub fn headers(mut self, headers: &HeaderMap) -> Request {
        for (name, value) in headers {
            self = self.header(name, value);
            if value.is_sensitive() {
                self = self.sensitive_headers([name]);
            }
        }
        self
    }

    /// Marks headers with these names as secret, such as API keys: `Debug` does not show them, and a redirect
    /// to another origin does not send them there. `Authorization`, `Cookie` and `Proxy-Authorization` are
    /// always secret.
    #[track_caller]
    pub fn sensitive_headers<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Request {
        for name in names {
            self.parts = self.parts.and_then(|mut parts| {
                let (name, _) = header(name.as_ref(), b"")?;
                if let ::http::header::Entry::Occupied(mut values) = parts.headers.entry(&name) {
                    values.iter_mut().for_each(|value| value.set_sensitive(true));
                }
                self.settings.sensitive.push(name);
                Ok(parts)
            });
        }
        self
    }

    /// Sets the body, which is sent with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        if let Ok(parts) = &mut self.parts {
            parts.body = body.into();
        }
        self
    }

    /// Sets the timeout of connecting, for each connection. Default: 30 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Request {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets the timeout of the whole request, including redirects and waiting for a connection. Default:
    /// none.
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Sets how long a connected server may neither send nor accept any byte. `None`: no timeout. Default: 60
    /// seconds.
    ///
    /// Bytes of an upload that the server accepts count, as far as the operating system shows them.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request {
        self.settings.idle_timeout = timeout.into();
        self
    }

    /// Demands at least `bytes` of the response's body, as sent, in each period of `per`. A slower response fails
    /// with [`RequestTimedOut`](super::RequestTimedOut). Periods in which this side does not read do not count.
    /// Default: no minimum. curl: `--speed-limit`, `--speed-time`.
    pub fn min_rate(mut self, bytes: u64, per: Duration) -> Request {
        // An empty period would never end.
        self.settings.min_rate = Some((bytes, per.max(Duration::from_millis(1))));
        self
    }

    /// Sets limits on the response; see [`Limits`]. A [`body_size`](Limits::body_size) other than the default
    /// sets [`max_body`](Request::max_body).
    pub fn limits(mut self, limits: Limits) -> Request {
        if limits.body_size != u64::MAX {
            self.settings.max_body = Some(limits.body_size);
        }
        self.settings.limits = Limits { body_size: u64::MAX, ..limits };
        self
    }

    /// Sets the largest body that the caller receives, decoded or not. A larger one fails with
    /// [`LimitExceeded`](crate::LimitExceeded). Default: 128 MiB for bodies that are collected in memory
    /// ([`get_page`](super::get_page), [`ResponseBody::collect`](super::ResponseBody::collect)), and no limit for
    /// bodies that are streamed or saved.
    pub fn max_body(mut self, bytes: u64) -> Request {
        self.settings.max_body = Some(bytes);
        self
    }

    /// Sets whether a compressed body is requested and decoded. Default: yes, except for
    /// [downloads](super::download_page), which save the server's bytes. curl: `--compressed`.
    ///
    /// A request that sets `Accept-Encoding` or `Range` itself gets the body as it is sent.
    #[cfg(feature = "compression")]
    pub fn decode(mut self, decode: bool) -> Request {
        self.settings.decode = Some(decode);
        self
    }

    /// Sets the trust and client certificate for `https` URLs. Default: the platform's trust.
    ///
    /// Connections of this request are not shared with others. To share them, set it for an
    /// [`Agent`](super::Agent).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Request {
        self.settings.tls = Some(super::trust::speaking_http(tls));
        self
    }

    /// Sets the proxy of the request. Default: that of its [`Agent`](super::Agent::proxy), if it has one.
    ///
    /// With [`Proxy::none`], the request uses no proxy, even if the agent has one.
    pub fn proxy(mut self, proxy: Proxy) -> Request {
        self.settings.proxy = Some(Box::new(proxy));
        self
    }

    /// Sets how many redirects are followed. One more fails the request with
    /// [`RedirectError::TooMany`](crate::RedirectError::TooMany). Default: 20. To get a redirect as the response, use
    /// [`keep_redirects`](Request::keep_redirects).
    pub fn max_redirects(mut self, count: usize) -> Request {
        self.settings.redirects = Redirects::new(count).allow_insecure(self.settings.insecure_redirects);
        self
    }

    /// Sets whether redirects from https to http are followed. Default: no.
    pub fn allow_insecure_redirects(mut self, allow: bool) -> Request {
        self.settings.insecure_redirects = allow;
        self.settings.redirects = self.settings.redirects.allow_insecure(allow);
        self
    }

    /// Follows no redirect. A redirect is then the response, which makes it an
    /// [`HttpError`](super::HttpError) for [`get_page`](super::get_page). Twisted: `followRedirect=False`.
    pub fn keep_redirects(mut self) -> Request {
        self.settings.redirects = Redirects::none();
        self
    }
}

/// Creates a `GET` request for a URL.
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
            // Sensitive, so that `Debug` does not show it.
            value.set_sensitive([AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(&parsed));
            Ok((parsed, value))
        }
        Err(_) => Err(invalid(at.unwrap_or_default()).into()),
    }
}

/// Returns whether a field has no meaning without the body (RFC 9110, section 15.4).
fn describes_content(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-")
        || ["digest", "repr-digest", "last-modified", "expect", "trailer"].contains(&name)
}

/// Returns whether a field is meant for the server of one origin only.
fn is_for_one_origin(name: &HeaderName) -> bool {
    let credentials = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST, WWW_AUTHENTICATE];
    credentials.contains(name) || name.as_str() == "cookie2"
}

impl RequestParts {
    /// Encodes the request. `persist` announces whether another request may follow.
    pub(super) fn encode(
        &self,
        persist: bool,
        route: &Route,
        cookies: Option<HeaderValue>,
        decode: bool,
    ) -> Result<Vec<u8>, EncodeError> {
        // The server sends all of it back, possibly to others (RFC 9110, section 9.3.8).
        let is_trace = self.method == Method::TRACE;
        if is_trace && !self.body.is_empty() {
            return Err(EncodeError::UnexpectedBody);
        }
        let mut out = Vec::with_capacity(256 + self.body.len());
        // A proxy needs the whole URL (RFC 9112, section 3.2.2).
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
        if self.is_decoded(decode) {
            head.known("Accept-Encoding", "gzip, deflate");
        }
        if !decode && absent(ACCEPT_ENCODING) {
            head.known("Accept-Encoding", "identity");
        }
        if absent(AUTHORIZATION) && !is_trace {
            if let Some(credentials) = self.url.basic_credentials() {
                head.field("Authorization", credentials)?;
            }
        }
        if let Some(authorization) = route.reader().and_then(|via| via.authorization.as_ref()) {
            if absent(PROXY_AUTHORIZATION) {
                head.field("Proxy-Authorization", authorization)?;
            }
        }
        if let Some(cookies) = cookies.filter(|_| !is_trace) {
            head.field("Cookie", &cookies)?;
        }
        if absent(CONNECTION) {
            // A proxy must not forward it (RFC 9110, section 10.1.4).
            match (persist, absent(TE)) {
                (true, true) => {}
                (true, false) => head.known("Connection", "TE"),
                (false, true) => head.known("Connection", "close"),
                (false, false) => head.known("Connection", "close, TE"),
            }
        }
        for (name, value) in &self.headers {
            let is_for_nobody = (*name == PROXY_AUTHORIZATION && route.reader().is_none())
                || (*name == EXPECT && self.body.is_empty())
                || (is_trace && value.is_sensitive());
            if !is_for_nobody {
                head.header(name, value)?;
            }
        }
        // Other methods usually have a body, so an empty one is announced too (RFC 9110, section 8.6).
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

    /// Returns whether the response is decompressed.
    #[cfg(feature = "compression")]
    pub(super) fn is_decoded(&self, decode: bool) -> bool {
        decode && ![ACCEPT_ENCODING, RANGE].iter().any(|name| self.headers.contains_key(name))
    }

    /// Changes the request to the one that a redirect requires.
    pub(super) fn redirect(&mut self, redirect: Redirect, sensitive: &[HeaderName]) {
        if !redirect.keep_body {
            self.body = Vec::new();
            self.remove_headers(describes_content);
        }
        if !redirect.same_origin {
            // Fields for that server only. A later redirect back to it does not restore them.
            self.remove_headers(|name| is_for_one_origin(name) || sensitive.contains(name));
        }
        (self.method, self.url) = (redirect.method, redirect.url);
    }

    fn remove_headers(&mut self, is_due: impl Fn(&HeaderName) -> bool) {
        let due: Vec<HeaderName> = self.headers.keys().filter(|name| is_due(name)).cloned().collect();
        for name in due {
            self.headers.remove(name);
        }
    }

    /// Returns whether the caller requests that the connection is closed after the response.
    pub(super) fn closes(&self) -> bool {
        self.headers.get_all(CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|&byte| byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        })
    }

    /// Returns whether the method is idempotent, so that the request may be sent again (RFC 9110, section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        )
    }
}
