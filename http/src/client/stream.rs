//! A response whose body comes piece by piece.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use ::http::{HeaderMap, StatusCode};
use twistor_deferred::{Deferred, Failure, Trigger};
use twistor_reactor::Handle;

use super::errors::PartialDownload;
use super::fetch::Fetch;
use super::pool::Pool;
use super::request::Request;
use super::sink::{BodySink, Demand, Ending, MOST_COLLECTED, with_decoded};
use crate::pieces::{Pieces, Taker};
use crate::{Headers, LimitExceeded, LimitKind, ResponseHead, Url};

/// A response: its head is there, its body is still coming. Twisted: `IResponse`.
///
/// All statuses are responses; none is an error here.
pub struct Response {
    status: StatusCode,
    reason: String,
    headers: Headers,
    url: Url,
    length: Option<u64>,
    body: ResponseBody,
}

impl Response {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The server's words for the status, or the usual ones if it sent none.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The header fields, as a map that is made when first asked for.
    pub fn headers(&self) -> &HeaderMap {
        self.headers.map()
    }

    /// The value of the first header of that name, if it is text. Makes no map.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Where the response came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How long the body will be, where the server says.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The body.
    pub fn body(&self) -> &ResponseBody {
        &self.body
    }

    /// The body, to keep.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} {} from {})", self.status.as_str(), self.reason, self.url)
    }
}

/// The body of a [`Response`], as it comes.
///
/// While nobody asks for more, nothing is read from the connection, and nothing decompressed: at most 64 KiB are kept,
/// as they came, and a piece of what they decompress to.
///
/// # Dropping
///
/// Dropped before its end, it closes the connection; nobody would read the rest.
pub struct ResponseBody {
    stream: Rc<Stream>,
    /// It may be over for the connection, and hold the rest back.
    fetch: Option<Rc<Fetch>>,
    /// Whether somebody else sees to the end.
    delivered: bool,
}

impl ResponseBody {
    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`PartialDownload`] and what else [`get_page`](super::get_page) tells of bodies. Asking again while a piece is
    /// awaited fails that earlier wait with [`Abandoned`](twistor_deferred::Abandoned).
    ///
    /// # Cancel safety
    ///
    /// A wait that is cancelled takes nothing. A piece that has come and is dropped unread is lost.
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        self.stream.pieces.next(|| self.stream.resume())
    }

    /// Has each piece given to `consumer`, as it comes and without a copy. Fires after the last. Twisted:
    /// `deliverBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next), and that of the consumer, which closes the connection; a panic in it is
    /// [`HandlerPanicked`](twistor_net::HandlerPanicked).
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

    /// Collects the whole. Twisted: `readBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next); a [`PartialDownload`] has the bytes that came, and an
    /// [`Undecodable`](crate::Undecodable) those that were decoded. [`LimitExceeded`]: there are more bytes than
    /// [`Request::max_body`] allows, by default 128 MiB.
    #[track_caller]
    pub fn collect(self) -> Deferred<Vec<u8>> {
        let limit = self.stream.collectable.get();
        let whole = Rc::new(RefCell::new(Vec::new()));
        let pieces = whole.clone();
        let part = whole.clone();
        self.deliver(move |piece| {
            let mut pieces = pieces.borrow_mut();
            if (pieces.len() + piece.len()) as u64 > limit {
                return Err(LimitExceeded::new(LimitKind::BodySize, limit).into());
            }
            pieces.extend_from_slice(piece);
            Ok(())
        })
        .add_callbacks(
            move |()| Ok(whole.take()),
            move |failure| match failure.trap::<PartialDownload>() {
                Ok(cut) => Err(PartialDownload { body: part.take(), ..cut }.into()),
                Err(failure) => Err(with_decoded(failure, part.take())),
            },
        )
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, kept) = (self.stream.received.get(), self.stream.pieces.kept());
        write!(f, "ResponseBody({received} bytes came, {kept} of them unread)")
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.as_ref().filter(|_| !self.delivered) {
            fetch.abandon();
        }
    }
}

/// Sends a request; the Deferred fires with the head of the response.
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

/// What the connection and the reader of a body share.
#[derive(Default)]
struct Stream {
    response: Cell<Option<Trigger<Response>>>,
    fetch: OnceCell<Weak<Fetch>>,
    pieces: Pieces,
    received: Cell<u64>,
    /// The largest body that may be collected.
    collectable: Cell<u64>,
}

impl Stream {
    fn abandon(&self) {
        let fetch = self.fetch.get().and_then(Weak::upgrade);
        if let Some(fetch) = fetch {
            fetch.abandon();
        }
    }

    /// Sees to it that more comes.
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
            // One who has asked before will ask again; until then the next piece is kept.
            Taker::Nobody if self.received.get() > 0 && self.pieces.kept() == 0 => Demand::Little,
            Taker::Nobody => Demand::None,
        }
    }
}
