//! The body of a streamed response.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use twistor_deferred::{Deferred, fail, succeed};
use twistor_net::{ConnectionDone, Producer, ProducerRefused, Transport};

use crate::ChunkWriter;

/// A writer for the body of a [streamed](crate::server::Response::stream) response. Twisted: `Request.write`,
/// `registerProducer`.
///
/// Clones write the same body. Writes after its end, or after the client has left, are ignored.
#[derive(Clone)]
pub struct BodyWriter(Rc<OutgoingBody>);

/// A response's body under way, shared by the exchange and the handler.
pub(crate) struct OutgoingBody {
    transport: Transport,
    framing: Cell<BodyFraming>,
    /// The head, until it is sent with the first piece.
    head: Cell<Vec<u8>>,
    open: Cell<bool>,
    producer: Cell<bool>,
    /// Bytes of the body that were accepted, and all bytes handed to the transport.
    taken: Cell<u64>,
    written: Cell<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Chunked,
    /// The bytes that are still missing.
    Length(u64),
    /// The body ends with the connection.
    ToEnd,
}

/// The error of a body that is shorter than announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("response body differs from its announced length")
    }
}

impl std::error::Error for WrongLength {}

impl OutgoingBody {
    pub(crate) fn new(transport: Transport, framing: BodyFraming, head: Vec<u8>) -> Rc<OutgoingBody> {
        Rc::new(OutgoingBody {
            transport,
            framing: Cell::new(framing),
            head: Cell::new(head),
            open: Cell::new(true),
            producer: Cell::new(false),
            taken: Cell::new(0),
            written: Cell::new(0),
        })
    }

    /// Returns the number of accepted bytes of the body.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Returns the number of bytes handed to the transport.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Sends the head, unless a piece of the body has taken it along.
    pub(crate) fn send_head(&self) {
        let head = self.head.take();
        if !head.is_empty() {
            self.send(&[&head]);
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`WrongLength`] if bytes are missing.
    pub(crate) fn finish(&self) -> Result<(), WrongLength> {
        self.close();
        let head = self.head.take();
        match self.framing.get() {
            BodyFraming::Chunked => {
                self.send(&[&head, b"0\r\n\r\n"]);
            }
            BodyFraming::Length(1..) => return Err(WrongLength),
            BodyFraming::Length(0) | BodyFraming::ToEnd => {
                self.send(&[&head]);
            }
        }
        Ok(())
    }

    /// Refuses further pieces.
    pub(crate) fn close(&self) {
        self.open.set(false);
        if self.producer.replace(false) {
            self.transport.unregister_producer();
        }
    }

    fn send(&self, slices: &[&[u8]]) -> bool {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        self.written.set(self.written.get() + length as u64);
        self.transport.write_slices(slices)
    }

    /// Sends a piece. Returns whether it was accepted.
    fn put(&self, data: &[u8]) -> bool {
        let head = self.head.take();
        match self.framing.get() {
            BodyFraming::Chunked => {
                let size = ChunkWriter::size_line(data.len());
                self.send(&[&head, size.as_bytes(), data, b"\r\n"])
            }
            BodyFraming::ToEnd => self.send(&[&head, data]),
            BodyFraming::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(left) => {
                    self.framing.set(BodyFraming::Length(left));
                    self.send(&[&head, data])
                }
                None => {
                    // The head was taken out, so it is sent although the piece is not.
                    self.send(&[&head]);
                    false
                }
            },
        }
    }
}

impl BodyWriter {
    pub(crate) fn new(body: Rc<OutgoingBody>) -> BodyWriter {
        BodyWriter(body)
    }

    fn open(&self) -> Option<&OutgoingBody> {
        Some(&*self.0).filter(|body| body.open.get())
    }

    /// Sends a piece. Returns false if it was refused: after the end of the body, after the client has left,
    /// or beyond the length of a [sized](crate::server::Response::sized) body.
    pub fn write(&self, data: &[u8]) -> bool {
        let Some(body) = self.open() else { return false };
        if data.is_empty() {
            return !body.transport.is_closing();
        }
        let taken = body.put(data);
        if taken {
            body.taken.set(body.taken.get() + data.len() as u64);
        }
        taken
    }

    /// Sends a piece as [`write`](BodyWriter::write) does, and keeps the bytes that cannot be sent at once without
    /// copying them.
    pub fn write_vec(&self, data: Vec<u8>) -> bool {
        let length = data.len() as u64;
        match (self.open(), self.0.framing.get()) {
            (Some(body), BodyFraming::Length(left)) if length > 0 && length <= left => {
                body.framing.set(BodyFraming::Length(left - length));
                body.send_head();
                body.taken.set(body.taken.get() + length);
                body.written.set(body.written.get() + length);
                body.transport.write_vec(data)
            }
            _ => self.write(&data),
        }
    }

    /// Returns whether more bytes than the transport's high-water mark wait to be sent. A writer then waits for
    /// [`drained`](BodyWriter::drained).
    pub fn is_full(&self) -> bool {
        self.open().is_some_and(|body| body.transport.is_full())
    }

    /// Returns a Deferred that fires when the operating system has taken everything written so far. It has
    /// already fired if nothing waits.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`](twistor_net::ConnectionLost) or the like if the client has left,
    /// [quietly](twistor_deferred::Failure::quiet): a client that leaves is not an error of the server.
    /// [`ConnectionDone`] after the end of the body.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The data is still sent.
    #[track_caller]
    pub fn drained(&self) -> Deferred<()> {
        match self.open() {
            Some(body) => match body.transport.drained().try_result() {
                Ok(Ok(())) => succeed(()),
                Ok(Err(failure)) => fail(failure.quiet()),
                Err(drained) => drained.add_errback(|failure| Err(failure.quiet())),
            },
            None => fail(ConnectionDone),
        }
    }

    /// Pauses `producer` while more bytes than the high-water mark wait to be sent, until the body ends. Twisted:
    /// `registerProducer`.
    ///
    /// # Errors
    ///
    /// [`ProducerRefused`] if another producer is registered, or the body has ended.
    pub fn register_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        let body = self.open().ok_or(ProducerRefused::Closed)?;
        body.transport.register_producer(producer)?;
        body.producer.set(true);
        Ok(())
    }

    /// Returns whether the body has not ended and the client is still connected.
    pub fn is_open(&self) -> bool {
        self.open().is_some_and(|body| !body.transport.is_closing())
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyWriter({:?}, open: {})", self.0.framing.get(), self.is_open())
    }
}
