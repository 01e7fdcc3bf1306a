//! A response whose body comes piece by piece.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use ::http::{HeaderMap, StatusCode};
use twistor_deferred::{Deferred, Failure, Trigger, fail, succeed};
use twistor_reactor::Handle;

use super::connection::Connection;
use super::errors::PartialDownload;
use super::fetch::{Destination, Ending, Fetch};
use super::pool::Pool;
use super::request::Request;
use crate::http::{Headers, ResponseHead, Url};
use crate::{HandlerPanicked, Transport};

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
/// While nobody asks for more, nothing is read from the connection: at most 64 KiB are kept, and what
/// they decompress to.
///
/// # Dropping
///
/// Dropped before its end, it closes the connection; nobody would read the rest.
pub struct ResponseBody {
    stream: Rc<Stream>,
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
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        self.stream.next()
    }

    /// Has each piece given to `consumer`, as it comes and without a copy. Fires after the last. Twisted:
    /// `deliverBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next), and that of the consumer, which closes the connection; a panic in it is
    /// [`HandlerPanicked`].
    #[track_caller]
    pub fn deliver(mut self, consumer: impl FnMut(&[u8]) -> Result<(), Failure> + 'static) -> Deferred<()> {
        self.delivered = true;
        Stream::deliver(&self.stream, Box::new(consumer))
    }

    /// Collects the whole. Twisted: `readBody`.
    ///
    /// # Errors
    ///
    /// Those of [`next`](ResponseBody::next); a [`PartialDownload`] has what came.
    #[track_caller]
    pub fn collect(self) -> Deferred<Vec<u8>> {
        let whole = Rc::new(RefCell::new(Vec::new()));
        let pieces = whole.clone();
        let part = whole.clone();
        self.deliver(move |piece| {
            pieces.borrow_mut().extend_from_slice(piece);
            Ok(())
        })
        .add_callbacks(
            move |()| Ok(whole.take()),
            move |failure| {
                let mut cut = failure.trap::<PartialDownload>()?;
                cut.body = part.take();
                Err(cut.into())
            },
        )
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.stream.kept.borrow().len();
        write!(f, "ResponseBody({} bytes came, {kept} of them unread)", self.stream.received.get())
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if !self.delivered {
            self.stream.abandon();
        }
    }
}

/// Sends a request; the Deferred fires with the head of the response.
#[track_caller]
pub(super) fn fetch(handle: &Handle, pool: Option<Rc<Pool>>, request: Request) -> Deferred<Response> {
    let stream = Rc::new(Stream::default());
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

type Consumer = Box<dyn FnMut(&[u8]) -> Result<(), Failure>>;

/// A panic is the consumer's failure, wherever it is called: from the loop, or for what was kept by whoever hands it over.
fn give(consumer: &mut Consumer, piece: &[u8]) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(|| consumer(piece)))
        .unwrap_or_else(|payload| Err(HandlerPanicked::new("the consumer", payload).into()))
}

/// What the connection and the reader of a body share.
#[derive(Default)]
struct Stream {
    response: Cell<Option<Trigger<Response>>>,
    fetch: OnceCell<Weak<Fetch>>,
    transport: OnceCell<Transport>,
    /// What nobody has asked for yet. In one piece: chunks of a byte are not to cost an allocation each.
    kept: RefCell<Vec<u8>>,
    received: Cell<u64>,
    paused: Cell<bool>,
    /// Who waits for a piece.
    waiting: Cell<Option<Trigger<Option<Vec<u8>>>>>,
    /// Who takes them all, and who waits for the end.
    consumer: Cell<Option<Consumer>>,
    delivered: Cell<Option<Trigger<()>>>,
    /// How it ended, until that is told.
    end: Cell<Option<Result<(), Failure>>>,
    ended: Cell<bool>,
}

impl Stream {
    fn abandon(&self) {
        let fetch = self.fetch.get().and_then(Weak::upgrade);
        if let Some(fetch) = fetch {
            fetch.abandon();
        }
    }

    fn pause(&self) {
        if !self.paused.replace(true) {
            if let Some(transport) = self.transport.get() {
                transport.pause_producing();
            }
        }
    }

    fn resume(&self) {
        if self.paused.replace(false) {
            // Silence counts from now on.
            if let Some(fetch) = self.fetch.get().and_then(Weak::upgrade) {
                fetch.touch();
            }
            if let Some(transport) = self.transport.get() {
                transport.resume_producing();
            }
        }
    }

    #[track_caller]
    fn next(&self) -> Deferred<Option<Vec<u8>>> {
        let kept = self.kept.take();
        if !kept.is_empty() {
            return succeed(Some(kept));
        }
        if self.ended.get() {
            return match self.end.take() {
                Some(Err(failure)) => fail(failure),
                _ => succeed(None),
            };
        }
        let (deferred, trigger) = Deferred::new();
        drop(self.waiting.replace(Some(trigger)));
        self.resume();
        deferred
    }

    #[track_caller]
    fn deliver(this: &Rc<Stream>, mut consumer: Consumer) -> Deferred<()> {
        let kept = this.kept.take();
        if !kept.is_empty() {
            if let Err(failure) = give(&mut consumer, &kept) {
                this.abandon();
                return fail(failure);
            }
        }
        if this.ended.get() {
            return match this.end.take() {
                Some(Err(failure)) => fail(failure),
                _ => succeed(()),
            };
        }
        let cancelled = Rc::downgrade(this);
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(stream) = cancelled.upgrade() {
                drop(stream.consumer.take());
                stream.abandon();
            }
        });
        this.consumer.set(Some(consumer));
        this.delivered.set(Some(trigger));
        this.resume();
        deferred
    }
}

impl Destination for Stream {
    fn head(
        self: Rc<Self>,
        head: &ResponseHead<'_>,
        url: &Url,
        connection: &Rc<Connection>,
    ) -> Result<(), Failure> {
        let Some(trigger) = self.response.take() else { return Ok(()) };
        if let Some(transport) = connection.transport() {
            let _ = self.transport.set(transport.clone());
        }
        trigger.callback(Response {
            status: head.status,
            reason: head.words(),
            headers: head.headers.to_headers(),
            url: url.clone(),
            length: head.length(),
            body: ResponseBody { stream: self.clone(), delivered: false },
        });
        let (waiting, consumer) = (self.waiting.take(), self.consumer.take());
        if waiting.is_none() && consumer.is_none() {
            // Somebody has to ask first.
            self.pause();
        }
        self.waiting.set(waiting);
        self.consumer.set(consumer);
        Ok(())
    }

    fn data(&self, data: &[u8]) -> Result<(), Failure> {
        self.received.set(self.received.get() + data.len() as u64);
        if let Some(mut consumer) = self.consumer.take() {
            let taken = give(&mut consumer, data);
            if !self.ended.get() {
                self.consumer.set(Some(consumer));
            }
            return taken;
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.callback(Some(data.to_vec()));
        } else {
            self.kept.borrow_mut().extend_from_slice(data);
            self.pause();
        }
        Ok(())
    }

    fn ended(&self, ending: Ending) {
        self.ended.set(true);
        if self.paused.replace(false) {
            // The next request on this connection starts with it flowing.
            if let Some(transport) = self.transport.get() {
                transport.resume_producing();
            }
        }
        drop(self.consumer.take());
        let received = self.received.get();
        let end = match ending {
            Ending::Complete => Ok(()),
            Ending::Cut { expected, cause } => {
                Err(PartialDownload { body: Vec::new(), received, expected, cause }.into())
            }
            other => other.into_failure().map_or(Ok(()), Err),
        };
        if let Some(trigger) = self.response.take() {
            if let Err(failure) = end {
                trigger.errback(failure);
            }
        } else if let Some(trigger) = self.delivered.take() {
            trigger.fire(end);
        } else if let Some(trigger) = self.waiting.take() {
            trigger.fire(end.map(|()| None));
        } else {
            self.end.set(Some(end));
        }
    }

    fn is_paused(&self) -> bool {
        self.paused.get()
    }

    fn takes_much(&self) -> bool {
        let consumer = self.consumer.take();
        let takes_much = consumer.is_some();
        self.consumer.set(consumer);
        takes_much
    }
}
