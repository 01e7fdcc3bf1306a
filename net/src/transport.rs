//! The handle of a program on one connection.

pub(crate) mod connection;
mod options;
pub(crate) mod outgoing;
mod port;
mod producer;
mod protocol;
#[cfg(feature = "tls")]
mod tls;

use std::any::TypeId;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Failure, fail};

use crate::framing::{FrameError, Framing};
use crate::sockets::Socket;
use crate::{Address, ConnectionLost, RateLimit, Stream};
use connection::{Connection, Flags};

pub use port::ListeningPort;
pub use producer::{Producer, ProducerRefused};
pub(crate) use protocol::pass_on;
pub use protocol::{Factory, Protocol, part_of};

/// A handle for writing to and controlling one connection. Twisted: `ITransport`, `ITCPTransport`.
///
/// It is cheap to clone. The reactor owns the connection until it is lost. After the loss, all methods do
/// nothing, and those that return a value return false, `None` or an error.
///
/// # Ordering
///
/// Bytes are sent in the order in which they are written. No method blocks: bytes that the socket does not
/// take at once are kept in memory without limit, and sent as the peer reads. For backpressure, see
/// [`register_producer`](Transport::register_producer) and [`drained`](Transport::drained).
///
/// # Re-entrancy
///
/// Every method may be called anywhere, including in the protocol's own methods. Only
/// [`enter`](Transport::enter) and [`deliver`](Transport::deliver) call into a protocol, and they wait until
/// a running method returns.
///
/// # Dropping
///
/// Dropping a clone, even the last one, does not affect the connection.
#[derive(Clone)]
pub struct Transport {
    connection: Weak<Connection<dyn Protocol>>,
}

impl Transport {
    #[inline]
    pub(crate) fn new(connection: &Rc<Connection<dyn Protocol>>) -> Transport {
        Transport { connection: Rc::downgrade(connection) }
    }

    /// Creates the transport of a connection that is already lost, for tests that call the methods of a protocol.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::Transport;
    ///
    /// let transport = Transport::lost();
    /// assert!(transport.is_lost() && !transport.write(b"hello"));
    /// ```
    pub fn lost() -> Transport {
        let connection: Weak<Connection<Box<dyn Protocol>>> = Weak::new();
        Transport { connection }
    }

    /// Sends `data`. Returns false if the data is ignored: after
    /// [`lose_connection`](Transport::lose_connection) (unless a registered producer is still active), after
    /// the half-close, and after the loss.
    ///
    /// Data that was accepted can still be lost with the connection.
    #[inline]
    pub fn write(&self, data: &[u8]) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write(data))
    }

    /// Sends `data` and keeps the vector, so that unsent bytes are not copied. Returns the same as
    /// [`write`](Transport::write).
    pub fn write_vec(&self, data: Vec<u8>) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write_vec(data))
    }

    /// Sends several slices, such as a head and a body, one after another, with one system call if possible.
    /// Returns the same as [`write`](Transport::write). Twisted: `writeSequence`.
    pub fn write_slices(&self, slices: &[&[u8]]) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write_slices(slices))
    }

    /// Sends `payload` as one frame, such as a line, a netstring or a length-prefixed message. Returns the
    /// same as [`write`](Transport::write). Twisted: `sendLine`, `sendString`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the framing cannot represent the payload: see [`Framing::encode`]. Nothing is sent
    /// then.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::Transport;
    /// use twistor::net::framing::{FrameError, Netstrings};
    ///
    /// fn greet(transport: &Transport) -> Result<(), FrameError> {
    ///     transport.write_frame(&Netstrings::new(), b"hello")?; // 5:hello,
    ///     Ok(())
    /// }
    /// ```
    pub fn write_frame(&self, framing: &impl Framing, payload: &[u8]) -> Result<bool, FrameError> {
        let mut frame = Vec::new();
        framing.encode(payload, &mut frame)?;
        Ok(self.write_vec(frame))
    }

    /// Closes the connection once everything written is sent and a registered producer is unregistered. Data
    /// that arrives from now on is discarded. Twisted: `loseConnection`.
    ///
    /// A peer that never reads keeps the connection open. [`abort_connection`](Transport::abort_connection)
    /// does not wait.
    ///
    /// Closing a socket while the peer is sending makes the operating system reset the connection, which can
    /// destroy the last bytes on their way to the peer. So if data arrives during the close, this side ends
    /// its half and waits until the peer ends its own, for at most five seconds and 16 MiB of discarded data.
    /// If the peer is known to be sending, but no data has arrived yet, use
    /// [`lose_connection_lingering`](Transport::lose_connection_lingering).
    pub fn lose_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.lose_connection();
        }
    }

    /// Closes the connection as [`lose_connection`](Transport::lose_connection) does, for a peer that is
    /// still sending, such as one whose message is refused before it is complete. nginx: `lingering_close`.
    ///
    /// When everything is sent, this side ends its half. It discards incoming data until the peer ends its
    /// half too, for at most five seconds and 16 MiB. So the peer can read everything that was sent to it.
    ///
    /// `connection_lost` is called only after that wait, even if the peer has nothing more to send but does
    /// not close.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// struct Short(usize);
    ///
    /// impl Protocol for Short {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
    ///         self.0 += data.len();
    ///         if self.0 > 1000 {
    ///             transport.write(b"that is too long\n");
    ///             transport.lose_connection_lingering();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn lose_connection_lingering(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.lose_connection();
            connection.set(Flags::PEER_SENDING);
        }
    }

    /// Resets the connection now and drops unsent data. Twisted: `abortConnection`.
    ///
    /// The loop then calls `connection_lost` with [`ConnectionAborted`](crate::ConnectionAborted).
    pub fn abort_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.abort_connection();
        }
    }

    /// Ends the connection now with the reason `reason`, and drops unsent data.
    ///
    /// The loop then calls `connection_lost` with that reason. A protocol's method that returns the reason as
    /// an `Err` ends the connection too, after unsent data is sent.
    pub fn fail_connection(&self, reason: impl Into<Failure>) {
        if let Some(connection) = self.connection.upgrade() {
            connection.fail_connection(reason.into());
        }
    }

    /// Calls `visit` with the protocol of this connection, or with the part of it that has the type `P`. `P`
    /// is inferred from the closure. Returns whether `visit` was or will be called: false if the connection
    /// is lost or being aborted.
    ///
    /// A timer, another connection or the callback of a Deferred uses this to access `&mut self`. For the latter, see
    /// also [`deliver`](Transport::deliver). Wrappers such as [`Framed`](crate::Framed) and
    /// [`IdleTimeout`](crate::IdleTimeout) pass the visit on to the inner protocol: see [`Protocol::part`].
    ///
    /// # Errors
    ///
    /// An error that the visit returns ends this connection, like an error of a method of its protocol. So
    /// does a protocol without a part of the type `P`; see [`require_part`](Transport::require_part).
    ///
    /// # Panics
    ///
    /// A panic of the visit resets this connection, like a panic of a method of its protocol. It does not
    /// reach the caller.
    ///
    /// # Ordering
    ///
    /// The visit runs before this method returns if the protocol is free and no other visit waits. Otherwise
    /// it runs after the other visits, as soon as the running method returns. Nested visits are at most 16
    /// deep; deeper ones run from the loop.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use twistor::prelude::*;
    ///
    /// struct Member {
    ///     room: Rc<RefCell<Vec<Transport>>>,
    ///     heard: usize,
    /// }
    ///
    /// impl Protocol for Member {
    ///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
    ///         self.room.borrow_mut().push(transport.clone());
    ///         Ok(())
    ///     }
    ///
    ///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
    ///         for other in self.room.borrow().iter() {
    ///             let data = data.to_vec();
    ///             other.enter(move |member: &mut Member, transport| {
    ///                 member.heard += 1;
    ///                 transport.write(&data);
    ///                 Ok(())
    ///             });
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn enter<P: 'static>(
        &self,
        visit: impl FnOnce(&mut P, &Transport) -> Result<(), Failure> + 'static,
    ) -> bool {
        self.connection.upgrade().is_some_and(|connection| {
            connection.visit(self, move |protocol, transport| visit(reach(protocol)?, transport))
        })
    }

    /// Calls `then` with the protocol of this connection and the result of `deferred`, when it fires, in the
    /// same way as [`enter`](Transport::enter). If the connection is lost first, `deferred` is cancelled and
    /// `then` is not called.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// struct Finger(Box<dyn Fn(&[u8]) -> Deferred<String>>);
    ///
    /// impl FrameReceiver for Finger {
    ///     fn frame_received(&mut self, transport: &Transport, user: &[u8]) -> Result<(), Failure> {
    ///         transport.pause_producing(); // One at a time.
    ///         transport.deliver((self.0)(user), Self::found);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Finger {
    ///     fn found(&mut self, transport: &Transport, found: Result<String, Failure>) -> Result<(), Failure> {
    ///         transport.write_frame(&Lines::any_ending(), found?.as_bytes())?;
    ///         transport.resume_producing();
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn deliver<P: 'static, T: 'static>(
        &self,
        deferred: Deferred<T>,
        then: impl FnOnce(&mut P, &Transport, Result<T, Failure>) -> Result<(), Failure> + 'static,
    ) {
        match self.connection.upgrade() {
            Some(connection) => connection.deliver(self, deferred, move |protocol, transport, result| {
                then(reach(protocol)?, transport, result)
            }),
            None => {
                deferred.canceller().cancel();
                drop(deferred.add_both(|_| ()));
            }
        }
    }

    /// Ends the connection with an error if [`enter`](Transport::enter) cannot reach a protocol of the type
    /// `P`, as with a wrapper that does not implement [`Protocol::part`]. A protocol that relies on visits
    /// calls this in its `connection_made`, with `Self`, so that such a wrapper is found at the first
    /// connection.
    pub fn require_part<P: 'static>(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.require(self, |protocol| reach::<P>(protocol).map(|_| ()));
        }
    }

    /// Takes the connection away from its protocol and returns it, with or without TLS, to run another
    /// protocol on it or to pass it to other code. For this transport, the connection is lost from here on.
    ///
    /// State of the connection moves with it: rate limits, and unsent bytes with the
    /// [`drained`](Transport::drained) that wait for them. They are sent before any bytes of the next
    /// protocol. The next protocol is notified of the peer's end of stream, and of broken writing, even if
    /// the old one was notified before. Received bytes that were not used go to the next protocol first:
    /// those of [`Framed`](crate::Framed) and [`Conversation`](crate::Conversation), and those that
    /// [`Protocol::unread`] returns or [`Stream::put_back`] adds.
    ///
    /// State of the protocol ends: a registered producer is stopped, pending [deliveries](Transport::deliver)
    /// are cancelled, and a pause and the high-water mark are reset.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is lost or closing.
    ///
    /// # Ordering
    ///
    /// [`Protocol::unread`] is called before this returns or, if the protocol is running, as soon as its
    /// method returns. `connection_lost` follows from the loop, with
    /// [`ConnectionReleased`](crate::ConnectionReleased) or with an error that a running method returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// struct Ask<P>(Handle, Option<P>);
    ///
    /// impl<P: Protocol> FrameReceiver for Ask<P> {
    ///     fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
    ///         if let (b"BINARY", Some(protocol)) = (line, self.1.take()) {
    ///             // The bytes after this line belong to that protocol.
    ///             transport.release()?.run(&self.0, protocol)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn release(&self) -> io::Result<Stream> {
        self.connection.upgrade().ok_or(io::ErrorKind::NotConnected)?.release()
    }

    /// Ends the writing half once everything written is sent and a registered producer is unregistered. The
    /// peer sees the end of the stream. Reading continues until the peer ends its half too. Twisted:
    /// `loseWriteConnection`.
    pub fn lose_write_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.lose_write_connection();
        }
    }

    /// Stops reading until [`resume_producing`](Transport::resume_producing), so that the peer is held up.
    /// Twisted: `pauseProducing`.
    ///
    /// A reset is still reported to [`write_connection_lost`](Protocol::write_connection_lost). The loss,
    /// like the end of the stream, is reported after the unread data is delivered, or at once if there is
    /// none. Pausing has no effect on a connection that is being closed, whose incoming data is discarded.
    pub fn pause_producing(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.pause_reading();
        }
    }

    /// Reads again. The loop calls [`reading_resumed`](Protocol::reading_resumed), then delivers data.
    /// Twisted: `resumeProducing`.
    pub fn resume_producing(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.resume_reading();
        }
    }

    /// The default of [`set_read_size`](Transport::set_read_size): 256 KiB.
    pub const LARGEST_READ: usize = crate::sockets::scratch::SCRATCH;

    /// Sets the largest number of bytes passed to one [`data_received`](Protocol::data_received), rounded up
    /// to 4, 16, 64 or 256 KiB. Default: [`LARGEST_READ`](Transport::LARGEST_READ).
    ///
    /// Large reads cost less processor time per byte. Small ones suit a protocol that may have to keep the received
    /// data. The new size applies from the next read on.
    pub fn set_read_size(&self, bytes: usize) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set_read_size(bytes);
        }
    }

    /// Returns whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is(Flags::PAUSED))
    }

    /// Returns whether nothing more can be sent: this side closes the connection, writing is broken, or the
    /// connection is lost. After a reset, data that has already arrived is still delivered.
    pub fn is_closing(&self) -> bool {
        let closing = Flags::CLOSING.or(Flags::DOOMED).or(Flags::BROKEN).or(Flags::LOST);
        self.connection.upgrade().is_none_or(|connection| connection.is(closing))
    }

    /// Records that the protocol keeps unused bytes, which it returns from [`Protocol::unread`].
    pub(crate) fn keeps_bytes(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set(Flags::BUFFERED);
        }
    }

    /// Returns whether data may still be delivered to the protocol.
    pub(crate) fn delivers(&self) -> bool {
        let over = Flags::CLOSING.or(Flags::DOOMED).or(Flags::LOST).or(Flags::SECURING);
        self.connection.upgrade().is_some_and(|connection| !connection.is(over))
    }

    /// Returns the number of bytes that the operating system has taken, modulo 2^32.
    pub(crate) fn sent_bytes(&self) -> u32 {
        self.connection.upgrade().map_or(0, |connection| connection.sent_bytes())
    }

    /// Delays the loss of a paused connection until reading is resumed.
    ///
    /// This is for protocols that keep data while they are paused, as [`Framed`](crate::Framed) keeps frames.
    /// Without it, a paused connection with nothing left to read is lost at once after a reset, before the
    /// kept data is used.
    pub fn keep_back(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set(Flags::LOSS_HELD);
        }
    }

    /// Returns whether the connection is lost.
    pub fn is_lost(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| connection.is(Flags::LOST))
    }

    /// Registers a push producer: it is paused when more bytes wait to be sent than the high-water mark
    /// allows, and resumed when everything is sent. Twisted: `registerProducer(producer, streaming=True)`.
    ///
    /// A connection that is being closed stays open until the producer is unregistered.
    ///
    /// # Errors
    ///
    /// [`ProducerRefused`] if another producer is registered, or the connection is closing.
    pub fn register_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        self.register(Rc::new(producer), false)
    }

    /// Registers a pull producer: it is resumed from the loop whenever nothing waits to be sent. Each time it
    /// writes one piece, and after the last piece it unregisters. Twisted: `registerProducer(producer,
    /// streaming=False)`.
    ///
    /// # Errors
    ///
    /// The same as of [`register_producer`](Transport::register_producer).
    pub fn register_pull_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        self.register(Rc::new(producer), true)
    }

    fn register(&self, producer: Rc<dyn Producer>, pull: bool) -> Result<(), ProducerRefused> {
        let connection = self.connection.upgrade().ok_or(ProducerRefused::Closed)?;
        connection.register_producer(producer, pull)
    }

    /// Unregisters the producer, which has no more data. Does nothing if none is registered. Twisted:
    /// `unregisterProducer`.
    pub fn unregister_producer(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.unregister_producer();
        }
    }

    /// Sets the number of bytes that may wait to be sent before a push producer is paused. Default: 65,536.
    ///
    /// If more bytes wait already, the producer is paused before this method returns. A paused producer is
    /// resumed when everything is sent, whatever the mark.
    pub fn set_high_water_mark(&self, bytes: usize) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set_high_water_mark(bytes);
        }
    }

    /// Limits the rate of reading. The peer is held up. Several connections may share one limit.
    pub fn limit_reading(&self, limit: &RateLimit) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_reading(Some(limit.clone()));
        }
    }

    /// Limits the rate of sending. Data that is written faster waits, and pauses a producer. Several
    /// connections may share one limit.
    pub fn limit_writing(&self, limit: &RateLimit) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_writing(Some(limit.clone()));
        }
    }

    /// Removes the limits of reading and sending.
    pub fn lift_limits(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_reading(None);
            connection.limit_writing(None);
        }
    }

    /// Returns the number of bytes that wait in this process to be sent. Bytes that the operating system
    /// holds are not counted.
    pub fn buffered(&self) -> usize {
        self.connection.upgrade().map_or(0, |connection| connection.buffered())
    }

    /// Returns whether the operating system has taken everything written so far, so that
    /// [`drained`](Transport::drained) fires at once. True after the loss.
    pub fn is_drained(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| connection.is_sent())
    }

    /// Returns whether the connection is open and has no unread data. This is for an idle connection that
    /// will be used again: the peer may have closed it although the loop has not noticed yet.
    ///
    /// The check reads from the socket and drops the data. After it has returned false, close the connection.
    pub fn is_silent(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is_silent())
    }

    /// Returns whether more bytes wait to be sent than the high-water mark allows.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is_full())
    }

    /// Returns a Deferred that fires when the operating system has taken everything written so far. It has
    /// already fired if nothing waits.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`] or [`ConnectionAborted`](crate::ConnectionAborted) if the connection ends first.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The data is still sent.
    #[track_caller]
    pub fn drained(&self) -> Deferred<()> {
        match self.connection.upgrade() {
            Some(connection) => connection.drained(),
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Returns the address of the peer; `None` after the loss. Twisted: `getPeer`.
    pub fn peer(&self) -> Option<Address> {
        self.with_socket(Socket::peer).ok()
    }

    /// Returns the address of this end; `None` after the loss. Twisted: `getHost`.
    pub fn local_addr(&self) -> Option<Address> {
        self.with_socket(Socket::local_addr).ok()
    }

    fn with_socket<T>(&self, look: impl FnOnce(&Socket) -> io::Result<T>) -> io::Result<T> {
        match self.connection.upgrade() {
            Some(connection) => connection.with_socket(look),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Returns the part of a protocol that has the type `P`.
fn reach<P: 'static>(protocol: &mut dyn Protocol) -> Result<&mut P, Failure> {
    let part = part_of(protocol, TypeId::of::<P>()).and_then(|part| part.downcast_mut());
    part.ok_or_else(|| {
        let name = std::any::type_name::<P>();
        Failure::new(format!(
            "`{name}` cannot be reached on this connection: implement `Protocol::part` for its wrapper"
        ))
    })
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer() {
            Some(peer) => write!(f, "Transport(to {peer})"),
            None => f.write_str("Transport(lost)"),
        }
    }
}

impl Producer for Transport {
    fn pause_producing(&self) {
        Transport::pause_producing(self);
    }

    fn resume_producing(&self) {
        Transport::resume_producing(self);
    }

    /// Closes this connection, because its data has no reader any more.
    fn stop_producing(&self) {
        self.lose_connection();
    }
}
