//! Data that waits to be sent, and state that only some connections have.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use twistor_deferred::{Canceller, DeferredEvent, Failure};
use twistor_reactor::DelayedCall;

use super::connection::Flags;
use super::connection::release::Unread;
#[cfg(feature = "tls")]
use super::connection::securing::Securing;
use super::connection::visits::Visit;
use crate::sockets::Socket;
use crate::{Producer, RateLimit};

/// The default high-water mark. Twisted: `bufferSize`.
pub(crate) const DEFAULT_HIGH_WATER: usize = 64 * 1024;

/// Small writes are gathered in chunks of this size.
const CHUNK: usize = 16 * 1024;

/// The maximum number of chunks in one system call.
const CHUNKS_PER_CALL: usize = 32;

/// The state that a connection has only at times. A connection without a producer, whose peer keeps up, has
/// none, which keeps it small.
pub(crate) struct Outgoing {
    pub(crate) queue: Queue,
    pub(crate) high_water: usize,
    pub(crate) producing: Option<Producing>,
    /// The reason of the coming loss. `None`: closed cleanly.
    pub(crate) reason: Option<Failure>,
    /// The limit of reading.
    pub(crate) read_limit: Option<RateLimit>,
    /// The limit of writing.
    pub(crate) write_limit: Option<RateLimit>,
    /// Visits that wait for the protocol.
    pub(crate) visits: VecDeque<Visit>,
    /// Deferreds whose results are delivered to the protocol, in the order of their numbers. They are
    /// cancelled when the connection is lost.
    pub(crate) deliveries: VecDeque<(u64, Canceller)>,
    /// Fires when the queue is empty. `None` without a waiter.
    pub(crate) drained: Option<DeferredEvent<()>>,
    /// Bytes to deliver before any that are read. After a release: bytes for the next owner.
    pub(crate) unread: Option<Unread>,
    /// The TLS handshake of `start_tls` or `accept_tls`.
    #[cfg(feature = "tls")]
    pub(crate) securing: Option<Box<Securing>>,
    /// The number of bytes that may still be discarded while waiting for the peer's end, and the timer that
    /// ends the wait.
    pub(crate) lingering: Option<(usize, DelayedCall)>,
}

pub(crate) struct Producing {
    pub(crate) producer: Rc<dyn Producer>,
    /// A pull producer writes one piece each time it is resumed. A push producer writes until it is paused.
    pub(crate) pull: bool,
    /// The producer is resumed when the queue is empty.
    pub(crate) paused: bool,
}

impl Outgoing {
    pub(crate) fn new() -> Outgoing {
        Outgoing {
            queue: Queue::default(),
            high_water: DEFAULT_HIGH_WATER,
            producing: None,
            reason: None,
            read_limit: None,
            write_limit: None,
            visits: VecDeque::new(),
            deliveries: VecDeque::new(),
            drained: None,
            unread: None,
            #[cfg(feature = "tls")]
            securing: None,
            lingering: None,
        }
    }

    /// Takes out the state that the next owner of the connection inherits, if there is any.
    pub(crate) fn bequeath(&mut self) -> Option<Box<Outgoing>> {
        let inherited = Outgoing {
            queue: std::mem::take(&mut self.queue),
            reason: self.reason.take(),
            read_limit: self.read_limit.take(),
            write_limit: self.write_limit.take(),
            drained: self.drained.take(),
            ..Outgoing::new()
        };
        (!inherited.is_idle()).then(|| Box::new(inherited))
    }

    /// Returns the flags of a connection with these limits.
    pub(crate) fn limits(&self) -> Flags {
        let reading = if self.read_limit.is_some() { Flags::READ_LIMITED } else { Flags::default() };
        let writing = if self.write_limit.is_some() { Flags::WRITE_LIMITED } else { Flags::default() };
        reading.or(writing)
    }

    /// Marks the producer as paused and returns it, if it is running and more bytes wait than the mark
    /// allows.
    pub(crate) fn pause_if_full(&mut self) -> Option<Rc<dyn Producer>> {
        let full = self.queue.len() > self.high_water;
        let running = self.producing.as_mut().filter(|producing| !producing.pull && !producing.paused);
        running.filter(|_| full).map(|producing| {
            producing.paused = true;
            producing.producer.clone()
        })
    }

    /// Drops unsent bytes.
    pub(crate) fn forget(&mut self) {
        self.queue = Queue::default();
        #[cfg(feature = "tls")]
        if let Some(securing) = &mut self.securing {
            securing.clear = Queue::default();
        }
    }

    /// Returns the number of plaintext bytes to be sent before a TLS handshake.
    pub(crate) fn clear(&self) -> usize {
        #[cfg(feature = "tls")]
        return self.securing.as_ref().map_or(0, |securing| securing.clear.len());
        #[cfg(not(feature = "tls"))]
        0
    }

    /// Returns whether everything written has left this queue. During a handshake, earlier writes count as
    /// unsent.
    #[inline]
    pub(crate) fn is_sent(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.securing.is_some() {
            return false;
        }
        self.queue.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.is_sent()
            && self.high_water == DEFAULT_HIGH_WATER
            && self.producing.is_none()
            && self.reason.is_none()
            && self.read_limit.is_none()
            && self.write_limit.is_none()
            && self.visits.is_empty()
            && self.deliveries.is_empty()
            && self.drained.is_none()
            && self.unread.is_none()
            && self.lingering.is_none()
    }
}

/// Bytes in the order in which they were written.
#[derive(Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// The number of bytes of the first chunk that were sent.
    sent: usize,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.len += data.len();
        if let Some(last) = self.chunks.back_mut() {
            // A chunk never grows past its capacity or CHUNK, so that no large piece is copied again to make
            // room.
            if last.len() + data.len() <= last.capacity().max(CHUNK) {
                last.extend_from_slice(data);
                return;
            }
        }
        self.chunks.push_back(data.to_vec());
    }

    /// Appends `data` without copying it. Its first `sent` bytes were already sent, which requires an empty
    /// queue.
    pub(crate) fn push_vec(&mut self, data: Vec<u8>, sent: usize) {
        if sent >= data.len() {
            return;
        }
        self.len += data.len() - sent;
        if self.chunks.is_empty() {
            self.sent = sent;
        }
        self.chunks.push_back(data);
    }

    /// Sends up to `budget` bytes. Returns `Ok(true)` if the socket is full or everything is sent, and
    /// `Ok(false)` if the budget is used up.
    pub(crate) fn send(&mut self, socket: &mut Socket, budget: usize) -> io::Result<bool> {
        let mut total = 0;
        while !self.is_empty() {
            if total >= budget {
                return Ok(false);
            }
            let mut slices = [IoSlice::new(&[]); CHUNKS_PER_CALL];
            let mut offered = 0;
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
                let unsent = if count == 0 { &chunk[self.sent..] } else { &chunk[..] };
                let unsent = &unsent[..unsent.len().min(budget - total - offered)];
                if unsent.is_empty() {
                    break;
                }
                *slot = IoSlice::new(unsent);
                offered += unsent.len();
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(taken) => {
                    self.forget(taken);
                    total += taken;
                    if taken < offered && SHORT_WRITE_FILLS {
                        return Ok(true);
                    }
                    if taken == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Drops `taken` bytes from the front.
    fn forget(&mut self, taken: usize) {
        self.len -= taken;
        self.sent += taken;
        while let Some(first) = self.chunks.front() {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            self.chunks.pop_front();
        }
    }
}

/// Whether a short write means that the socket is full, so that the next readiness event comes without
/// another write that would block. True where events come from the kernel. On Windows, mio requests the next
/// event only after a write that would block.
pub(crate) const SHORT_WRITE_FILLS: bool = cfg!(unix);
