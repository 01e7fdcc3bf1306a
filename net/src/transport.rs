//! A program's handle on one connection.

pub(crate) mod calls;
pub(crate) mod connection;
mod options;
pub(crate) mod outgoing;
mod producer;
mod rate;
pub(crate) mod scratch;
pub(crate) mod socket;
pub(crate) mod watched;

use std::any::TypeId;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Failure, fail};

use crate::framing::{FrameError, Framing};
use crate::{Address, ConnectionLost, Protocol, Stream, part_of};
use connection::{Connection, Flags};
use socket::Socket;

pub use producer::{Producer, ProducerRefused};
pub use rate::RateLimit;

/// A connection, as those who write to it see it. Twisted: `ITransport`, `ITCPTransport`.
///
/// It is cheap to clone and owns nothing: the reactor keeps the connection, until that is lost. After the loss, all
/// methods do nothing, and say so where they return something.
///
/// # Ordering
///
/// Bytes are sent in the order in which they were written. No method waits: what the socket does not take at once is
/// kept, without bound (see [`register_producer`](Transport::register_producer) and
/// [`drained`](Transport::drained)), and sent as the peer reads.
///
/// # Re-entrancy
///
/// Only [`enter`](Transport::enter) and [`deliver`](Transport::deliver) call into a protocol, and into one that is
/// running only when that returns. So each method may be called anywhere, also in the protocol's own methods.
///
/// # Dropping
///
/// Dropping a handle, even the last, changes nothing about the connection.
#[derive(Clone)]
pub struct Transport {
    connection: Weak<Connection<dyn Protocol>>,
}

impl Transport {
    #[inline]
    pub(crate) fn new(connection: &Rc<Connection<dyn Protocol>>) -> Transport {
        Transport { connection: Rc::downgrade(connection) }
    }

    /// The transport of no connection.
    #[cfg(feature = "http")]
    pub(crate) fn lost() -> Transport {
        let connection: Weak<Connection<Box<dyn Protocol>>> = Weak::new();
        Transport { connection }
    }

    /// Sends bytes. Whether they were taken: false after [`lose_connection`](Transport::lose_connection) (unless a
    /// registered producer is still at it), after the half-close, and after the loss; then they are ignored.
    ///
    /// Bytes that were taken can still be lost with the connection.
    #[inline]
    pub fn write(&self, data: &[u8]) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write(data))
    }

    /// Sends bytes it is given to keep: what cannot be sent at once is not copied. Returns what
    /// [`write`](Transport::write) does.
    pub fn write_vec(&self, data: Vec<u8>) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write_vec(data))
    }

    /// Sends several pieces behind one another with one system call where possible, such as a head and a body.
    /// Returns what [`write`](Transport::write) does. Twisted: `writeSequence`.
    pub fn write_slices(&self, slices: &[&[u8]]) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.write_slices(slices))
    }

    /// Sends `payload` as one frame: a line, a netstring, a message with its length in front. Returns what
    /// [`write`](Transport::write) does. Twisted: `sendLine`, `sendString`.
    ///
    /// ```
    /// use twistor_net::framing::{FrameError, Netstrings};
    /// use twistor_net::Transport;
    ///
    /// fn greet(transport: &Transport) -> Result<(), FrameError> {
    ///     transport.write_frame(&Netstrings::new(), b"hello")?; // 5:hello,
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`FrameError`] when this framing has no such frame: see [`Framing::encode`]. Then nothing is sent.
    pub fn write_frame(&self, framing: &impl Framing, payload: &[u8]) -> Result<bool, FrameError> {
        let mut frame = Vec::new();
        framing.encode(payload, &mut frame)?;
        Ok(self.write_vec(frame))
    }

    /// Closes the connection once everything written is sent and a registered producer has unregistered. What the
    /// peer sends from now on is thrown away. Twisted: `loseConnection`.
    ///
    /// A peer that never reads keeps it open; [`abort_connection`](Transport::abort_connection) does not wait. One that
    /// sends while it is being closed would be answered with a reset, which can cost it the last bytes of what it was
    /// sent; its end is waited for then, five seconds and 16 MiB at most. For one that is known to go on sending, though
    /// nothing of it may be there yet, there is [`lose_connection_lingering`](Transport::lose_connection_lingering).
    pub fn lose_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.lose_connection();
        }
    }

    /// As [`lose_connection`](Transport::lose_connection), of a peer that is in the middle of sending, such as one whose
    /// message is refused before it has come whole: when all is sent, this half ends, and what still comes is thrown
    /// away until the peer ends its half too, five seconds and 16 MiB at most. So it can read all it was sent, if it
    /// reads at all. nginx: `lingering_close`.
    ///
    /// `connection_lost` comes that much later, also where the peer has nothing more to say but does not close.
    ///
    /// ```
    /// use twistor_net::{Failure, Protocol, Transport};
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

    /// Ends the connection now, and throws away what was not sent. TCP tells the peer by a reset. Twisted:
    /// `abortConnection`.
    ///
    /// `connection_lost` follows from the loop, with [`ConnectionAborted`](crate::ConnectionAborted).
    pub fn abort_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.abort_connection();
        }
    }

    /// Ends the connection now for a reason of the program's own, and throws away what was not sent.
    ///
    /// `connection_lost` follows from the loop, with that reason. From inside the protocol's own methods, returning
    /// the reason as an `Err` does the same after sending the rest.
    pub fn fail_connection(&self, reason: impl Into<Failure>) {
        if let Some(connection) = self.connection.upgrade() {
            connection.fail_connection(reason.into());
        }
    }

    /// Calls `visit` with this connection's protocol: with the protocol itself, or with the part of it that has the type
    /// `P`, which is inferred from the closure. Whether it was or will be called: false when the connection is lost or
    /// being aborted.
    ///
    /// This is the way back into `&mut self` from outside: from a timer, from another connection, from the callback of a
    /// Deferred (see [`deliver`](Transport::deliver)). Wrappers such as [`Framed`](crate::Framed) and
    /// [`IdleTimeout`](crate::IdleTimeout) are looked through: see [`Protocol::part`].
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use twistor_net::{Failure, Protocol, Transport};
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
    ///
    /// # Errors
    ///
    /// An error that the visit returns ends this connection, like an error of a method of its protocol. So does a
    /// protocol that has no part of this type; see [`require_part`](Transport::require_part).
    ///
    /// # Panics
    ///
    /// A panic of the visit resets this connection, like a panic of a method of its protocol. It does not reach the
    /// caller.
    ///
    /// # Ordering
    ///
    /// The visit runs before this returns if the protocol is free and no other visit waits. Otherwise it runs after the
    /// others, as soon as the method that is running returns. Visits that run inside one another are at most 16 deep;
    /// one beyond that runs from the loop.
    pub fn enter<P: 'static>(
        &self,
        visit: impl FnOnce(&mut P, &Transport) -> Result<(), Failure> + 'static,
    ) -> bool {
        self.connection.upgrade().is_some_and(|connection| {
            connection.visit(self, move |protocol, transport| visit(reach(protocol)?, transport))
        })
    }

    /// Calls `then` with this connection's protocol and the result of `deferred` when that fires, as by
    /// [`enter`](Transport::enter). When the connection is lost before, `deferred` is cancelled, and `then` is not
    /// called.
    ///
    /// ```
    /// use twistor_deferred::Deferred;
    /// use twistor_net::framing::Lines;
    /// use twistor_net::{Failure, FrameReceiver, Transport};
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
    ///         transport.write_frame(&Lines::new(), found?.as_bytes())?;
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

    /// Ends the connection with an error unless [`enter`](Transport::enter) can reach a protocol of this type, as it
    /// cannot where a wrapper does not implement [`Protocol::part`]. A protocol that relies on visits calls this in its
    /// `connection_made`, with `Self`, so that such a wrapper is found at the first connection.
    pub fn require_part<P: 'static>(&self) {
        self.enter(|_: &mut P, _| Ok(()));
    }

    /// Takes the connection away from its protocol and returns it, TLS included, to run another protocol on it or to hand
    /// it to other code. This transport has lost the connection from here on.
    ///
    /// What belongs to the connection goes with it: the bytes that are not yet sent, which go out before any that the next
    /// protocol writes, with the [`drained`](Transport::drained) that wait for them, and rate limits. The next protocol
    /// is notified of the peer's end, and of broken writing, even if the old one was notified before. Bytes that were
    /// received and not used go to the next protocol first: those of [`Framed`](crate::Framed) and
    /// [`Conversation`](crate::Conversation), and those that [`Protocol::unread`] returns or [`Stream::put_back`] adds.
    ///
    /// What belongs to the protocol ends: a registered producer is stopped, pending
    /// [deliveries](Transport::deliver) are cancelled, and a pause and the high-water mark are forgotten.
    ///
    /// ```
    /// use twistor_net::{Failure, FrameReceiver, Protocol, Transport};
    /// use twistor_reactor::Handle;
    ///
    /// struct Ask<P>(Handle, Option<P>);
    ///
    /// impl<P: Protocol> FrameReceiver for Ask<P> {
    ///     fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
    ///         if let (b"BINARY", Some(protocol)) = (line, self.1.take()) {
    ///             // What follows this line belongs to that protocol.
    ///             transport.release()?.run(&self.0, protocol)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is lost or closing.
    ///
    /// # Ordering
    ///
    /// [`Protocol::unread`] is called before this returns or, if the protocol is running, as soon as its method returns.
    /// `connection_lost` follows from the loop, with [`ConnectionReleased`](crate::ConnectionReleased) or an error that a
    /// running method returns.
    pub fn release(&self) -> io::Result<Stream> {
        self.connection.upgrade().ok_or(io::ErrorKind::NotConnected)?.release()
    }

    /// Ends the writing half once everything written is sent and a registered producer has unregistered: the peer
    /// sees the end of the data. Reading goes on until the peer ends its half too. Twisted: `loseWriteConnection`.
    pub fn lose_write_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.lose_write_connection();
        }
    }

    /// Stops reading: no more data comes until [`resume_producing`](Transport::resume_producing), and the peer will
    /// be held up. A reset is still reported to [`write_connection_lost`](Protocol::write_connection_lost); the loss, as
    /// the end of the data, comes after the unread data, or at once if there is none. Nothing happens to a connection
    /// that is being closed, whose data is thrown away. Twisted: `pauseProducing`.
    pub fn pause_producing(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.pause_reading();
        }
    }

    /// Reads again: the loop calls [`reading_resumed`](Protocol::reading_resumed), then gives it data. Twisted:
    /// `resumeProducing`.
    pub fn resume_producing(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.resume_reading();
        }
    }

    /// Has one read give no more than [`LITTLE`](scratch::LITTLE), for a protocol that may have to keep it.
    #[cfg(feature = "http")]
    pub(crate) fn read_little(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set(Flags::SMALL_READS);
        }
    }

    /// Has the next read give as much as there is nevertheless.
    #[cfg(feature = "http")]
    pub(crate) fn read_much(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set(Flags::LARGE_READ_NEXT);
        }
    }

    /// Whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is(Flags::PAUSED))
    }

    /// Whether nothing more can be sent for good: this side closes the connection, writing is broken, or the connection
    /// is lost. After a reset, data that has arrived before is still to be received.
    pub fn is_closing(&self) -> bool {
        let closing = Flags::CLOSING.or(Flags::DOOMED).or(Flags::BROKEN).or(Flags::LOST);
        self.connection.upgrade().is_none_or(|connection| connection.is(closing))
    }

    /// Whether the protocol may still be given data.
    pub(crate) fn delivers(&self) -> bool {
        let over = Flags::CLOSING.or(Flags::DOOMED).or(Flags::LOST);
        self.connection.upgrade().is_some_and(|connection| !connection.is(over))
    }

    /// How many bytes the operating system has taken, modulo 2^32.
    pub(crate) fn sent_bytes(&self) -> u32 {
        self.connection.upgrade().map_or(0, |connection| connection.sent_bytes())
    }

    /// Delays the loss of a paused connection until reading is resumed. For protocols that keep data themselves while they
    /// are paused, as [`Framed`](crate::Framed) keeps frames: after a reset, a paused connection with nothing left to
    /// read would be lost at once, before the kept data is used.
    pub fn keep_back(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set(Flags::LOSS_HELD);
        }
    }

    /// Whether the connection is lost.
    pub fn is_lost(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| connection.is(Flags::LOST))
    }

    /// Has `producer` paused when more than the high-water mark waits to be sent, and resumed when all is sent.
    /// Twisted: `registerProducer(producer, streaming=True)`.
    ///
    /// A connection that is being closed stays open until the producer is unregistered.
    ///
    /// # Errors
    ///
    /// [`ProducerRefused`] when there is a producer already, or the connection is closing.
    pub fn register_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        self.register(Rc::new(producer), false)
    }

    /// Has `producer` resumed, from the loop, whenever nothing waits to be sent; each time it writes one piece, and
    /// unregisters after the last. Twisted: `registerProducer(producer, streaming=False)`.
    ///
    /// # Errors
    ///
    /// As [`register_producer`](Transport::register_producer).
    pub fn register_pull_producer(&self, producer: impl Producer) -> Result<(), ProducerRefused> {
        self.register(Rc::new(producer), true)
    }

    fn register(&self, producer: Rc<dyn Producer>, pull: bool) -> Result<(), ProducerRefused> {
        let connection = self.connection.upgrade().ok_or(ProducerRefused::Closed)?;
        connection.register_producer(producer, pull)
    }

    /// The producer has nothing more to say. Without one, nothing happens. Twisted: `unregisterProducer`.
    pub fn unregister_producer(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.unregister_producer();
        }
    }

    /// Sets how many bytes may wait to be sent before a producer is paused; 65,536 if never set. If more wait already,
    /// a push producer is paused before this returns; one that is paused is resumed when all is sent, whatever the mark.
    pub fn set_high_water_mark(&self, bytes: usize) {
        if let Some(connection) = self.connection.upgrade() {
            connection.set_high_water_mark(bytes);
        }
    }

    /// Reads no faster than this from now on; the peer is held up. Several connections may share one limit.
    pub fn limit_reading(&self, limit: &RateLimit) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_reading(Some(limit.clone()));
        }
    }

    /// Sends no faster than this from now on; what is written faster waits, and pauses a producer. Several
    /// connections may share one limit.
    pub fn limit_writing(&self, limit: &RateLimit) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_writing(Some(limit.clone()));
        }
    }

    /// Reads and sends as fast as it can again.
    pub fn lift_limits(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.limit_reading(None);
            connection.limit_writing(None);
        }
    }

    /// How many bytes wait to be sent, in this process; what the operating system holds is not counted.
    pub fn buffered(&self) -> usize {
        self.connection.upgrade().map_or(0, |connection| connection.buffered())
    }

    /// Whether the operating system has taken everything written so far.
    #[cfg(feature = "http")]
    pub(crate) fn is_sent(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| connection.is_sent())
    }

    /// Asks the socket of a connection that expects nothing. Returns false if something has arrived, the peer has
    /// closed, or the connection is lost; the connection must not be read afterwards.
    #[cfg(feature = "http")]
    pub(crate) fn is_silent(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is_silent())
    }

    /// Keeps few unsent bytes in the operating system, where it allows that, so that [`buffered`](Self::buffered) shows
    /// how far sending has come.
    #[cfg(feature = "http")]
    pub(crate) fn show_progress(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            const UNSENT: u32 = 64 << 10;
            let _ = self.with_socket(|socket| {
                socket
                    .as_tcp()
                    .map_or(Ok(()), |tcp| socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT))
            });
        }
    }

    /// Whether more than the high-water mark waits to be sent.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.is_full())
    }

    /// Fires when the operating system has taken everything written so far; at once if nothing waits.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`] or [`ConnectionAborted`](crate::ConnectionAborted), when the connection ends before.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The data is sent all the same.
    #[track_caller]
    pub fn drained(&self) -> Deferred<()> {
        match self.connection.upgrade() {
            Some(connection) => connection.drained(),
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The peer's end; `None` after the loss. Twisted: `getPeer`.
    pub fn peer(&self) -> Option<Address> {
        self.with_socket(Socket::peer).ok()
    }

    /// This end; `None` after the loss. Twisted: `getHost`.
    pub fn local_addr(&self) -> Option<Address> {
        self.with_socket(Socket::local_addr).ok()
    }

    /// What was agreed upon with the peer, if this connection is secured by TLS; `None` if it is not, and after the
    /// loss.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::tls::TlsInfo> {
        self.with_socket(|socket| Ok(socket.tls())).ok().flatten()
    }

    fn with_socket<T>(&self, look: impl FnOnce(&Socket) -> io::Result<T>) -> io::Result<T> {
        match self.connection.upgrade() {
            Some(connection) => connection.with_socket(look),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The part of a protocol that has this type.
fn reach<P: 'static>(protocol: &mut dyn Protocol) -> Result<&mut P, Failure> {
    let part = part_of(protocol, TypeId::of::<P>()).and_then(|part| part.downcast_mut());
    part.ok_or_else(|| {
        let name = std::any::type_name::<P>();
        Failure::new(format!(
            "`{name}` cannot be reached on this connection: implement `Protocol::part` for the protocol around it"
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
