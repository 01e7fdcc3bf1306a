//! Data that waits to be sent, and state that only some connections have.

use std::collections::VecDeque;
use std::rc::Rc;

use twistor_deferred::{Canceller, Failure};
use twistor_reactor::DelayedCall;

use crate::sockets::{Drained, Queue};
use crate::stream::{Inherited, Unread};
#[cfg(feature = "tls")]
use crate::tls::Securing;
use crate::{Producer, Protocol, RateLimit, Transport};

/// A visit that waits for the protocol.
pub(crate) type Visit = Box<dyn FnOnce(&mut dyn Protocol, &Transport) -> Result<(), Failure>>;

/// The default high-water mark. Twisted: `bufferSize`.
pub(crate) const DEFAULT_HIGH_WATER: usize = 64 * 1024;

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
    pub(crate) drained: Option<Rc<dyn Drained>>,
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

    /// Moves the state that the next owner of the connection inherits.
    pub(crate) fn bequeath(&mut self, inherited: &mut Inherited) {
        inherited.unread = self.unread.take().unwrap_or_default();
        inherited.unsent = std::mem::take(&mut self.queue);
        inherited.drained = self.drained.take();
        inherited.reason = self.reason.take();
        inherited.read_limit = self.read_limit.take();
        inherited.write_limit = self.write_limit.take();
    }

    /// Takes the state of the last owner.
    pub(crate) fn inherit(&mut self, inherited: &mut Inherited) {
        self.unread = Some(std::mem::take(&mut inherited.unread));
        self.queue = std::mem::take(&mut inherited.unsent);
        self.drained = inherited.drained.take();
        self.reason = inherited.reason.take();
        self.read_limit = inherited.read_limit.take();
        self.write_limit = inherited.write_limit.take();
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
