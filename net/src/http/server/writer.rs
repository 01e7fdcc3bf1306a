//! Writes the body of a streamed response.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, fail};

use super::channel::Channel;
use crate::http::ChunkWriter;
use crate::{ConnectionDone, Producer, ProducerRefused};

/// Writes the body of a [streamed](super::Response::stream) response. Twisted: `Request.write`, `registerProducer`.
///
/// Clones write the same body. What is written after its end, or after the client has left, is ignored.
#[derive(Clone)]
pub struct BodyWriter {
    channel: Weak<Channel>,
    stream: Rc<Outgoing>,
}

/// A body on its way out.
pub(super) struct Outgoing {
    framing: Cell<Framing>,
    /// The head, until it is sent together with the first piece.
    head: Cell<Vec<u8>>,
    open: Cell<bool>,
    producer: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    /// So many bytes are still to come.
    Length(u64),
    /// The end of the connection is the end of the body.
    ToEnd,
}

/// What was written is not what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of a response was not as long as announced")
    }
}

impl std::error::Error for WrongLength {}

impl Outgoing {
    pub(super) fn new(framing: Framing, head: Vec<u8>) -> Rc<Outgoing> {
        let (framing, head) = (Cell::new(framing), Cell::new(head));
        Rc::new(Outgoing { framing, head, open: Cell::new(true), producer: Cell::new(false) })
    }

    /// Sends the head if nothing of the body was.
    pub(super) fn send_head(&self, channel: &Channel) {
        let head = self.head.take();
        if !head.is_empty() {
            channel.send(&[&head]);
        }
    }

    /// Ends the body; whether it was whole.
    pub(super) fn finish(&self, channel: &Channel) -> Result<(), WrongLength> {
        self.close(channel);
        let head = self.head.take();
        match self.framing.get() {
            Framing::Chunked => {
                channel.send(&[&head, b"0\r\n\r\n"]);
            }
            Framing::Length(1..) => return Err(WrongLength),
            Framing::Length(0) | Framing::ToEnd => {
                channel.send(&[&head]);
            }
        }
        Ok(())
    }

    /// Takes nothing more.
    pub(super) fn close(&self, channel: &Channel) {
        self.open.set(false);
        if self.producer.replace(false) {
            channel.transport().unregister_producer();
        }
    }
}

impl BodyWriter {
    pub(super) fn new(channel: &Rc<Channel>, stream: Rc<Outgoing>) -> BodyWriter {
        BodyWriter { channel: Rc::downgrade(channel), stream }
    }

    fn open(&self) -> Option<Rc<Channel>> {
        self.channel.upgrade().filter(|_| self.stream.open.get())
    }

    /// Sends a piece. Whether it was taken: false after the end of the body, and when the client is gone. Past the
    /// length of a [sized](super::Response::sized) body nothing is taken.
    pub fn write(&self, data: &[u8]) -> bool {
        let Some(channel) = self.open() else { return false };
        if data.is_empty() {
            return !channel.transport().is_closing();
        }
        let head = self.stream.head.take();
        let taken = match self.stream.framing.get() {
            Framing::Chunked => {
                let size = ChunkWriter::size_line(data.len());
                channel.send(&[&head, size.as_bytes(), data, b"\r\n"])
            }
            Framing::ToEnd => channel.send(&[&head, data]),
            Framing::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(left) => {
                    self.stream.framing.set(Framing::Length(left));
                    channel.send(&[&head, data])
                }
                None => {
                    channel.send(&[&head]);
                    false
                }
            },
        };
        if taken {
            channel.wrote(data.len());
        }
        taken
    }

    /// As [`write`](BodyWriter::write), of bytes it is given to keep: what cannot be sent at once is not copied.
    pub fn write_vec(&self, data: Vec<u8>) -> bool {
        let length = data.len() as u64;
        match (self.open(), self.stream.framing.get()) {
            (Some(channel), Framing::Length(left)) if length > 0 && length <= left => {
                self.stream.framing.set(Framing::Length(left - length));
                self.stream.send_head(&channel);
                channel.wrote(data.len());
                channel.send_vec(data)
            }
            _ => self.write(&data),
        }
    }

    /// Whether more than the transport's high-water mark waits to be sent: time to wait until it is
    /// [drained](BodyWriter::drained).
    pub fn is_full(&self) -> bool {
        self.open().is_some_and(|channel| channel.transport().is_full())
    }

    /// Fires when the operating system has taken everything written so far; at once if nothing waits.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`](crate::ConnectionLost) and its like when the client is gone, [quietly](twistor_deferred::Failure::quiet): a
    /// client that leaves is no error of the server's. [`ConnectionDone`] after the end of the body.
    #[track_caller]
    pub fn drained(&self) -> Deferred<()> {
        match self.open() {
            Some(channel) => channel.transport().drained().add_errback(|failure| Err(failure.quiet())),
            None => fail(ConnectionDone),
        }
    }

    /// Has `producer` paused while more than the high-water mark waits to be sent, until the body ends. Twisted:
    /// `registerProducer`.
    ///
    /// # Errors
    ///
    /// [`ProducerRefused`] when there is a producer already, or the body has ended.
    pub fn register_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        let channel = self.open().ok_or(ProducerRefused::Closed)?;
        channel.transport().register_producer(producer)?;
        self.stream.producer.set(true);
        Ok(())
    }

    /// Whether the body has not ended and the client is still there.
    pub fn is_open(&self) -> bool {
        self.open().is_some_and(|channel| !channel.transport().is_closing())
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyWriter({:?}, open: {})", self.stream.framing.get(), self.is_open())
    }
}
