//! The body of a request, as it comes.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::rc::{Rc, Weak};

use ::http::StatusCode;
use twistor_deferred::{Deferred, Failure};

use super::channel::Channel;
use crate::http::DecodeError;
use crate::http::pieces::{Pieces, Taker};

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
        let pieces = Pieces::whole(bytes);
        RequestBody::new(Rc::new(Incoming { pieces, ..Incoming::new(Weak::new(), false) }))
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`BodyRefused`] when the body is malformed, [`BodyCut`] when the client leaves or takes too long. Asking again
    /// while a piece is awaited fails that earlier wait with [`Abandoned`](twistor_deferred::Abandoned).
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<Vec<u8>>> {
        self.incoming.pieces.next(|| self.incoming.resume())
    }

    /// Has each piece given to `consumer`, as it comes and without a copy. Fires after the last.
    ///
    /// # Errors
    ///
    /// Those of [`next`](RequestBody::next), and that of the consumer, which gets no more; a panic in it is
    /// [`HandlerPanicked`](crate::HandlerPanicked).
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

/// What the connection and the reader of a body share.
pub(super) struct Incoming {
    channel: Weak<Channel>,
    pieces: Pieces,
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
            pieces: Pieces::default(),
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
        self.pieces.taker() == Taker::Consumer
    }

    pub(super) fn data(&self, data: &[u8]) {
        self.expects.set(false);
        if self.discarded.get() {
            return;
        }
        if let Err(failure) = self.pieces.push(data) {
            self.discard();
            self.pieces.end(Err(failure));
        } else if self.pieces.kept() > 0 {
            self.pause();
        }
    }

    pub(super) fn end(&self, end: Result<(), Failure>) {
        self.pieces.end(end);
    }

    fn pause(&self) {
        if !self.paused.replace(true) {
            if let Some(channel) = self.channel.upgrade() {
                channel.transport().pause_producing();
                // What is kept here comes before the loss, too.
                channel.transport().keep_back();
            }
        }
    }

    fn resume(&self) {
        let Some(channel) = self.channel.upgrade() else { return };
        if self.expects.replace(false) {
            channel.send_continue();
        }
        if self.paused.replace(false) {
            channel.transport().resume_producing();
        }
    }

    fn discard(&self) {
        if !self.discarded.replace(true) && !self.pieces.have_ended() {
            self.pieces.discard();
            // Not to be told to go on: the body is not wanted.
            if self.paused.replace(false) {
                if let Some(channel) = self.channel.upgrade() {
                    channel.transport().resume_producing();
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
