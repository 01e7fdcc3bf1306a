//! A request, as its handler receives it.

use std::borrow::Cow;
use std::fmt;

use ::http::{Method, Version};
use twistor_net::Address;
use twistor_reactor::Handle;

use crate::server::wire::body_reader::RequestBody;
use crate::{BodyLength, Fields, Headers, RequestHead};

/// A request. Twisted: `Request`, without its answering half, since a handler returns the answer.
///
/// It borrows the received data and ends with the handler. A handler that answers later takes the needed
/// parts out first: `request.arg("name")`, [`request.take_body()`](Request::take_body),
/// [`request.reactor().clone()`](Request::reactor).
pub struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) version: Version,
    pub(super) headers: Fields<'a>,
    pub(super) length: BodyLength,
    pub(super) body: RequestContent<'a>,
    /// The start of the part of the path that no resource has taken yet, and the start of the segment before.
    pub(super) at: usize,
    pub(super) last: usize,
    pub(super) context: RequestContext<'a>,
}

/// The peer and the reactor of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    pub(super) peer: &'a Address,
    pub(super) handle: &'a Handle,
}

pub(super) enum RequestContent<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Stream(RequestBody),
    Taken,
}

impl<'a> Request<'a> {
    #[inline]
    pub(super) fn new(head: RequestHead<'a>, context: RequestContext<'a>) -> Request<'a> {
        Request {
            method: head.method,
            path: head.target.path(),
            query: head.target.query(),
            host: head.host,
            version: head.version,
            headers: head.headers,
            length: head.body,
            body: RequestContent::Borrowed(b""),
            at: 0,
            last: 0,
            context,
        }
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path as received: percent-encoded, with its first slash. `*` for an `OPTIONS` request to
    /// the server as a whole.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the part of the path below the resource that answers: empty, or beginning with a slash;
    /// percent-encoded. Twisted: `postpath`.
    pub fn rest(&self) -> &'a str {
        &self.path[self.at..]
    }

    /// Returns the query, without the question mark, as received.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Returns the first argument with this name in the query, decoded. Bytes that are not UTF-8 are
    /// replaced. Twisted: `args`.
    pub fn arg(&self, name: &str) -> Option<Cow<'a, str>> {
        self.args().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Returns all arguments of the query, decoded.
    pub fn args(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let pairs = self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_lossy(name), decode_lossy(value))
        })
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the host of the request, with its port if it has one. `None` in HTTP/1.0 only.
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// Returns the header fields. [`Fields::to_headers`] copies them.
    pub fn headers(&self) -> Fields<'a> {
        self.headers
    }

    /// Returns the value of the first header field with this name. Twisted: `getHeader`.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.get(name)
    }

    /// Returns the length of the body that the client has announced.
    pub fn body_length(&self) -> BodyLength {
        self.length
    }

    /// Returns the body; empty if it was taken, or is [streamed](crate::server::BodyMode::Streamed). Twisted:
    /// `content`.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            RequestContent::Borrowed(bytes) => bytes,
            RequestContent::Owned(bytes) => bytes,
            RequestContent::Stream(_) | RequestContent::Taken => b"",
        }
    }

    /// Takes the body; empty if it was taken before.
    pub fn take_body(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.body, RequestContent::Taken) {
            RequestContent::Borrowed(bytes) => bytes.to_vec(),
            RequestContent::Owned(bytes) => bytes,
            stream @ RequestContent::Stream(_) => {
                self.body = stream;
                Vec::new()
            }
            RequestContent::Taken => Vec::new(),
        }
    }

    /// Takes the body as a stream, for resources with the mode
    /// [`Streamed`](crate::server::BodyMode::Streamed). With other modes it has already arrived completely.
    /// Returns `None` the second time.
    pub fn stream(&mut self) -> Option<RequestBody> {
        match std::mem::replace(&mut self.body, RequestContent::Taken) {
            RequestContent::Stream(body) => Some(body),
            RequestContent::Taken => None,
            RequestContent::Borrowed(bytes) => Some(RequestBody::whole(bytes.to_vec())),
            RequestContent::Owned(bytes) => Some(RequestBody::whole(bytes)),
        }
    }

    /// Returns the address of the client. Twisted: `getClientAddress`.
    pub fn peer(&self) -> &'a Address {
        self.context.peer
    }

    /// Returns the reactor of the site.
    pub fn reactor(&self) -> &'a Handle {
        self.context.handle
    }

    /// Takes the next segment of the path, decoded. `None` after the last one.
    pub(super) fn next_segment(&mut self) -> Option<Option<Cow<'a, str>>> {
        let rest = self.path.get(self.at..)?.strip_prefix('/')?;
        let length = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        self.last = self.at;
        self.at += 1 + length;
        Some(decode(&rest[..length]))
    }

    /// Puts back the segment that was taken last.
    pub(crate) fn put_back(&mut self) {
        self.at = self.last;
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("host", &self.host)
            .field("version", &self.version)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// The parts of a head that are kept until the body has arrived.
pub(super) struct KeptHead {
    method: Method,
    path: String,
    query: Option<String>,
    host: Option<String>,
    version: Version,
    headers: Headers,
    length: BodyLength,
    at: usize,
}

impl KeptHead {
    pub(super) fn new(request: &Request<'_>) -> KeptHead {
        KeptHead {
            method: request.method.clone(),
            path: request.path.to_owned(),
            query: request.query.map(str::to_owned),
            host: request.host.map(str::to_owned),
            version: request.version,
            headers: request.headers.to_headers(),
            length: request.length,
            at: request.at,
        }
    }

    pub(super) fn request<'a>(&'a self, body: Vec<u8>, context: RequestContext<'a>) -> Request<'a> {
        Request {
            method: self.method.clone(),
            path: &self.path,
            query: self.query.as_deref(),
            host: self.host.as_deref(),
            version: self.version,
            headers: self.headers.fields(),
            length: self.length,
            body: RequestContent::Owned(body),
            at: self.at,
            last: self.at,
            context,
        }
    }
}

/// Decodes a part of a query, in which a plus sign is a space.
fn decode_lossy(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let bytes = unescape(&text.replace('+', " "));
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Decodes a segment of a path. `None` if the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%') {
        return Some(Cow::Borrowed(text));
    }
    String::from_utf8(unescape(text)).ok().map(Cow::Owned)
}

/// Decodes percent-encoded bytes. A percent sign without two digits stands for itself.
fn unescape(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}
