//! One stream connection: the socket, what waits to be sent, and the protocol, in one allocation.
//!
//! Everything happens in [`Connection::ready`], called by the loop, in this order: send what waits, resume and read,
//! then see whether that was all. What a user's call asks for (`lose_connection`, `pause_producing`, a failed write)
//! is written down in the [`Flags`], and the loop is asked to come by. So no user code runs inside a user's call, except
//! a producer's `pause_producing` and a visit; and no borrow is held while any runs, but that of the protocol.

mod ending;
mod flags;
mod limited;
mod recording;
pub(crate) mod release;
mod requests;
#[cfg(feature = "tls")]
pub(crate) mod securing;
pub(crate) mod visits;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Failure, guarded};
use twistor_reactor::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

use self::recording::ConnectionStep;
use super::calls::has_no_buffers;
use super::outgoing::{Outgoing, SHORT_WRITE_FILLS};
use super::scratch::{SCRATCH, with_scratch};
use super::socket::Socket;
use crate::stream::Stream;
use crate::{ConnectionLost, HandlerPanicked, Protocol, Transport};

pub(crate) use flags::Flags;

/// Bytes read per turn and connection: what one flooding peer may take of a turn.
const READ_PER_TURN: usize = SCRATCH;

/// Reads per turn and connection, where each gives but a piece.
const READS_PER_TURN: usize = 4;

/// A read that gave no plaintext has cost about as much as one that gave this many bytes.
const FRUITLESS_READ: usize = 256 * 1024;

/// Bytes sent per turn and connection; less, where many connections have something to send.
const SENT_PER_TURN: usize = 256 * 1024;

/// From this size on, what is read and written is counted as work of the turn.
const LARGE: usize = 16 * 1024;

/// How long a connection waits for the operating system to have memory for messages again.
pub(crate) const STARVED_FOR: Duration = Duration::from_millis(10);

/// Times a pull producer is resumed per turn.
const PULLS_PER_TURN: usize = 16;

/// Whether a read that gave less than there was room for has emptied the socket: see [`SHORT_WRITE_FILLS`].
const SHORT_READ_DRAINS: bool = SHORT_WRITE_FILLS;

struct Io {
    socket: Socket,
    outgoing: Option<Box<Outgoing>>,
}

impl Io {
    const GONE: Io = Io { socket: Socket::Closed, outgoing: None };

    /// Whether everything written is sent.
    #[inline]
    fn is_sent(&self) -> bool {
        self.socket.is_flushed() && self.outgoing.as_ref().is_none_or(|outgoing| outgoing.is_sent())
    }

    /// What there is to remember, once everything written is sent.
    fn sent(&mut self) -> Option<&mut Outgoing> {
        if self.is_sent() { self.outgoing.as_deref_mut() } else { None }
    }
}

/// A connection; `P` is unsized to `dyn Protocol` as soon as it is made, so that only the way of an event to the protocol
/// is compiled again for each.
pub(crate) struct Connection<P: Protocol + ?Sized> {
    link: Link,
    /// Borrowed while a method of it or a visit runs. Only `call` and the end borrow it, and a visit that finds it borrowed
    /// waits.
    protocol: RefCell<P>,
}

/// All of a connection but its protocol, compiled once.
pub(crate) struct Link {
    /// Out of the cell while [`with_io`](Link::with_io) works on it: a borrow counter would take eight bytes.
    io: Cell<Io>,
    registration: OnceCell<Registration>,
    flags: Cell<Flags>,
    /// Bytes that the operating system has taken, modulo 2^32.
    sent_bytes: Cell<u32>,
}

impl<P: Protocol + ?Sized> Deref for Connection<P> {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl<P: Protocol> EventHandler for Connection<P> {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        let connection: Rc<Connection<dyn Protocol>> = self;
        let transport = Transport::new(&connection);
        connection.serve(&transport, ready)
    }

    fn call_site(&self) -> CallSite {
        CallSite::Handler(std::any::type_name::<P>())
    }
}

impl Connection<dyn Protocol> {
    /// Puts a connected socket in the loop's hands and calls `connection_made`. To be called from the loop.
    pub(crate) fn start<P: Protocol>(
        handle: &Handle,
        stream: impl Into<Stream>,
        protocol: P,
    ) -> io::Result<Transport> {
        let Stream { watched, inherited } = stream.into();
        let keeps_bytes = watched.socket.keeps_bytes();
        let connection =
            Rc::new(Connection { link: Link::new(keeps_bytes), protocol: RefCell::new(protocol) });
        let handler: Rc<dyn EventHandler> = connection.clone();
        Connection::take_up(connection, handler, handle, Stream { watched, inherited })
    }

    /// Continues [`start`](Connection::start), compiled once for all protocols. Both references are to the same connection.
    fn take_up(
        connection: Rc<Connection<dyn Protocol>>,
        handler: Rc<dyn EventHandler>,
        handle: &Handle,
        stream: Stream,
    ) -> io::Result<Transport> {
        let Stream { mut watched, inherited } = stream;
        let keeps_bytes = watched.socket.keeps_bytes();
        watched.hand_to(handle, handler)?;
        let left = if keeps_bytes { watched.left | Ready::READABLE } else { watched.left };
        let (socket, registration) = watched.into_parts();
        connection.io.set(Io { socket, outgoing: None });
        if let Some(registration) = registration {
            let _ = connection.registration.set(registration);
        }
        if left.readable() {
            connection.wake(left);
        }
        if let Some(inherited) = inherited {
            connection.inherit(*inherited);
        }
        let transport = Transport::new(&connection);
        connection.record(ConnectionStep::Made);
        connection.enter(&transport, "connection_made", |protocol| protocol.connection_made(&transport));
        Ok(transport)
    }

    /// What happens to every event. Inlined where the protocol is known, and with it the protocol's own method: what
    /// is rare is a call away from here, and compiled once for all protocols.
    #[inline(always)]
    fn serve(&self, transport: &Transport, ready: Ready) -> Progress {
        debug_assert!(!self.is(Flags::LOST), "a lost connection is deregistered");
        if ready.is_read_closed() || ready.is_error() {
            self.end_is_near(ready);
        }
        let mut progress = Progress::Drained;
        if ready.writable() && self.is(Flags::OUTGOING) && self.send(transport) == Progress::More {
            progress = Progress::More;
        }
        if self.is(Flags::TO_CATCH_UP) {
            self.catch_up(transport);
        }
        if ready.readable() && !self.is(Flags::NOT_READ) && self.receive(transport) == Progress::More {
            progress = Progress::More;
        }
        if self.is(Flags::TO_SETTLE) {
            self.settle(transport, ready);
        }
        progress
    }

    /// Notifies the protocol of what happened between two events: writing broke, visits came, or reading goes on.
    #[cold]
    fn catch_up(&self, transport: &Transport) {
        if self.is(Flags::BREAK_UNREPORTED) {
            self.tell_break(transport);
        }
        if self.is(Flags::VISITS) {
            self.run_visits(transport);
        }
        if self.is(Flags::RESUMED) {
            self.clear(Flags::RESUMED);
            if !self.is(Flags::CLOSING.or(Flags::DOOMED)) {
                self.enter(transport, "reading_resumed", |protocol| protocol.reading_resumed(transport));
            }
        }
        if self.is(Flags::INHERITED_DATA) {
            self.deliver_unread(transport);
        }
        #[cfg(feature = "tls")]
        if self.is(Flags::SECURING) && !self.is(Flags::VISITS.or(Flags::DOOMED)) {
            self.shake_hands(transport);
        }
    }

    /// Sends what waits.
    fn send(&self, transport: &Transport) -> Progress {
        self.clear(Flags::STARVED);
        if self.is(Flags::SECURING) || self.with_io(|io| io.is_sent()) {
            return Progress::Drained;
        }
        let share = self.share(SENT_PER_TURN);
        if share == 0 {
            return Progress::More;
        }
        let most = self.most(transport, Flags::WRITE_LIMITED, share);
        if most == 0 {
            return Progress::Drained;
        }
        let (sent, count, starved) = self.with_io(|Io { socket, outgoing }| {
            // If it cannot send all of that, it will take nothing of the queue either.
            let mut sent = socket.flush().map(|_| true);
            let mut count = 0;
            if let (Ok(_), Some(outgoing)) = (&sent, outgoing) {
                let before = outgoing.queue.len();
                sent = outgoing.queue.send(socket, most);
                count = before - outgoing.queue.len();
                if let Some(limit) = &outgoing.write_limit {
                    limit.spend(count);
                }
            }
            (sent, count, socket.is_starved())
        });
        self.count_sent(count);
        if starved {
            self.starve();
        }
        match sent {
            Ok(true) => Progress::Drained,
            Ok(false) => Progress::More,
            Err(error) if has_no_buffers(&error) => {
                self.starve();
                Progress::Drained
            }
            Err(error) => {
                self.break_off(ConnectionLost::new(error).into());
                Progress::Drained
            }
        }
    }

    /// Reads a bounded share and hands it to the protocol.
    #[inline(always)]
    fn receive(&self, transport: &Transport) -> Progress {
        with_scratch(|scratch| {
            let mut share = READ_PER_TURN;
            for _ in 0..READS_PER_TURN {
                let piece = share.min(self.flags.get().read_size());
                let most = self.most(transport, Flags::READ_LIMITED, piece);
                if most == 0 {
                    return Progress::Drained;
                }
                match self.with_io(|io| io.socket.read(&mut scratch[..most])) {
                    Ok(0) => {
                        self.ended(transport);
                        return Progress::Drained;
                    }
                    Ok(count) => {
                        if count >= LARGE {
                            self.spend_work(count);
                        }
                        if self.is(Flags::READ_LIMITED) {
                            self.spend(Flags::READ_LIMITED, count);
                        }
                        self.record(ConnectionStep::Received(count));
                        if self.is(Flags::CLOSING) {
                            self.throw_away(count);
                        } else {
                            let data = &scratch[..count];
                            self.enter(transport, "data_received", |protocol| {
                                protocol.data_received(transport, data)
                            });
                        }
                        let short = SHORT_READ_DRAINS && count < most;
                        if (short && self.needs_no_more()) || self.is(Flags::NOT_READ) {
                            return Progress::Drained;
                        }
                        share -= count;
                        if share == 0 {
                            break;
                        }
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::Interrupted => self.spend_work(FRUITLESS_READ),
                        io::ErrorKind::WouldBlock => {
                            self.emptied();
                            return Progress::Drained;
                        }
                        _ => {
                            self.failed(error);
                            return Progress::Drained;
                        }
                    },
                }
            }
            // There may be more than this turn's share.
            self.set(Flags::PEER_SENDING);
            Progress::More
        })
    }

    /// Whether nothing is left to read after a read that gave less than there was room for. If the peer's end was
    /// announced, that is left; but only one who goes on needs to see it.
    #[inline]
    fn needs_no_more(&self) -> bool {
        let goes_on = !self.is(Flags::CLOSING) || self.is(Flags::LINGERING);
        !self.is(Flags::END_ANNOUNCED) || !(goes_on || self.with_io(|io| io.socket.keeps_bytes()))
    }

    /// The peer has ended its half.
    #[cold]
    fn ended(&self, transport: &Transport) {
        self.set(Flags::PEER_EOF);
        // A failed write takes the socket's error with it. An end that is read afterwards may be that of a reset.
        let unclear = self.is(Flags::BROKEN) && self.has_reason();
        if !self.is(Flags::CLOSING) && !unclear {
            self.enter(transport, "read_connection_lost", |protocol| {
                protocol.read_connection_lost(transport)
            });
        }
    }

    /// How many of `wanted` bytes may go now; without a limit, all.
    #[inline]
    fn most(&self, transport: &Transport, flag: Flags, wanted: usize) -> usize {
        if self.is(flag) { self.allowed(transport, flag, wanted) } else { wanted }
    }

    /// Does what was waiting for everything to be sent, and ends the connection if its time has come.
    fn settle(&self, transport: &Transport, ready: Ready) {
        if self.is(Flags::LOST) || (self.is(Flags::SECURING) && !self.is(Flags::DOOMED)) {
            return;
        }
        if ready.readable() {
            self.clear(Flags::UNREAD_DATA);
        }
        if self.is(Flags::DOOMED) {
            return self.lose();
        }
        if self.is(Flags::BROKEN) {
            return self.lose_if_read();
        }
        if self.is(Flags::OUTGOING) {
            self.sent();
        }
        if self.is(Flags::CLOSING.or(Flags::WRITE_CLOSING)) {
            self.wind_up(transport);
        }
    }

    /// Frees the memory, if there is nothing to remember any more.
    fn tidy(&self) {
        self.with_io(|io| {
            if io.sent().is_some_and(|outgoing| outgoing.is_idle()) {
                io.outgoing = None;
                if !io.socket.keeps_bytes() {
                    self.clear(Flags::OUTGOING);
                }
            }
        });
    }

    /// When all is sent: resumes the producer, tells those who wait, frees the memory.
    fn sent(&self) {
        let begun = self.sent_bytes.get();
        for _ in 0..PULLS_PER_TURN {
            let producer = self.with_io(|io| match &mut io.sent()?.producing {
                Some(producing) if producing.paused || (producing.pull && self.is(Flags::PULLED)) => {
                    producing.paused = false;
                    Some(producing.producer.clone())
                }
                _ => None,
            });
            let Some(producer) = producer else { break };
            self.clear(Flags::PULLED);
            self.guard("resume_producing", || producer.resume_producing());
            // A pull producer that has written is resumed again in the next turn: its write has seen to that.
            let written = self.sent_bytes.get().wrapping_sub(begun) as usize;
            if written >= LARGE && written >= self.share(SENT_PER_TURN) {
                break;
            }
        }
        if self.with_io(|io| io.socket.is_starved()) {
            self.starve();
        }
        let drained = self.with_io(|io| {
            let outgoing = io.sent()?;
            outgoing.drained.take()
        });
        self.tidy();
        if let Some(drained) = drained {
            drained.fire(());
        }
    }
}

impl<P: Protocol + ?Sized> Connection<P> {
    /// Calls the protocol, and takes what goes wrong in it as the reason to close.
    #[inline]
    fn call(&self, method: &'static str, call: impl FnOnce(&mut P) -> Result<(), Failure>) {
        let outcome = guarded(|| call(&mut *self.protocol.borrow_mut()));
        if !matches!(outcome, Ok(Ok(()))) {
            self.went_wrong(method, outcome);
        }
    }

    /// The end: frees everything, then tells the producer, those who wait, and the protocol.
    fn lose(&self) {
        self.link.lose(&mut |reason| self.protocol.borrow_mut().connection_lost(reason));
    }
}

impl Link {
    fn new(keeps_bytes: bool) -> Link {
        Link {
            io: Cell::new(Io::GONE),
            registration: OnceCell::new(),
            flags: Cell::new(if keeps_bytes { Flags::END_ANNOUNCED.or(Flags::OUTGOING) } else { Flags(0) }),
            sent_bytes: Cell::new(0),
        }
    }

    #[cold]
    fn went_wrong(&self, method: &'static str, outcome: Result<Result<(), Failure>, String>) {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => self.close_because(failure),
            Err(message) => self.panicked(HandlerPanicked::new(method, message)),
        }
    }

    /// Calls a producer.
    fn guard(&self, method: &'static str, call: impl FnOnce()) {
        if let Err(message) = guarded(call) {
            self.panicked(HandlerPanicked::new(method, message));
        }
    }

    /// What a panic has left behind is not what was to be sent, so the peer gets a reset, and not an end.
    #[cold]
    fn panicked(&self, panic: HandlerPanicked) {
        if self.is(Flags::LOST) {
            return log::error!("while a connection was being lost, {panic}");
        }
        let peer = self.with_io(|io| {
            io.socket.reset_on_close();
            io.socket.peer()
        });
        match peer {
            Ok(peer) => log::error!("the connection to {peer} is reset: {panic}"),
            Err(_) => log::error!("a connection is reset: {panic}"),
        }
        self.forget_queue();
        self.doom(panic.into());
    }

    /// How much of `wanted` may be sent now.
    fn share(&self, wanted: usize) -> usize {
        self.registration.get().map_or(wanted, |registration| registration.share().min(wanted))
    }

    /// Counts what the operating system has taken.
    #[inline]
    fn count_sent(&self, bytes: usize) {
        self.sent_bytes.set(self.sent_bytes.get().wrapping_add(bytes as u32));
        if cfg!(feature = "trace") && bytes > 0 {
            self.record(ConnectionStep::Sent(bytes));
        }
        if bytes >= LARGE {
            self.spend_work(bytes);
        }
    }

    #[cold]
    fn spend_work(&self, work: usize) {
        if let Some(registration) = self.registration.get() {
            registration.spend(work);
        }
    }

    /// Tries to send again a little later: nothing else will say when the operating system has memory for it.
    #[cold]
    fn starve(&self) {
        let Some(registration) = self.registration.get().filter(|_| !self.is(Flags::STARVED)) else { return };
        self.set(Flags::STARVED);
        let waker = registration.waker();
        registration.handle().call_later(STARVED_FOR, move || waker.wake(Ready::WRITABLE));
    }

    /// Works on the socket and what waits to be sent. Nothing in `work` may come back here, so none of it may be, or
    /// drop, anything of the user's.
    #[inline]
    fn with_io<R>(&self, work: impl FnOnce(&mut Io) -> R) -> R {
        let mut io = self.io.replace(Io::GONE);
        debug_assert!(!matches!(io.socket, Socket::Closed) || self.is(Flags::LOST), "with_io inside with_io");
        let result = work(&mut io);
        // There is nothing in the cell to be dropped, and finding that out would cost as much as the rest.
        std::mem::forget(self.io.replace(io));
        result
    }

    /// As [`with_io`](Link::with_io), with what there is to remember, from now on.
    fn with_outgoing<R>(&self, work: impl FnOnce(&mut Outgoing) -> R) -> R {
        self.set(Flags::OUTGOING);
        self.with_io(|io| work(io.outgoing.get_or_insert_with(|| Box::new(Outgoing::new()))))
    }

    #[inline]
    pub(crate) fn is(&self, any: Flags) -> bool {
        self.flags.get().holds(any)
    }

    pub(crate) fn set(&self, flags: Flags) {
        self.flags.set(self.flags.get().or(flags));
    }

    fn clear(&self, flags: Flags) {
        self.flags.set(Flags(self.flags.get().0 & !flags.0));
    }

    fn wake(&self, ready: Ready) {
        if let Some(registration) = self.registration.get() {
            registration.wake(ready);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) struct Silent;

    impl Protocol for Silent {
        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// Two ends of a connection, one for the loop and one that blocks.
    pub(crate) fn connected() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    struct Sixteen([u64; 2]);

    impl Protocol for Sixteen {
        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            let [_, _] = self.0;
            Ok(())
        }
    }

    #[test]
    fn what_is_logged_of_a_connection_names_its_protocol() {
        let connection = Connection { link: Link::new(false), protocol: RefCell::new(Sixteen([0, 0])) };
        connection.set(Flags::LOST);
        let name = std::any::type_name::<Sixteen>();
        assert_eq!(connection.call_site(), CallSite::Handler(name));
    }

    // P5: what an idle connection takes, with a protocol of 16 bytes, apart from the reactor's slot.
    #[test]
    fn an_idle_connection_is_small() {
        let counts = 2 * size_of::<usize>();
        // In debug builds, a socket of mio's takes 16 bytes more.
        let most = if cfg!(debug_assertions) { 104 } else { 88 };
        assert!(counts + size_of::<Connection<Sixteen>>() <= most, "{}", size_of::<Connection<Sixteen>>());
    }
}
