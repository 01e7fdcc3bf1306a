//! The body of a request, as it comes.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use ::http::StatusCode;
use twistor_deferred::{Deferred, Failure, Trigger, fail, succeed};

use super::channel::Channel;
use crate::HandlerPanicked;
use crate::http::DecodeError;

/// The body of a request, as it comes; see [`Request::stream`](super::Request::stream).
///
/// While nobody asks for more, nothing is read from the connection: at most 64 KiB are kept.
///
/// # Dropping
///
/// What comes after it was dropped is thrown away. A response that is sent before the body has come ends the
/// connection.
pub struct RequestBody {
    incoming: Rc<Incoming>,
    /// Whether somebody else sees to the end.
    delivered: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Rc<Incoming>) -> RequestBody {
        RequestBody { incoming, delivered: false }
    }

    /// A body that has come already.
    pub(super) fn whole(bytes: Vec<u8>) -> RequestBody {
        let incoming = Rc::new(Incoming::new(Weak::new(), false));
        incoming.kept.replace(bytes);
        incoming.ended.set(true);
        RequestBody::new(incoming)
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`BodyRefused`] when the body is malformed, [`BodyCut`] when the client leaves or takes too long. Asking again
    /// while a piece is awaited fails that earlier wait with [`Abandoned`](twistor_deferred::Abandoned).
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        let incoming = &self.incoming;
        let kept = incoming.kept.take();
        if !kept.is_empty() {
            return succeed(Some(kept));
        }
        if let Some(end) = incoming.take_end() {
            return end.map_or_else(fail, |()| succeed(None));
        }
        let (deferred, trigger) = Deferred::new();
        drop(incoming.waiting.replace(Some(trigger)));
        incoming.resume();
        deferred
    }

    /// Has each piece given to `consumer`, as it comes and without a copy. Fires after the last.
    ///
    /// # Errors
    ///
    /// Those of [`next`](RequestBody::next), and that of the consumer, which gets no more; a panic in it is
    /// [`HandlerPanicked`].
    #[track_caller]
    pub fn deliver(
        mut self,
        mut consumer: impl FnMut(&[u8]) -> Result<(), Failure> + 'static,
    ) -> Deferred<()> {
        self.delivered = true;
        let incoming = &self.incoming;
        let kept = incoming.kept.take();
        if !kept.is_empty() {
            if let Err(failure) = consumer(&kept) {
                incoming.discard();
                return fail(failure);
            }
        }
        if let Some(end) = incoming.take_end() {
            return end.map_or_else(fail, succeed);
        }
        let (deferred, trigger) = Deferred::new();
        incoming.consumer.set(Some(Box::new(consumer)));
        incoming.delivered.set(Some(trigger));
        incoming.resume();
        deferred
    }

    /// Collects the whole.
    ///
    /// # Errors
    ///
    /// Those of [`next`](RequestBody::next).
    #[track_caller]
    pub fn collect(self) -> Deferred<Vec<u8>> {
        let whole = Rc::new(RefCell::new(Vec::new()));
        let pieces = whole.clone();
        let delivered = self.deliver(move |piece| {
            pieces.borrow_mut().extend_from_slice(piece);
            Ok(())
        });
        delivered.add_callback(move |()| Ok(whole.take()))
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.incoming.kept.borrow().len();
        write!(f, "RequestBody({kept} bytes unread, ended: {})", self.incoming.ended.get())
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.delivered {
            self.incoming.discard();
        }
    }
}

type Consumer = Box<dyn FnMut(&[u8]) -> Result<(), Failure>>;

/// What the connection and the reader of a body share.
pub(super) struct Incoming {
    channel: Weak<Channel>,
    /// What nobody has asked for yet. In one piece: chunks of a byte are not to cost an allocation each.
    kept: RefCell<Vec<u8>>,
    waiting: Cell<Option<Trigger<Option<Vec<u8>>>>>,
    consumer: Cell<Option<Consumer>>,
    delivered: Cell<Option<Trigger<()>>>,
    ended: Cell<bool>,
    /// Why it ended, until that is told; none: in order.
    cut: Cell<Option<Failure>>,
    paused: Cell<bool>,
    /// The client waits to be told to go on.
    expects: Cell<bool>,
    /// Nobody wants the rest.
    discarded: Cell<bool>,
}

impl Incoming {
    pub(super) fn new(channel: Weak<Channel>, expects: bool) -> Incoming {
        Incoming {
            channel,
            kept: RefCell::default(),
            waiting: Cell::default(),
            consumer: Cell::default(),
            delivered: Cell::default(),
            ended: Cell::new(false),
            cut: Cell::default(),
            paused: Cell::new(false),
            expects: Cell::new(expects),
            discarded: Cell::new(false),
        }
    }

    /// Whether it is the reader who holds the body up, and not the client.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get() || self.expects.get()
    }

    /// Whether somebody takes each piece as it comes.
    pub(super) fn is_consumed(&self) -> bool {
        let consumer = self.consumer.take();
        let is_consumed = consumer.is_some();
        self.consumer.set(consumer);
        is_consumed
    }

    pub(super) fn data(&self, data: &[u8]) {
        self.expects.set(false);
        if self.discarded.get() {
            return;
        }
        if let Some(mut consumer) = self.consumer.take() {
            // A panic is the request's, not the connection's.
            let consumed = catch_unwind(AssertUnwindSafe(|| consumer(data)))
                .unwrap_or_else(|payload| Err(HandlerPanicked::new("deliver", payload).into()));
            match consumed {
                Ok(()) => self.consumer.set(Some(consumer)),
                Err(failure) => {
                    self.discard();
                    if let Some(delivered) = self.delivered.take() {
                        delivered.errback(failure);
                    }
                }
            }
        } else if let Some(waiting) = self.waiting.take() {
            waiting.callback(Some(data.to_vec()));
        } else {
            self.kept.borrow_mut().extend_from_slice(data);
            self.pause();
        }
    }

    pub(super) fn end(&self, cut: Option<Failure>) {
        if self.ended.replace(true) {
            return;
        }
        drop(self.consumer.take());
        if let Some(delivered) = self.delivered.take() {
            delivered.fire(cut.map_or(Ok(()), Err));
        } else if let Some(waiting) = self.waiting.take() {
            waiting.fire(cut.map_or(Ok(None), Err));
        } else {
            self.cut.set(cut);
        }
    }

    fn take_end(&self) -> Option<Result<(), Failure>> {
        self.ended.get().then(|| self.cut.take().map_or(Ok(()), Err))
    }

    fn pause(&self) {
        if !self.paused.replace(true) {
            if let Some(channel) = self.channel.upgrade() {
                channel.transport().pause_producing();
            }
        }
    }

    fn resume(&self) {
        let Some(channel) = self.channel.upgrade() else { return };
        if self.expects.replace(false) {
            channel.send_continue();
            channel.await_body();
        }
        if self.paused.replace(false) {
            channel.body_resumed();
        }
    }

    fn discard(&self) {
        if !self.discarded.replace(true) && !self.ended.get() {
            drop(self.consumer.take());
            self.kept.take();
            // Not to be told to go on: the body is not wanted.
            if self.paused.replace(false) {
                if let Some(channel) = self.channel.upgrade() {
                    channel.body_resumed();
                }
            }
        }
    }
}

/// The failure of a request's body that is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyRefused(pub(super) DecodeError);

impl BodyRefused {
    /// The status that the client gets unless the handler answers otherwise.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body of the request was refused: {}", self.0)
    }
}

impl Error for BodyRefused {}

/// The failure of a request's body whose end did not come: the client left, or took too long.
///
/// The client, if it is still there, gets a 408 unless the handler answers otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCut;

impl fmt::Display for BodyCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ended before the body of the request")
    }
}

impl Error for BodyCut {}
