//! The immediate part of the program's calls: they write to the socket, or set flags for the loop.

use std::io::{self, IoSlice};
use std::rc::Rc;

use twistor_deferred::{Deferred, Failure, fail, succeed};
use twistor_reactor::Ready;

use super::{Connection, Flags, Io, LARGE};
use crate::errors::has_no_buffers;
use crate::sockets::{Queue, SHORT_WRITE_FILLS, Socket, drained};
use crate::transport::outgoing::Producing;
use crate::{ConnectionAborted, ConnectionLost, Producer, ProducerRefused, Protocol};

/// The maximum number of slices in one system call.
const SLICES_PER_CALL: usize = 16;

/// The connection cannot send any more.
const OVER: Flags = Flags::LOST.or(Flags::DOOMED).or(Flags::BROKEN);

impl Connection<dyn Protocol> {
    /// Sends as much as the socket accepts, and queues the rest.
    #[inline]
    pub(crate) fn write(&self, data: &[u8]) -> bool {
        if data.is_empty() {
            return self.takes_writes();
        }
        let first = self.portion(data.len());
        match self.offer(first, |socket| socket.write(&data[..first])) {
            Some(sent) if sent == data.len() => true,
            Some(sent) => self.keep(|queue| {
                queue.push(&data[sent..]);
                data.len() - sent
            }),
            None => false,
        }
    }

    /// Writes like [`write`](Connection::write), but queues without copying.
    pub(crate) fn write_vec(&self, data: Vec<u8>) -> bool {
        if data.is_empty() {
            return self.takes_writes();
        }
        let first = self.portion(data.len());
        match self.offer(first, |socket| socket.write(&data[..first])) {
            Some(sent) if sent == data.len() => true,
            Some(sent) => self.keep(|queue| {
                queue.push_vec(data, sent);
                0
            }),
            None => false,
        }
    }

    /// Writes all slices, one after another.
    pub(crate) fn write_slices(&self, slices: &[&[u8]]) -> bool {
        if !self.takes_writes() {
            return false;
        }
        for group in slices.chunks(SLICES_PER_CALL) {
            let length: usize = group.iter().map(|slice| slice.len()).sum();
            if length == 0 {
                continue;
            }
            if self.portion(length) < length {
                // More than this turn's share.
                for slice in group {
                    if !self.write(slice) {
                        return false;
                    }
                }
                continue;
            }
            let mut io_slices = [IoSlice::new(&[]); SLICES_PER_CALL];
            for (slot, slice) in io_slices.iter_mut().zip(group) {
                *slot = IoSlice::new(slice);
            }
            let Some(mut sent) =
                self.offer(length, |socket| socket.write_vectored(&io_slices[..group.len()]))
            else {
                return false;
            };
            if sent < length {
                self.keep(|queue| {
                    let unsent = length - sent;
                    for slice in group {
                        let skipped = sent.min(slice.len());
                        sent -= skipped;
                        queue.push(&slice[skipped..]);
                    }
                    unsent
                });
            }
        }
        true
    }

    /// Returns whether a write would be accepted.
    #[inline]
    pub(crate) fn takes_writes(&self) -> bool {
        !self.is(OVER.or(Flags::CLOSING).or(Flags::WRITE_CLOSING)) || self.takes_last_writes()
    }

    /// Returns whether a registered producer may still write, although the end was requested.
    #[cold]
    fn takes_last_writes(&self) -> bool {
        !self.is(OVER) && self.has_producer()
    }

    /// Returns how many of `length` bytes are offered to the socket at once. The rest waits for the next
    /// turn, because neither one large write nor many in one turn may hold up the loop.
    #[inline]
    fn portion(&self, length: usize) -> usize {
        if length < LARGE { length } else { self.large_portion(length) }
    }

    #[cold]
    fn large_portion(&self, length: usize) -> usize {
        let portion = self.share(length);
        if portion < length {
            self.wake(Ready::WRITABLE);
        }
        portion
    }

    /// Writes up to `offered` bytes to the socket, unless earlier ones wait. Returns the number of bytes that
    /// it accepted; `None` if the connection accepts no writes.
    #[inline]
    fn offer(
        &self,
        offered: usize,
        mut write: impl FnMut(&mut Socket) -> io::Result<usize>,
    ) -> Option<usize> {
        if !self.takes_writes() {
            return None;
        }
        let mut starved = false;
        let sent = self.with_io(|Io { socket, outgoing }| {
            if let Some(outgoing) = outgoing {
                if outgoing.producing.as_ref().is_some_and(|producing| producing.pull) {
                    self.set(Flags::PULLED);
                    self.wake(Ready::WRITABLE);
                }
                if !outgoing.queue.is_empty() || self.is(Flags::SECURING) {
                    return Ok(0);
                }
                // The loop sends it, and counts it against the limit.
                if outgoing.write_limit.is_some() {
                    self.wake(Ready::WRITABLE);
                    return Ok(0);
                }
            }
            if offered == 0 {
                return Ok(0);
            }
            loop {
                match write(socket) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if has_no_buffers(&error) => {
                        starved = true;
                        return Ok(0);
                    }
                    sent => {
                        starved = socket.is_starved();
                        return sent;
                    }
                }
            }
        });
        if starved {
            self.starve();
        }
        match sent {
            Ok(sent) => {
                self.count_sent(sent);
                Some(sent)
            }
            Err(error) => {
                self.break_off(ConnectionLost::new(error).into());
                None
            }
        }
    }

    /// Queues unsent data, and pauses the producer above the high-water mark. `push` returns the number of
    /// bytes that it copied, because copying costs the turn about as much as sending.
    fn keep(&self, push: impl FnOnce(&mut Queue) -> usize) -> bool {
        let (copied, too_much) = self.with_outgoing(|outgoing| {
            let copied = push(&mut outgoing.queue);
            (copied, outgoing.pause_if_full())
        });
        if copied >= LARGE {
            self.spend_work(copied);
        }
        if !SHORT_WRITE_FILLS {
            self.wake(Ready::WRITABLE);
        }
        self.pause(too_much);
        true
    }

    fn pause(&self, producer: Option<Rc<dyn Producer>>) {
        if let Some(producer) = producer {
            self.guard("pause_producing", || producer.pause_producing());
        }
    }

    pub(crate) fn lose_connection(&self) {
        if !self.is(Flags::LOST.or(Flags::CLOSING)) {
            self.close();
        }
    }

    pub(crate) fn lose_write_connection(&self) {
        if !self.is(OVER.or(Flags::CLOSING).or(Flags::WRITE_CLOSING)) {
            self.set(Flags::WRITE_CLOSING);
            self.wake(Ready::WRITABLE);
        }
    }

    pub(crate) fn abort_connection(&self) {
        if !self.is(Flags::LOST.or(Flags::DOOMED)) {
            self.forget_queue();
            self.with_io(|io| io.socket.reset_on_close());
            self.doom(ConnectionAborted.into());
        }
    }

    pub(crate) fn fail_connection(&self, reason: Failure) {
        if !self.is(Flags::LOST.or(Flags::DOOMED)) {
            self.forget_queue();
            self.doom(reason);
        }
    }

    pub(crate) fn pause_reading(&self) {
        if self.is(Flags::CLOSING) {
            return;
        }
        self.clear(Flags::RESUMED);
        self.set(Flags::PAUSED);
    }

    pub(crate) fn resume_reading(&self) {
        if self.is(Flags::PAUSED) {
            self.clear(Flags::PAUSED.or(Flags::LOSS_HELD));
            self.set(Flags::RESUMED);
            self.wake(Ready::READABLE);
        }
    }

    pub(crate) fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        pull: bool,
    ) -> Result<(), ProducerRefused> {
        if self.is(OVER.or(Flags::CLOSING).or(Flags::WRITE_CLOSING)) {
            return Err(ProducerRefused::Closed);
        }
        let pause = self.with_outgoing(|outgoing| {
            if outgoing.producing.is_some() {
                return Err(ProducerRefused::AlreadyRegistered);
            }
            outgoing.producing = Some(Producing { producer, pull, paused: pull });
            Ok(outgoing.pause_if_full())
        })?;
        if pull {
            self.wake(Ready::WRITABLE);
        }
        self.pause(pause);
        Ok(())
    }

    pub(crate) fn unregister_producer(&self) {
        let producing =
            self.with_io(|io| io.outgoing.as_mut().and_then(|outgoing| outgoing.producing.take()));
        if producing.is_some() {
            self.clear(Flags::PULLED);
            self.wake(Ready::WRITABLE);
        }
    }

    fn has_producer(&self) -> bool {
        self.with_io(|io| io.outgoing.as_ref().is_some_and(|outgoing| outgoing.producing.is_some()))
    }

    pub(crate) fn set_high_water_mark(&self, bytes: usize) {
        if self.is(Flags::LOST) {
            return;
        }
        let too_much = self.with_outgoing(|outgoing| {
            outgoing.high_water = bytes;
            outgoing.pause_if_full()
        });
        self.wake(Ready::WRITABLE);
        self.pause(too_much);
    }

    pub(crate) fn buffered(&self) -> usize {
        self.with_io(|io| io.outgoing.as_ref().map_or(0, |outgoing| outgoing.queue.len() + outgoing.clear()))
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.with_io(|io| io.is_sent())
    }

    /// Returns whether the socket has nothing to read. The check can consume a byte.
    pub(crate) fn is_silent(&self) -> bool {
        self.with_io(|io| {
            loop {
                match io.socket.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
                }
            }
        })
    }

    pub(crate) fn set_read_size(&self, bytes: usize) {
        let pages = bytes.div_ceil(4 << 10);
        let size = match pages {
            0..=1 => Flags::READ_4K,
            2..=4 => Flags::READ_16K,
            5..=16 => Flags::READ_64K,
            _ => Flags::default(),
        };
        self.clear(Flags::READ_4K);
        self.set(size);
    }

    pub(crate) fn sent_bytes(&self) -> u32 {
        self.sent_bytes.get()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.is(Flags::OUTGOING)
            && self.with_io(|io| {
                io.outgoing.as_ref().is_some_and(|outgoing| outgoing.queue.len() > outgoing.high_water)
            })
    }

    #[track_caller]
    pub(crate) fn drained(&self) -> Deferred<()> {
        if self.is(OVER) {
            return fail(ConnectionLost::new(io::ErrorKind::NotConnected.into()));
        }
        if self.with_io(|io| io.is_sent()) {
            return succeed(());
        }
        self.with_outgoing(|outgoing| outgoing.drained.get_or_insert_with(drained).clone()).wait()
    }

    /// Inspects the socket, which is closed after the loss.
    pub(crate) fn with_socket<T>(&self, look: impl FnOnce(&Socket) -> T) -> T {
        self.with_io(|io| look(&io.socket))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use twistor_reactor::Reactor;

    use super::super::tests::{Silent, connected};
    use super::*;
    use crate::transport::outgoing::DEFAULT_HIGH_WATER;

    // P2.1, B4
    #[test]
    fn slices_that_a_small_socket_takes_in_parts_arrive_in_order_and_once() {
        let reactor = Reactor::new().unwrap();
        let (near, mut far) = connected();
        socket2::SockRef::from(&near).set_send_buffer_size(4096).unwrap();

        // A hundred different slices, some of them empty.
        let slices: Vec<Vec<u8>> = (0..100_usize)
            .map(|index| (0..index * index % 9000).map(|byte| (byte * 31 + index) as u8).collect())
            .collect();
        let mut expected = slices.concat();
        expected.extend_from_slice(b"then a piece, and one given to keep; and");
        expected.extend_from_slice(&slices.concat());

        let handle = reactor.handle();
        reactor.call_when_running(move || {
            let peer = near.peer_addr().unwrap();
            let socket = Socket::tcp(mio::net::TcpStream::from_std(near), peer);
            let transport = Connection::start(&handle, socket, Silent).unwrap();
            let borrowed: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
            assert!(transport.write_slices(&borrowed));
            assert!(transport.buffered() > 100_000, "the socket took nearly all of it");
            assert!(transport.write(b"then a piece, "));
            assert!(transport.write_vec(b"and one given to keep; and".to_vec()));
            assert!(transport.write_slices(&borrowed));
            transport.lose_connection();
        });
        let received = reactor.defer_to_thread(move || {
            let (mut received, mut piece) = (Vec::new(), [0; 1500]);
            loop {
                match far.read(&mut piece)? {
                    0 => return Ok(received),
                    count => received.extend_from_slice(&piece[..count]),
                }
            }
        });
        assert!(reactor.run_until(received).unwrap() == expected);
    }

    // P5.9
    #[test]
    fn a_connection_is_silent_until_data_or_the_end_arrives() {
        for ends in [false, true] {
            let reactor = Reactor::new().unwrap();
            let (near, mut far) = connected();
            let handle = reactor.handle();
            let (done, trigger) = Deferred::new();
            reactor.call_when_running(move || {
                let peer = near.peer_addr().unwrap();
                let socket = Socket::tcp(mio::net::TcpStream::from_std(near), peer);
                let transport = Connection::start(&handle, socket, Silent).unwrap();
                assert!(transport.is_silent());
                if ends {
                    far.shutdown(std::net::Shutdown::Write).unwrap();
                } else {
                    far.write_all(b"x").unwrap();
                }
                // The loop is busy here, and has not noticed.
                let deadline = std::time::Instant::now() + Duration::from_secs(20);
                while transport.is_silent() && std::time::Instant::now() < deadline {
                    std::thread::yield_now();
                }
                trigger.callback((transport.is_lost(), std::time::Instant::now() < deadline));
            });
            assert_eq!(reactor.run_until(done).unwrap(), (false, true));
        }
        assert!(!crate::Transport::lost().is_silent());
    }

    // P5.6
    #[test]
    fn a_mark_that_is_set_and_set_back_leaves_nothing_to_remember() {
        let reactor = Reactor::simulated(1);
        let (made, trigger) = Deferred::new();
        let place = "192.0.2.80:80".parse().unwrap();
        crate::ServerEndpoint::tcp(place).listen(&reactor, |_| Silent).unwrap();
        let connecting = crate::ClientEndpoint::tcp("192.0.2.80", 80).connect(&reactor, Silent);
        let handle = reactor.handle();
        drop(connecting.add_callback(move |transport| {
            let later = handle.clone();
            handle.call_later(Duration::from_secs(1), move || {
                transport.set_high_water_mark(5);
                transport.set_high_water_mark(DEFAULT_HIGH_WATER);
                later.call_later(Duration::from_secs(1), move || {
                    let connection = transport.connection.upgrade().unwrap();
                    let looked_at = connection.is(Flags::OUTGOING);
                    trigger.callback(looked_at || connection.with_io(|io| io.outgoing.is_some()));
                });
            });
        }));
        assert!(!reactor.run_until(made).unwrap());
    }
}
