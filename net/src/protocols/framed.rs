//! A protocol that receives frames.

use std::any::{Any, TypeId};
use std::fmt;

use twistor_deferred::Failure;

use crate::framing::{FrameBuffer, FrameError, Framing};
use crate::{ConnectionDone, Protocol, Transport};

/// The program's code for a connection that carries frames: lines, netstrings or length-prefixed messages.
/// Twisted: `lineReceived`, `stringReceived`.
///
/// Run it with [`Framed`], and answer with [`Transport::write_frame`]. Errors, panics, ordering and
/// re-entrancy are as for a [`Protocol`]. Pausing the transport takes effect after the current frame, even if
/// more frames have been read already.
pub trait FrameReceiver: 'static {
    /// Called when the connection is established.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called with the payload of one complete frame, without its delimiter or length.
    fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure>;

    /// Called when the received data is not a valid frame, or a frame exceeds the limit. The connection is
    /// then closed: with `error`, unless this returns another error. Data that it writes is still sent.
    fn frame_refused(&mut self, transport: &Transport, error: FrameError) -> Result<(), Failure> {
        let _ = transport;
        Err(error.into())
    }

    /// Called when the peer has ended its half: see [`Protocol::read_connection_lost`]. An incomplete frame
    /// is dropped.
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Err(ConnectionDone.into())
    }

    /// Called when nothing more can be sent: see [`Protocol::write_connection_lost`].
    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Returns the part of this receiver that has the given type: see [`Protocol::part`]. Default: `None`.
    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        let _ = part;
        None
    }

    /// Called when the connection has ended: see [`Protocol::connection_lost`].
    fn connection_lost(&mut self, reason: Failure) {
        let _ = reason;
    }
}

/// A [`Protocol`] that splits received data into frames for a [`FrameReceiver`]. Twisted: `LineReceiver`,
/// `NetstringReceiver`, `Int32StringReceiver` and the like.
///
/// # Examples
///
/// ```
/// use twistor::prelude::*;
///
/// struct Shout;
///
/// impl FrameReceiver for Shout {
///     fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
///         transport.write_slices(&[&line.to_ascii_uppercase(), b"\r\n"]);
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse()?);
/// endpoint.listen(&reactor, |_peer| Framed::new(Lines::any_ending().max_length(1000), Shout))?;
/// # Ok::<(), Failure>(())
/// ```
pub struct Framed<F, R> {
    buffer: FrameBuffer<F>,
    receiver: R,
}

impl<F: Framing, R: FrameReceiver> Framed<F, R> {
    /// Creates a protocol that reads frames with `framing` and passes them to `receiver`.
    pub fn new(framing: F, receiver: R) -> Framed<F, R> {
        Framed { buffer: FrameBuffer::new(framing), receiver }
    }

    fn deliver(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let receiver = &mut self.receiver;
        let delivered = self.buffer.drain(data, |frame| {
            receiver.frame_received(transport, frame)?;
            Ok(!transport.is_paused() && transport.delivers())
        });
        match delivered {
            Ok(()) => {
                // A loss waits for frames that a paused receiver has not got yet.
                if !self.buffer.is_empty() && transport.is_paused() {
                    transport.keep_back();
                }
                Ok(())
            }
            Err(FramingError::Failed(failure)) => Err(failure),
            Err(FramingError::Refused(error)) => {
                self.receiver.frame_refused(transport, error.clone())?;
                Err(error.into())
            }
        }
    }
}

/// The reason why frames are no longer delivered.
enum FramingError {
    Failed(Failure),
    Refused(FrameError),
}

impl From<Failure> for FramingError {
    fn from(failure: Failure) -> FramingError {
        FramingError::Failed(failure)
    }
}

impl From<FrameError> for FramingError {
    fn from(error: FrameError) -> FramingError {
        FramingError::Refused(error)
    }
}

impl<F: Framing, R: FrameReceiver> Protocol for Framed<F, R> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.keeps_bytes();
        self.receiver.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.deliver(transport, data)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.deliver(transport, &[])
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.receiver.read_connection_lost(transport)
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.receiver.write_connection_lost(transport)
    }

    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        if TypeId::of::<R>() == part { Some(&mut self.receiver) } else { self.receiver.part(part) }
    }

    fn unread(&mut self) -> Option<Vec<u8>> {
        Some(self.buffer.take_rest())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.receiver.connection_lost(reason);
    }
}

impl<F: fmt::Debug, R> fmt::Debug for Framed<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}
