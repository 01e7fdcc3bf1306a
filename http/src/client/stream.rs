//! A response whose body arrives piece by piece.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use ::http::{HeaderMap, StatusCode};
use twistor_deferred::{Deferred, Failure, Trigger, fail, succeed};
use twistor_reactor::Handle;

use super::errors::PartialDownload;
use super::fetch::Fetch;
use super::pool::Pool;
use super::request::Request;
use super::sink::{BodySink, Demand, Ending, MOST_COLLECTED, with_decoded};
use crate::pieces::{Pieces, Taker};
use crate::{Headers, LimitExceeded, LimitKind, ResponseHead, Url};

/// A response whose head has arrived, and whose body is still arriving. Twisted: `IResponse`.
///
/// Responses of every status are returned; none is an error here.
pub struct Response {
    status: StatusCode,
    reason: String,
    headers: Headers,
    url: Url,
    length: Option<u64>,
    body: ResponseBody,
}

impl Response {
    /// Returns the status.
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

    /// Returns the URL of the response, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the announced length of the body, if there is one.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the body.
    pub fn body(&self) -> &ResponseBody {
        &self.body
    }

    /// Takes the body.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} {} from {})", self.status.as_str(), self.reason, self.url)
    }
}

/// The body of a [`Response`], as it arrives.
///
/// Without a reader, nothing is read from the connection and nothing is decompressed. At most 64 KiB are kept
/// as received, and one piece of their decompressed form.
///
/// # Dropping
///
/// Dropping the body before its end closes the connection.
pub struct ResponseBody {
    stream: Rc<Stream>,
    /// The connection may be done with it, while it holds the rest back.
    fetch: Option<Rc<Fetch>>,
    /// A consumer receives the pieces, and outlives this handle.
    delivered: bool,
}

impl ResponseBody {
    /// Returns the next piece, or `None` after the last.
    ///
    /// # Errors
    ///
    /// [`PartialDownload`], and the other errors of [`get_page`](super::get_page) about bodies. Another call
    /// while a piece is awaited fails the earlier wait with [`Abandoned`](twistor_deferred::Abandoned).
    ///
    /// # Cancel safety
    ///
    /// A cancelled wait takes nothing. A piece that has arrived and is dropped unread is lost.
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        self.stream.pieces.next(|| self.stream.resume())
    }

    /// Passes each piece to `consumer`, as it arrives and without a copy. Fires after the last. Twisted:
    /// `deliverBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next), and that of the consumer, which closes the connection. A panic
    /// of the consumer is [`HandlerPanicked`](twistor_net::HandlerPanicked).
    #[track_caller]
    pub fn deliver(mut self, consumer: impl FnMut(&[u8]) -> Result<(), Failure> + 'static) -> Deferred<()> {
        self.delivered = true;
        let stream = Rc::downgrade(&self.stream);
        let give_up = move || {
            if let Some(stream) = stream.upgrade() {
                stream.pieces.discard();
                stream.abandon();
            }
        };
        self.stream.pieces.deliver(Box::new(consumer), || self.stream.resume(), give_up)
    }

    /// Collects the complete body. Twisted: `readBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next); a [`PartialDownload`] has the bytes that came, and an
    /// [`Undecodable`](crate::Undecodable) those that were decoded. [`LimitExceeded`]: there are more bytes than
    /// [`Request::max_body`] allows, by default 128 MiB.
    #[track_caller]
    pub fn collect(self) -> Deferred<Vec<u8>> {
        let limit = self.stream.collectable.get();
        let exceeded = move || Failure::from(LimitExceeded::new(LimitKind::BodySize, limit));
        if let Some((whole, end)) = self.stream.pieces.take_rest() {
            return match end {
                _ if whole.len() as u64 > limit => fail(exceeded()),
                Ok(()) => succeed(whole),
                Err(failure) => fail(with_part(failure, whole)),
            };
        }
        let whole = Rc::new(RefCell::new(Vec::new()));
        let (pieces, part) = (whole.clone(), whole.clone());
        self.deliver(move |piece| {
            let mut pieces = pieces.borrow_mut();
            if (pieces.len() + piece.len()) as u64 > limit {
                return Err(exceeded());
            }
            pieces.extend_from_slice(piece);
            Ok(())
        })
        .add_callbacks(move |()| Ok(whole.take()), move |failure| Err(with_part(failure, part.take())))
    }
}

/// Adds the collected bytes to a failure that carries them.
fn with_part(failure: Failure, part: Vec<u8>) -> Failure {
    match failure.trap::<PartialDownload>() {
        Ok(cut) => PartialDownload { body: part, ..cut }.into(),
        Err(failure) => with_decoded(failure, part),
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, kept) = (self.stream.received.get(), self.stream.pieces.kept());
        write!(f, "ResponseBody({received} bytes received, {kept} of them unread)")
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.as_ref().filter(|_| !self.delivered) {
            fetch.abandon();
        }
    }
}

/// Sends a request. The Deferred fires with the head of the response.
#[track_caller]
pub(super) fn fetch(handle: &Handle, pool: Option<Rc<Pool>>, request: Request) -> Deferred<Response> {
    let stream = Rc::new(Stream::default());
    stream.collectable.set(request.settings.max_body.unwrap_or(MOST_COLLECTED));
    let cancelled = Rc::downgrade(&stream);
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(stream) = cancelled.upgrade() {
            stream.abandon();
        }
    });
    stream.response.set(Some(trigger));
    if let Some(fetch) = Fetch::start(handle, pool, request, stream.clone()) {
        let _ = stream.fetch.set(Rc::downgrade(&fetch));
        fetch.attempt(false);
    }
    deferred
}

/// The state that the connection and the reader of a body share.
#[derive(Default)]
struct Stream {
    response: Cell<Option<Trigger<Response>>>,
    fetch: OnceCell<Weak<Fetch>>,
    pieces: Pieces,
    received: Cell<u64>,
    /// The largest body that is collected.
    collectable: Cell<u64>,
}

impl Stream {
    fn abandon(&self) {
        let fetch = self.fetch.get().and_then(Weak::upgrade);
        if let Some(fetch) = fetch {
            fetch.abandon();
        }
    }

    /// Requests more data.
    fn resume(&self) {
        if let Some(fetch) = self.fetch.get().and_then(Weak::upgrade) {
            fetch.resume();
        }
    }
}

impl BodySink for Stream {
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, url: Url) -> Result<(), Failure> {
        let Some(trigger) = self.response.take() else { return Ok(()) };
        let fetch = self.fetch.get().and_then(Weak::upgrade);
        trigger.callback(Response {
            status: head.status,
            reason: head.reason_phrase(),
            headers: head.headers.to_headers(),
            url,
            length: head.length(),
            body: ResponseBody { stream: self, fetch, delivered: false },
        });
        Ok(())
    }

    fn data(&self, data: &[u8]) -> Result<(), Failure> {
        self.received.set(self.received.get() + data.len() as u64);
        self.pieces.push(data)
    }

    fn ended(&self, ending: Ending) {
        let received = self.received.get();
        let end = ending.into_result(received, Vec::new());
        match (self.response.take(), end) {
            (Some(trigger), Err(failure)) => trigger.errback(failure),
            (Some(trigger), Ok(())) => drop(trigger),
            (None, end) => self.pieces.end(end),
        }
    }

    fn demand(&self) -> Demand {
        match self.pieces.taker() {
            Taker::Consumer => Demand::Much,
            Taker::Asker => Demand::Little,
            // A reader that has read before will read again. Until then the next piece is kept.
            Taker::Nobody if self.received.get() > 0 && self.pieces.kept() == 0 => Demand::Little,
            Taker::Nobody => Demand::None,
        }
    }
}
