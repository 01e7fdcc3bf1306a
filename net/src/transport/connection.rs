//! One stream connection: its socket, its unsent data and its protocol, in one allocation.
//!
//! Everything happens in [`Connection::serve`], called by the loop, in this order: send, resume and read,
//! then check what is complete. A call of the program (`lose_connection`, `pause_producing`, a failed write)
//! only sets [`Flags`] and wakes the connection. So the program's code never runs inside its own calls,
//! except a producer's `pause_producing` and visits. While it runs, nothing is borrowed but the protocol.

mod ending;
mod flags;
mod limited;
mod recording;
mod release;
mod requests;
#[cfg(feature = "tls")]
mod securing;
mod starting;
mod visits;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Failure, guarded};
use twistor_reactor::{CallSite, EventHandler, Progress, Ready, Registration};

use self::recording::ConnectionStep;
use super::outgoing::Outgoing;
use crate::errors::has_no_buffers;
use crate::sockets::scratch::{SCRATCH, with_scratch};
use crate::sockets::{SHORT_WRITE_FILLS, Socket};
use crate::{ConnectionLost, HandlerPanicked, Protocol, Transport};

pub(crate) use flags::Flags;

/// The bytes read per turn and connection, which bounds what a flooding peer can take of a turn.
const READ_PER_TURN: usize = SCRATCH;

/// The reads per turn and connection, if each one returns only a little.
const READS_PER_TURN: usize = 4;

/// The work counted for a read without plaintext, which costs about as much as a read of this many bytes.
const FRUITLESS_READ: usize = 256 * 1024;

/// The bytes sent per turn and connection. Less, if many connections have data to send.
const SENT_PER_TURN: usize = 256 * 1024;

/// Reads and writes of at least this size count as work of the turn. Counting smaller ones would cost more
/// than it is worth.
const LARGE: usize = 16 * 1024;

/// The wait before another try when the operating system has no memory for a message.
pub(crate) const STARVED_FOR: Duration = Duration::from_millis(10);

/// The number of times per turn that a pull producer is resumed.
const PULLS_PER_TURN: usize = 16;

/// Whether a short read means that the socket is empty: see [`SHORT_WRITE_FILLS`].
const SHORT_READ_DRAINS: bool = SHORT_WRITE_FILLS;

struct Io {
    socket: Socket,
    outgoing: Option<Box<Outgoing>>,
}

impl Io {
    const GONE: Io = Io { socket: Socket::Closed, outgoing: None };

    /// Returns whether everything written is sent.
    #[inline]
    fn is_sent(&self) -> bool {
        self.socket.is_flushed() && self.outgoing.as_ref().is_none_or(|outgoing| outgoing.is_sent())
    }

    /// Returns the state of the connection if everything written is sent.
    fn sent(&mut self) -> Option<&mut Outgoing> {
        if self.is_sent() { self.outgoing.as_deref_mut() } else { None }
    }
}

/// A connection. `P` becomes `dyn Protocol` when it is created, so that only the path of an event to the
/// protocol is compiled for each protocol.
pub(crate) struct Connection<P: Protocol + ?Sized> {
    link: Link,
    /// Borrowed while one of its methods or a visit runs. Only `call` and the end borrow it. A visit that
    /// finds it borrowed waits.
    protocol: RefCell<P>,
}

/// Everything of a connection except its protocol, compiled once.
pub(crate) struct Link {
    /// Empty while [`with_io`](Link::with_io) works on it. A `RefCell` would add eight bytes for its borrow
    /// counter.
    io: Cell<Io>,
    registration: OnceCell<Registration>,
    flags: Cell<Flags>,
    /// The number of bytes that the operating system has taken, modulo 2^32.
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
    /// Handles an event. Inlined for each protocol, together with the protocol's method. Rare cases are
    /// separate functions, compiled once for all protocols.
    #[inline(always)]
    fn serve(&self, transport: &Transport, ready: Ready) -> Progress {
        debug_assert!(!self.is(Flags::LOST), "a lost connection is deregistered");
        if ready.is_read_closed() || ready.is_error() {
            self.end_is_near(ready);
        }
        let mut progress = Progress::Drained;
        // Sending first makes room for the answers that reading causes.
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

    /// Notifies the protocol of everything that happened between two events: a broken write, visits, or
    /// resumed reading.
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
                self.enter_rarely(transport, "reading_resumed", &mut |protocol| {
                    protocol.reading_resumed(transport)
                });
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

    /// Sends waiting data.
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
            // If the socket cannot send all its own data, it accepts nothing of the queue either.
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

    /// Reads a bounded share and passes it to the protocol.
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
            // There may be more data than this turn's share. A close waits for a peer that sends this much.
            self.set(Flags::PEER_SENDING);
            Progress::More
        })
    }

    /// Returns whether a short read has emptied the socket, so that reading can stop. After an announced end,
    /// the end itself is still unread, but a closing connection does not need it.
    #[inline]
    fn needs_no_more(&self) -> bool {
        let goes_on = !self.is(Flags::CLOSING) || self.is(Flags::LINGERING);
        !self.is(Flags::END_ANNOUNCED) || !(goes_on || self.with_io(|io| io.socket.keeps_bytes()))
    }

    /// Handles the end of the peer's half.
    #[cold]
    fn ended(&self, transport: &Transport) {
        self.set(Flags::PEER_EOF);
        // A failed write has already consumed the socket's error, so this end may be that of a reset.
        let unclear = self.is(Flags::BROKEN) && self.has_reason();
        if !self.is(Flags::CLOSING) && !unclear {
            self.enter_rarely(transport, "read_connection_lost", &mut |protocol| {
                protocol.read_connection_lost(transport)
            });
        }
    }

    /// Returns how many of `wanted` bytes the rate limit allows now. Without a limit: all.
    #[inline]
    fn most(&self, transport: &Transport, flag: Flags, wanted: usize) -> usize {
        if self.is(flag) { self.allowed(transport, flag, wanted) } else { wanted }
    }

    /// Acts on everything that is complete, and ends the connection if it is due.
    fn settle(&self, transport: &Transport, ready: Ready) {
        // A close waits for the handshake, because bytes that were written during it must not go out in the clear.
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

    /// Frees the additional state if nothing needs it any more.
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

    /// If everything is sent: resumes the producer, fires `drained`, frees memory.
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
            // A pull producer that has written is resumed again in the next turn, because its write has woken
            // the connection.
            let written = self.sent_bytes.get().wrapping_sub(begun) as usize;
            if written >= LARGE && written >= self.share(SENT_PER_TURN) {
                break;
            }
        }
        if self.with_io(|io| io.socket.is_starved()) {
            self.starve();
        }
        // Taken out before `tidy`, and fired last, because its callbacks may write again or drop the connection.
        let drained = self.with_io(|io| {
            let outgoing = io.sent()?;
            outgoing.drained.take()
        });
        self.tidy();
        if let Some(drained) = drained {
            drained.sent();
        }
    }
}

impl<P: Protocol + ?Sized> Connection<P> {
    /// Calls the protocol. An error or panic becomes the reason to close.
    #[inline]
    fn call(&self, method: &'static str, call: impl FnOnce(&mut P) -> Result<(), Failure>) {
        let outcome = guarded(|| call(&mut *self.protocol.borrow_mut()));
        if !matches!(outcome, Ok(Ok(()))) {
            self.went_wrong(method, outcome);
        }
    }

    /// Ends the connection: frees everything, then notifies the producer, the waiters and the protocol.
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
        let mut call = Some(call);
        self.guard_dyn(method, &mut || call.take().map_or((), |call| call()));
    }

    /// Does what `guard` does, but is compiled once for all callers.
    #[inline(never)]
    fn guard_dyn(&self, method: &'static str, call: &mut dyn FnMut()) {
        if let Err(message) = guarded(call) {
            self.panicked(HandlerPanicked::new(method, message));
        }
    }

    /// Resets the connection after a panic. The data sent so far may be incomplete, so it must not look like
    /// a clean end.
    #[cold]
    fn panicked(&self, panic: HandlerPanicked) {
        if self.is(Flags::LOST) {
            return log::error!("{panic} (while its connection was being lost)");
        }
        self.with_io(|io| io.socket.reset_on_close());
        log::error!("{} was reset: {panic}", self.name());
        self.forget_queue();
        self.doom(panic.into());
    }

    /// Returns the connection's name in messages.
    fn name(&self) -> String {
        match self.with_io(|io| io.socket.peer()) {
            Ok(peer) => format!("connection to {peer}"),
            Err(_) => "a connection".to_owned(),
        }
    }

    /// Returns how many of `wanted` bytes may be sent now.
    fn share(&self, wanted: usize) -> usize {
        self.registration.get().map_or(wanted, |registration| registration.share().min(wanted))
    }

    /// Counts bytes that the operating system has taken.
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

    /// Tries to send again later, by a timer, because no event reports that the operating system has memory
    /// again.
    #[cold]
    fn starve(&self) {
        let Some(registration) = self.registration.get().filter(|_| !self.is(Flags::STARVED)) else { return };
        self.set(Flags::STARVED);
        let waker = registration.waker();
        registration.handle().call_later(STARVED_FOR, move || waker.wake(Ready::WRITABLE));
    }

    /// Works on the socket and the state of the connection. `work` must not call this again, so it must
    /// neither call nor drop anything of the program's.
    #[inline]
    fn with_io<R>(&self, work: impl FnOnce(&mut Io) -> R) -> R {
        let mut io = self.io.replace(Io::GONE);
        debug_assert!(!matches!(io.socket, Socket::Closed) || self.is(Flags::LOST), "with_io inside with_io");
        let result = work(&mut io);
        // The replaced value holds nothing to drop, and checking that would cost as much as all the rest.
        std::mem::forget(self.io.replace(io));
        result
    }

    /// Works on the additional state, like [`with_io`](Link::with_io). Creates it if necessary.
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

    /// Returns both ends of a connection, one for the loop and a blocking one.
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

    // P5.6: the size of an idle connection with a protocol of 16 bytes, without the reactor's slot.
    #[test]
    fn an_idle_connection_is_small() {
        let counts = 2 * size_of::<usize>();
        // In debug builds, a socket of mio takes 16 bytes more.
        let most = if cfg!(debug_assertions) { 104 } else { 88 };
        assert!(counts + size_of::<Connection<Sixteen>>() <= most, "{}", size_of::<Connection<Sixteen>>());
    }
}
