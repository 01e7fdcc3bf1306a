//! The response that a handler returns.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use twistor_deferred::{Deferred, Failure, Outcome, maybe_deferred_at};

use crate::server::wire::body_writer::BodyWriter;
use crate::server::wire::encode::Head;

/// An answer to a request: a status, header fields and a body. Twisted: `setResponseCode`, `setHeader` and
/// `write` of `Request`.
///
/// Most handlers need none: text, bytes and a [`StatusCode`] are converted to one.
///
/// The server writes the length of the body, its framing, the persistence of the connection, and the date.
///
/// # Examples
///
/// ```
/// use twistor::http::StatusCode;
/// use twistor::http::server::Response;
///
/// let response = Response::from("<p>There is nothing here.")
///     .status(StatusCode::NOT_FOUND)
///     .content_type("text/html; charset=utf-8")
///     .header("cache-control", "no-store");
/// # drop(response);
/// ```
#[must_use = "a response does nothing unless a handler returns it"]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
    pub(super) close: bool,
    /// An error of the caller, such as an invalid header. It is logged and answered with 500.
    pub(super) fault: Option<Failure>,
}

pub(super) type Start = Box<dyn FnOnce(BodyWriter) -> Deferred<()>>;

pub(super) enum Body {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Stream { length: Option<u64>, start: Start },
}

/// Runs the writer of a body, and attributes its failure to the place that passed it.
fn named<O: Outcome<Value = ()>>(
    place: &'static Location<'static>,
    start: impl FnOnce(BodyWriter) -> O + 'static,
) -> Start {
    Box::new(move |writer| maybe_deferred_at(place, || start(writer)))
}

impl Response {
    /// Returns whether it is invalid, or has a body that may fail.
    #[inline]
    pub(super) fn may_fail(&self) -> bool {
        self.fault.is_some() || self.status.is_informational() || matches!(self.body, Body::Stream { .. })
    }

    /// Creates a response without a body.
    pub fn new(status: StatusCode) -> Response {
        Response {
            status,
            content_type: None,
            headers: Vec::new(),
            body: Body::Static(b""),
            close: false,
            fault: None,
        }
    }

    fn with_body(body: Body) -> Response {
        Response { body, ..Response::new(StatusCode::OK) }
    }

    /// Creates a response whose body is written piece by piece. `start` gets the [`BodyWriter`] when the head
    /// is sent. The body ends when the result of `start` fires. Twisted: `IBodyProducer`.
    ///
    /// HTTP/1.1 clients get it in chunks, HTTP/1.0 clients up to the end of the connection. For a body of
    /// known length, see [`sized`](Response::sized). `start` is not called for a `HEAD` request.
    ///
    /// # Errors
    ///
    /// If the body fails, the connection is reset, so that the client does not take the received part for the
    /// whole. The body is cancelled when the client leaves.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::http::server::Response;
    /// use twistor::prelude::*;
    ///
    /// fn count(reactor: Handle) -> Response {
    ///     Response::stream(move |out| {
    ///         reactor.spawn(async move {
    ///             for n in 0..1_000_000 {
    ///                 out.write(format!("{n}\n").as_bytes());
    ///                 if out.is_full() {
    ///                     out.drained().await?;
    ///                 }
    ///             }
    ///             Ok::<(), Failure>(())
    ///         })
    ///     })
    /// }
    /// ```
    #[track_caller]
    pub fn stream<O: Outcome<Value = ()>>(start: impl FnOnce(BodyWriter) -> O + 'static) -> Response {
        let start = named(Location::caller(), start);
        Response::with_body(Body::Stream { length: None, start })
    }

    /// Creates a response whose body has exactly `length` bytes, written like that of
    /// [`stream`](Response::stream). A piece that would exceed the length is refused. Ending early is a
    /// failure.
    #[track_caller]
    pub fn sized<O: Outcome<Value = ()>>(
        length: u64,
        start: impl FnOnce(BodyWriter) -> O + 'static,
    ) -> Response {
        let start = named(Location::caller(), start);
        Response::with_body(Body::Stream { length: Some(length), start })
    }

    /// Creates a redirect with 302. Twisted: `redirectTo`.
    #[track_caller]
    pub fn redirect(location: &str) -> Response {
        Response::new(StatusCode::FOUND).header(header::LOCATION, location)
    }

    /// Sets the status. Default: 200. A status below 200 is not final, and is refused.
    pub fn status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }

    /// Sets the content type. Default: `text/plain; charset=utf-8` for text, none for bytes.
    #[track_caller]
    pub fn content_type(self, kind: impl TryInto<HeaderValue, Error: Into<::http::Error>>) -> Response {
        self.header(header::CONTENT_TYPE, kind)
    }

    /// Adds a header field after those with the same name; `content-type` is replaced.
    ///
    /// An invalid field, or one that the server writes (`content-length`, `transfer-encoding`, `connection`),
    /// is logged and makes the answer a 500.
    #[track_caller]
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName, Error: Into<::http::Error>>,
        value: impl TryInto<HeaderValue, Error: Into<::http::Error>>,
    ) -> Response {
        let (name, value) = match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => (name, value),
            (Err(error), _) => return self.refused(Failure::from(error.into())),
            (Ok(name), Err(error)) => {
                return self.refused(Failure::from(error.into()).context(format!("header {name}")));
            }
        };
        if name == header::CONTENT_TYPE {
            self.content_type = Some(value);
        } else if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(&name) {
            self.fault = Some(Failure::new(format!("header {name} must not be set: the server writes it")));
        } else {
            self.headers.push((name, value));
        }
        self
    }

    fn refused(mut self, failure: Failure) -> Response {
        self.fault = Some(failure.context("invalid header"));
        self
    }

    /// Closes the connection after this response.
    pub fn close(mut self) -> Response {
        self.close = true;
        self
    }

    /// Returns the parts that the head is written from.
    #[inline]
    pub(super) fn head(&self) -> Head<'_> {
        Head { status: self.status, content_type: self.content_type.as_ref(), headers: &self.headers }
    }

    /// Creates an error response with a short text for people.
    pub(super) fn plain(status: StatusCode, message: &str) -> Response {
        Response::from(format!("{message}\n")).status(status)
    }

    /// Creates the answer to a failed request, with the status's reason phrase.
    pub(super) fn of_status(status: StatusCode) -> Response {
        Response::plain(status, status.canonical_reason().unwrap_or("unknown reason"))
    }
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl From<&'static str> for Response {
    #[inline]
    fn from(text: &'static str) -> Response {
        Response { content_type: Some(TEXT), ..Response::from(text.as_bytes()) }
    }
}

impl From<String> for Response {
    fn from(text: String) -> Response {
        Response { content_type: Some(TEXT), ..Response::from(text.into_bytes()) }
    }
}

impl From<Cow<'static, str>> for Response {
    fn from(text: Cow<'static, str>) -> Response {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&'static [u8]> for Response {
    #[inline]
    fn from(bytes: &'static [u8]) -> Response {
        Response::with_body(Body::Static(bytes))
    }
}

impl From<Vec<u8>> for Response {
    #[inline]
    fn from(bytes: Vec<u8>) -> Response {
        Response::with_body(Body::Owned(bytes))
    }
}

/// The status, with its reason phrase as the body if it may have one.
impl From<StatusCode> for Response {
    fn from(status: StatusCode) -> Response {
        match status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
                Response::new(status)
            }
            _ => Response::of_status(status),
        }
    }
}

/// 204 No Content.
impl From<()> for Response {
    fn from((): ()) -> Response {
        Response::new(StatusCode::NO_CONTENT)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match &self.body {
            Body::Static(bytes) => Some(bytes.len() as u64),
            Body::Owned(bytes) => Some(bytes.len() as u64),
            Body::Stream { length, .. } => *length,
        };
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("headers", &self.headers)
            .field("length", &length)
            .finish_non_exhaustive()
    }
}
