//! The body of a request, as it arrives.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use ::http::StatusCode;
use twistor_deferred::{Deferred, Failure, fail, succeed};
use twistor_net::Transport;

use super::encode;
use crate::DecodeError;
use crate::pieces::{Pieces, Taker};

/// The body of a request, as it arrives. [`Request::stream`](crate::server::Request::stream) returns it.
///
/// Without a reader, reading from the connection is paused: at most 64 KiB are kept.
///
/// # Dropping
///
/// The rest of a dropped body is read and ignored. A response that is sent before the whole body has arrived
/// closes the connection.
pub struct RequestBody {
    incoming: Rc<Incoming>,
    /// A consumer receives the pieces, and outlives this handle.
    delivered: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Rc<Incoming>) -> RequestBody {
        RequestBody { incoming, delivered: false }
    }

    /// Creates a body that has arrived completely.
    pub(crate) fn whole(bytes: Vec<u8>) -> RequestBody {
        let pieces = Pieces::whole(bytes);
        RequestBody::new(Rc::new(Incoming { pieces, ..Incoming::new(Transport::lost(), false) }))
    }

    /// Returns the next piece, or `None` after the last.
    ///
    /// # Errors
    ///
    /// [`BodyRefused`] if the body is malformed, [`BodyCut`] if the client leaves or takes too long. Another
    /// call while a piece is awaited fails the earlier wait with [`Abandoned`](twistor_deferred::Abandoned).
    ///
    /// # Cancel safety
    ///
    /// A cancelled wait takes nothing. A piece that has arrived and is dropped unread is lost.
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        self.incoming.pieces.next(|| self.incoming.resume())
    }

    /// Passes each piece to `consumer`, as it arrives and without a copy. Fires after the last.
    ///
    /// # Errors
    ///
    /// Those of [`next`](RequestBody::next), and that of the consumer, which then gets no more. A panic of
    /// the consumer is [`HandlerPanicked`](twistor_net::HandlerPanicked).
    #[track_caller]
    pub fn deliver(mut self, consumer: impl FnMut(&[u8]) -> Result<(), Failure> + 'static) -> Deferred<()> {
        self.delivered = true;
        let incoming = Rc::downgrade(&self.incoming);
        let give_up = move || {
            if let Some(incoming) = incoming.upgrade() {
                incoming.discard();
            }
        };
        self.incoming.pieces.deliver(Box::new(consumer), || self.incoming.resume(), give_up)
    }

    /// Collects the complete body.
    ///
    /// # Errors
    ///
    /// Those of [`next`](RequestBody::next).
    #[track_caller]
    pub fn collect(self) -> Deferred<Vec<u8>> {
        if let Some((whole, end)) = self.incoming.pieces.take_rest() {
            return end.map_or_else(fail, |()| succeed(whole));
        }
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
        let pieces = &self.incoming.pieces;
        write!(f, "RequestBody({} bytes unread, ended: {})", pieces.kept(), pieces.have_ended())
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.delivered {
            self.incoming.discard();
        }
    }
}

/// A request's body under way, shared by the exchange and the handler.
pub(crate) struct Incoming {
    transport: Transport,
    pieces: Pieces,
    paused: Cell<bool>,
    expects: Cell<Expectation>,
    /// The rest is unwanted.
    discarded: Cell<bool>,
}

/// Whether the client waits for 100 Continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    Nothing,
    Waits,
    /// It waits, but the answer has begun, so it will not get one.
    WaitsInVain,
}

impl Incoming {
    pub(crate) fn new(transport: Transport, expects: bool) -> Incoming {
        let expects = if expects { Expectation::Waits } else { Expectation::Nothing };
        Incoming {
            transport,
            pieces: Pieces::default(),
            paused: Cell::new(false),
            expects: Cell::new(expects),
            discarded: Cell::new(false),
        }
    }

    /// Whether the reader holds up the body, and not the client.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get() || self.expects.get() != Expectation::Nothing
    }

    /// Whether a consumer takes each piece as it arrives.
    pub(crate) fn is_consumed(&self) -> bool {
        self.pieces.taker() == Taker::Consumer
    }

    /// Sends no 100 Continue from now on, because it would interrupt the answer.
    pub(crate) fn answered(&self) {
        if self.expects.get() == Expectation::Waits {
            self.expects.set(Expectation::WaitsInVain);
        }
    }

    pub(crate) fn data(&self, data: &[u8]) {
        self.expects.set(Expectation::Nothing);
        if self.discarded.get() {
            return;
        }
        if let Err(failure) = self.pieces.push(data) {
            self.discard();
            self.pieces.end(Err(failure));
        } else if self.pieces.kept() > 0 && !self.paused.replace(true) {
            self.transport.pause_producing();
            // The kept pieces must be delivered before the loss.
            self.transport.keep_back();
        }
    }

    pub(crate) fn end(&self, end: Result<(), Failure>) {
        self.pieces.end(end);
    }

    fn resume(&self) {
        if self.expects.replace(Expectation::Nothing) == Expectation::Waits {
            self.transport.write(encode::CONTINUE);
        }
        self.unpause();
    }

    fn unpause(&self) {
        if self.paused.replace(false) {
            self.transport.resume_producing();
        }
    }

    fn discard(&self) {
        if !self.discarded.replace(true) && !self.pieces.have_ended() {
            self.pieces.discard();
            // Without 100 Continue, since the body is unwanted.
            self.unpause();
        }
    }
}

/// The failure of a malformed request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyRefused(pub(crate) DecodeError);

impl BodyRefused {
    /// Returns the status that the client gets unless the handler answers otherwise.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request body refused: {}", self.0)
    }
}

impl Error for BodyRefused {}

/// The failure of an incomplete request body: the client left, or took too long.
///
/// A client that is still connected gets a 408 unless the handler answers otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCut;

impl fmt::Display for BodyCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection ended before the end of the request body")
    }
}

impl Error for BodyCut {}
