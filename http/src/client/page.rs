//! A collected response: a page.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use ::http::{HeaderMap, StatusCode};
use twistor_deferred::{Deferred, Failure, Trigger};
use twistor_reactor::Handle;

use super::errors::HttpError;
use super::fetch::Fetch;
use super::pool::Pool;
use super::request::Request;
use super::sink::{BodySink, Ending, MOST_COLLECTED};
use crate::{BodyLength, Headers, ResponseHead, Url};

/// The space reserved for a body of announced length. A larger body grows as it arrives, because the length
/// may be wrong.
const TRUSTED_LENGTH: u64 = 1 << 20;

/// Fetches a page. Twisted: `getPage`.
///
/// The page uses a new connection, which is closed afterwards. Up to 20 redirects are followed. For the
/// method, headers, body, timeouts and limits, use a [`Request`]. To keep connections, use an
/// [`Agent`](super::Agent).
///
/// # Errors
///
/// - [`InvalidUrl`](crate::InvalidUrl), before any byte is sent.
/// - [`HttpError`]: a status other than 2xx. Its `body` is the page of the response, or the received part of it.
/// - [`ConnectRefused`](twistor_net::ConnectRefused), [`ConnectTimedOut`](twistor_net::ConnectTimedOut),
///   [`DnsLookupError`](twistor_net::DnsLookupError), [`NoRoute`](twistor_net::NoRoute), [`ConnectFailed`](twistor_net::ConnectFailed).
/// - [`Malformed`](crate::Malformed), [`LimitExceeded`](crate::LimitExceeded): the response was refused.
/// - [`NoResponse`](super::NoResponse), [`PartialDownload`](super::PartialDownload): the connection ended early.
/// - [`RequestTimedOut`](super::RequestTimedOut), of all timeouts.
/// - [`RedirectError`](crate::RedirectError).
/// - With a [proxy](crate::Proxy): [`ProxyUnreachable`](super::ProxyUnreachable),
///   [`ProxyRefused`](super::ProxyRefused), [`ProxyMisbehaved`](super::ProxyMisbehaved); with a SOCKS5 proxy
///   [`SocksError`](twistor_net::connect::SocksError).
/// - [`Cancelled`](twistor_deferred::Cancelled): the Deferred was cancelled, which closes the connection.
///
/// # Examples
///
/// ```no_run
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let page = reactor.run_until(get_page(&reactor, "http://example.org/"))?;
/// println!("{} with {} bytes", page.status(), page.body().len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Cancelling ends the request and closes its connection.
#[track_caller]
pub fn get_page(handle: &Handle, url: impl AsRef<str>) -> Deferred<Page> {
    Request::get(url).get_page(handle)
}

impl Request {
    /// Sends the request on a new connection, and collects the response like [`get_page`].
    ///
    /// # Errors
    ///
    /// See [`get_page`].
    #[track_caller]
    pub fn get_page(self, handle: &Handle) -> Deferred<Page> {
        fetch(handle, None, self)
    }
}

/// A complete page with a success status.
#[derive(Clone)]
pub struct Page {
    status: StatusCode,
    reason: String,
    headers: Headers,
    url: Url,
    body: Vec<u8>,
}

impl Page {
    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes the body.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Returns the body as text: UTF-8, with replacement characters for invalid bytes.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Returns the status, between 200 and 299.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the server's reason phrase, or the usual one of the status.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the header fields as a map, which the first call creates.
    pub fn headers(&self) -> &HeaderMap {
        self.headers.map()
    }

    /// Returns the value of the first header with this name, if it is text. Does not create the map.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns the URL of the page, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Page({} {} from {}, {} bytes)",
            self.status.as_str(),
            self.reason,
            self.url,
            self.body.len()
        )
    }
}

/// Sends a request and collects the response.
#[track_caller]
pub(super) fn fetch(handle: &Handle, pool: Option<Rc<Pool>>, request: Request) -> Deferred<Page> {
    let canceller: Rc<RefCell<Weak<Fetch>>> = Rc::default();
    let cancelled = canceller.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        let fetch = cancelled.borrow().upgrade();
        if let Some(fetch) = fetch {
            fetch.abandon();
        }
    });
    let collector =
        Collector { trigger: Cell::new(Some(trigger)), start: RefCell::new(None), body: RefCell::default() };
    if let Some(fetch) = Fetch::start(handle, pool, request, Rc::new(collector)) {
        canceller.replace(Rc::downgrade(&fetch));
        fetch.attempt(false);
    }
    deferred
}

struct Collector {
    trigger: Cell<Option<Trigger<Page>>>,
    start: RefCell<Option<(StatusCode, String, Headers, Url)>>,
    body: RefCell<Vec<u8>>,
}

impl BodySink for Collector {
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, url: Url) -> Result<(), Failure> {
        if let BodyLength::Known(length) = head.body {
            self.body.borrow_mut().reserve_exact(length.min(TRUSTED_LENGTH) as usize);
        }
        self.start.replace(Some((head.status, head.reason_phrase(), head.headers.to_headers(), url)));
        Ok(())
    }

    fn data(&self, data: &[u8]) -> Result<(), Failure> {
        self.body.borrow_mut().extend_from_slice(data);
        Ok(())
    }

    fn ended(&self, ending: Ending) {
        let Some(trigger) = self.trigger.take() else { return };
        let (start, body) = (self.start.take(), self.body.take());
        match (start, ending) {
            (Some((status, reason, headers, url)), Ending::Complete) if status.is_success() => {
                trigger.callback(Page { status, reason, headers, url, body });
            }
            (Some((status, reason, headers, _)), ending)
                if !status.is_success() && ending.is_of_the_body() =>
            {
                trigger.errback(HttpError { status, reason, headers, body });
            }
            (_, ending) => match ending.into_result(body.len() as u64, body) {
                Err(failure) => trigger.errback(failure),
                Ok(()) => drop(trigger),
            },
        }
    }

    fn most(&self) -> u64 {
        MOST_COLLECTED
    }
}
