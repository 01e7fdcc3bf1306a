//! Conversations: reading from a peer step by step, with Deferreds or `async`, instead of in a protocol.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use twistor_deferred::{Deferred, Failure, Outcome, Trigger, fail, maybe_deferred_at};
use twistor_reactor::Handle;

use super::inbox::{Inbox, Reader, Receiving};
use crate::framing::FrameError;
use crate::{Address, ConnectionAborted, ConnectionLost, Factory, Protocol, Stream, Transport};

/// A connection from which the program requests the next bytes, as Deferreds.
///
/// It is for dialogues whose state is best expressed by the position in a chain of callbacks or in an `async`
/// function. A [`Protocol`] is cheaper for many connections or large amounts of data. Twisted has no
/// counterpart; `protocols.stateful` comes closest.
///
/// # Examples
///
/// ```
/// use twistor::net::{Conversation, conversations};
/// use twistor::prelude::*;
///
/// fn greet(peer: Conversation) -> Deferred<()> {
///     peer.read_line(100).add_callback(move |name| {
///         peer.write(b"hello, ");
///         peer.write_all(&name)
///     })
/// }
///
/// let reactor = Reactor::new()?;
/// let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, conversations(greet))?;
///
/// let client = ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0));
/// let answer = client.converse(&reactor).add_callback(|server| {
///     server.write(b"ann\r\n");
///     server.read_to_end(1000)
/// });
/// assert_eq!(reactor.run_until(answer)?, b"hello, ann");
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
///
/// Reads are answered in the order in which they were requested.
///
/// # Cancel safety
///
/// A read that is cancelled, or whose awaiting task is dropped, takes no bytes. The bytes of an unread result
/// go back to the conversation, except those of [`read_array`](Conversation::read_array). So a read may be
/// one branch of a `select`, and the task that awaits it may have a timeout.
///
/// # Dropping
///
/// Dropping the conversation closes the connection when everything written is sent. Pending reads are still
/// answered.
pub struct Conversation {
    shared: Rc<Shared>,
    transport: Transport,
}

/// The stream ended before a read was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndOfData {
    /// The bytes that arrived, without those of earlier reads.
    pub left: Vec<u8>,
}

impl fmt::Display for EndOfData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unexpected end of data after {} bytes", self.left.len())
    }
}

impl std::error::Error for EndOfData {}

impl Conversation {
    /// Returns the protocol of a conversation, and a function that makes the conversation from its transport.
    pub(crate) fn begin() -> (impl Protocol, impl FnOnce(Transport) -> Conversation) {
        let (receiving, shared) = Receiving::<Shared, _>::new();
        (receiving, |transport| Conversation { shared, transport })
    }

    /// Reads the next line, without its `\n` or `\r\n`.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] if there are more than `limit` bytes without an end of line, which stay
    /// unread. [`EndOfData`], or the reason of the loss.
    #[track_caller]
    pub fn read_line(&self, limit: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Line { limit, scanned: 0 })
    }

    /// Reads the next `count` bytes.
    ///
    /// # Errors
    ///
    /// [`EndOfData`], or the reason of the loss.
    #[track_caller]
    pub fn read_exact(&self, count: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Exact(count))
    }

    /// Reads the next `COUNT` bytes as an array, like [`read_exact`](Conversation::read_exact).
    ///
    /// # Cancel safety
    ///
    /// Cancelled before its bytes have arrived, it takes none. An array that has arrived and is dropped
    /// unread is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::Conversation;
    /// use twistor::prelude::*;
    ///
    /// async fn frame(peer: &Conversation) -> Result<Vec<u8>, Failure> {
    ///     let [kind, high, low] = peer.read_array().await?;
    ///     println!("a frame of kind {kind}");
    ///     peer.read_exact(u16::from_be_bytes([high, low]).into()).await
    /// }
    /// ```
    #[track_caller]
    pub fn read_array<const COUNT: usize>(&self) -> Deferred<[u8; COUNT]> {
        self.read_exact(COUNT).add_callback(|bytes| {
            let mut array = [0; COUNT];
            array.copy_from_slice(&bytes);
            Ok(array)
        })
    }

    /// Reads the bytes that arrive next, at least one. Returns an empty vector at the end of the stream.
    ///
    /// # Errors
    ///
    /// The reason of the loss.
    #[track_caller]
    pub fn read_some(&self) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Some)
    }

    /// Reads everything up to the end of the stream.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] if that is more than `limit` bytes, which stay unread, or the reason of the
    /// loss.
    #[track_caller]
    pub fn read_to_end(&self, limit: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::All(limit))
    }

    /// Sends bytes without waiting: see [`Transport::write`].
    pub fn write(&self, data: &[u8]) -> bool {
        self.transport.write(data)
    }

    /// Sends bytes. The Deferred fires when the operating system has taken them, so that a loop of writes
    /// uses bounded memory.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`] or [`ConnectionAborted`](crate::ConnectionAborted).
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The bytes are still sent.
    #[track_caller]
    pub fn write_all(&self, data: &[u8]) -> Deferred<()> {
        if self.transport.write(data) {
            self.transport.drained()
        } else {
            fail(ConnectionLost::new(io::ErrorKind::NotConnected.into()))
        }
    }

    /// Ends the conversation and returns its connection, to run a protocol on it: see [`Transport::release`].
    /// Received bytes that no read has taken go to that protocol first.
    ///
    /// Pending reads fail with [`ConnectionReleased`](crate::ConnectionReleased).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is lost or closing.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::Conversation;
    /// use twistor::prelude::*;
    ///
    /// /// Waits for a greeting, and then runs `protocol`.
    /// async fn greeted(handle: &Handle, peer: Conversation, protocol: impl Protocol) -> Result<Transport, Failure> {
    ///     peer.read_line(100).await?;
    ///     Ok(peer.release()?.run(handle, protocol)?)
    /// }
    /// ```
    pub fn release(self) -> io::Result<Stream> {
        self.transport.release()
    }

    /// Returns the transport of the connection, for all other methods.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.shared.abandoned.set(true);
        self.shared.close_if_unwanted();
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// The bytes that a read requests.
enum Want {
    Line { limit: usize, scanned: usize },
    Exact(usize),
    Some,
    All(usize),
}

/// The result of matching the received bytes with a [`Want`].
enum Answer {
    /// `bytes` are consumed. The last `cut` of them, the end of line, are not part of the result.
    Take {
        bytes: usize,
        cut: usize,
    },
    Wait,
    Fail(Failure),
}

impl Want {
    fn look(&mut self, bytes: &[u8], ended: bool) -> Answer {
        let enough = match self {
            Want::Line { limit, scanned } => {
                let found = bytes[*scanned..].iter().position(|&byte| byte == b'\n').map(|at| *scanned + at);
                *scanned = bytes.len();
                let line = &bytes[..found.unwrap_or(bytes.len())];
                let cut = usize::from(line.ends_with(b"\r"));
                if line.len() - cut > *limit {
                    return Answer::Fail(FrameError::TooLong { limit: *limit }.into());
                }
                found.map(|end| Answer::Take { bytes: end + 1, cut: cut + 1 })
            }
            Want::Exact(count) => (bytes.len() >= *count).then_some(Answer::Take { bytes: *count, cut: 0 }),
            Want::Some => (!bytes.is_empty() || ended).then_some(Answer::Take { bytes: bytes.len(), cut: 0 }),
            Want::All(limit) => {
                if bytes.len() > *limit {
                    return Answer::Fail(FrameError::TooLong { limit: *limit }.into());
                }
                ended.then_some(Answer::Take { bytes: bytes.len(), cut: 0 })
            }
        };
        match enough {
            Some(answer) => answer,
            None if ended => Answer::Fail(EndOfData { left: bytes.to_vec() }.into()),
            None => Answer::Wait,
        }
    }
}

/// A read that waits for its result.
struct Wanted {
    id: u64,
    want: Want,
    trigger: Trigger<Vec<u8>>,
    cancelled: bool,
}

/// A read to notify, and its result.
type Answered = (Trigger<Vec<u8>>, Result<Taken, Failure>);

/// The bytes of a read, and the end of line after them, which is not part of the result.
struct Taken {
    bytes: Vec<u8>,
    cut: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    inbox: Inbox,
    wanted: RefCell<VecDeque<Wanted>>,
    /// The number of reads requested so far.
    asked: Cell<u64>,
    /// The conversation was dropped.
    abandoned: Cell<bool>,
}

impl Shared {
    #[track_caller]
    fn ask(self: &Rc<Self>, want: Want) -> Deferred<Vec<u8>> {
        let id = self.asked.get();
        self.asked.set(id + 1);
        let shared = Rc::downgrade(self);
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(shared) = shared.upgrade() {
                if let Some(wanted) = shared.wanted.borrow_mut().iter_mut().find(|wanted| wanted.id == id) {
                    wanted.cancelled = true;
                }
                shared.close_if_unwanted();
            }
        });
        // Queued even if the bytes are there: earlier reads are answered first.
        self.wanted.borrow_mut().push_back(Wanted { id, want, trigger, cancelled: false });
        self.answer();
        if self.wants_more() {
            self.inbox.resume();
        }
        deferred
    }

    /// Answers as many reads as possible, in order. Nothing is borrowed while one fires.
    fn answer(self: &Rc<Self>) {
        while let Some((trigger, result)) = self.next_answer() {
            match result {
                Ok(Taken { bytes, cut }) => {
                    let shared = Rc::downgrade(self);
                    trigger.lend(bytes, move |mut bytes| {
                        if let Some(shared) = shared.upgrade() {
                            bytes.extend(cut);
                            shared.put_back(bytes);
                        }
                    });
                }
                Err(failure) => trigger.errback(failure),
            }
        }
        self.inbox.bytes.borrow_mut().compact();
        self.close_if_unwanted();
    }

    /// Puts back the bytes of a read whose Deferred was dropped unread.
    fn put_back(self: &Rc<Self>, bytes: Vec<u8>) {
        self.inbox.bytes.borrow_mut().put_back(bytes);
        // The bytes have moved, so lines are searched from the beginning again.
        for wanted in self.wanted.borrow_mut().iter_mut() {
            if let Want::Line { scanned, .. } = &mut wanted.want {
                *scanned = 0;
            }
        }
        self.answer();
    }

    fn next_answer(&self) -> Option<Answered> {
        let mut wanted = self.wanted.borrow_mut();
        loop {
            let first = wanted.front_mut()?;
            if first.cancelled {
                wanted.pop_front();
                continue;
            }
            let mut bytes = self.inbox.bytes.borrow_mut();
            let result = match first.want.look(bytes.as_slice(), self.inbox.has_ended()) {
                Answer::Take { bytes: count, cut } => {
                    let mut taken = bytes.take(count);
                    let cut = taken.split_off(count - cut);
                    Ok(Taken { bytes: taken, cut })
                }
                Answer::Fail(failure) => Err(failure),
                Answer::Wait if self.inbox.is_lost() => Err(self.inbox.take_reason()),
                Answer::Wait => return None,
            };
            return Some((wanted.pop_front()?.trigger, result));
        }
    }

    fn close_if_unwanted(&self) {
        if self.abandoned.get() && self.wanted.borrow().iter().all(|wanted| wanted.cancelled) {
            if let Some(transport) = self.inbox.transport() {
                transport.lose_connection();
            }
        }
    }
}

impl Reader for Shared {
    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn arrived(self: &Rc<Self>) {
        self.answer();
    }

    fn wants_more(&self) -> bool {
        !self.wanted.borrow().is_empty()
    }
}

impl Stream {
    /// Starts a [`Conversation`] on the connection. [`Conversation::release`] returns the connection.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Stream::run).
    pub fn converse(self, handle: &Handle) -> io::Result<Conversation> {
        let (protocol, conversation) = Conversation::begin();
        Ok(conversation(self.run(handle, protocol)?))
    }
}

/// Creates a factory that calls `talk` with a [`Conversation`] for each client, for
/// [`ServerEndpoint::listen`](crate::ServerEndpoint::listen).
///
/// A failure of the Deferred that `talk` returns is logged, unless the peer has closed the connection. So is
/// a panic of `talk`.
#[track_caller]
pub fn conversations<O: Outcome<Value = ()>>(talk: impl Fn(Conversation) -> O + 'static) -> impl Factory {
    let (talk, place) = (Rc::new(talk), Location::caller());
    move |_: Address| {
        let talk = talk.clone();
        Receiving::begin_with(move |shared: Rc<Shared>, transport| {
            let over = maybe_deferred_at(place, || talk(Conversation { shared, transport })).add_errback(
                |failure| {
                    let gone = failure.is::<EndOfData>()
                        || failure.is::<ConnectionLost>()
                        || failure.is::<ConnectionAborted>();
                    if gone { Ok(()) } else { Err(failure) }
                },
            );
            drop(over.attributed_to(place));
        })
    }
}
