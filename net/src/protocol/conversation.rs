//! Talking to a peer one step after another, with Deferreds or with `async`, instead of by a protocol.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use twistor_deferred::{Deferred, Failure, Outcome, Trigger, fail, maybe_deferred_at};
use twistor_reactor::Handle;

use crate::framing::{FrameError, Pending};
use crate::{
    Address, ClientEndpoint, ConnectionAborted, ConnectionDone, ConnectionLost, Factory, Protocol, Stream,
    Transport,
};

/// With nobody reading, this many bytes are taken from the peer before it is held up.
const READ_AHEAD: usize = 64 * 1024;

/// A connection on which one asks for what one wants next, and gets a Deferred of it.
///
/// For small conversations, whose state is best told by the place in a chain of callbacks or in an `async`
/// function.
/// A [`Protocol`] is the cheaper way for many connections or much data. Twisted has no such thing; its
/// nearest is
/// `protocols.stateful`.
///
/// # Cancel safety
///
/// A read that is cancelled, or whose awaiting task is dropped, takes no bytes. Bytes that were given to a
/// read and that
/// nobody read go back, for the next read; [`read_array`](Conversation::read_array) is the exception. So a
/// read may be
/// one branch of a `select`, or have a time limit around the task that awaits it.
///
/// ```
/// use twistor_deferred::Deferred;
/// use twistor_net::{ClientEndpoint, Conversation, Failure, ServerEndpoint, conversations};
/// use twistor_reactor::Reactor;
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
/// Reads are answered in the order in which they were asked for. One that is cancelled takes nothing.
///
/// # Dropping
///
/// Dropping it closes the connection, once everything written is sent; reads under way still get their
/// answers.
pub struct Conversation {
    shared: Rc<Shared>,
    transport: Transport,
}

/// The end came before what was asked for. Carries what was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfData {
    /// The bytes that came, and are not part of an earlier answer.
    pub left: Vec<u8>,
}

impl fmt::Display for EndOfData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the data ended after {} bytes of what was asked for", self.left.len())
    }
}

impl std::error::Error for EndOfData {}

impl Conversation {
    /// The next line, without its `\n` or `\r\n`.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] when there are more than `limit` bytes without an end of line, which stay
    /// unread;
    /// [`EndOfData`]; the reason of the loss.
    #[track_caller]
    pub fn read_line(&self, limit: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Line { limit, scanned: 0 })
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    ///
    /// [`EndOfData`]; the reason of the loss.
    #[track_caller]
    pub fn read_exact(&self, count: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Exact(count))
    }

    /// As [`read_exact`](Conversation::read_exact), as an array, which can be taken apart where it is read.
    ///
    /// # Cancel safety
    ///
    /// Cancelled before its bytes have come, it takes none. An array that has come and is dropped unread is
    /// lost.
    ///
    /// ```
    /// # use twistor_net::{Conversation, Failure};
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

    /// Whatever comes next, at least one byte; nothing at the end of the data.
    ///
    /// # Errors
    ///
    /// The reason of the loss.
    #[track_caller]
    pub fn read_some(&self) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::Some)
    }

    /// Everything up to the end.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] when that is more than `limit` bytes, which stay unread; the reason of the
    /// loss.
    #[track_caller]
    pub fn read_to_end(&self, limit: usize) -> Deferred<Vec<u8>> {
        self.shared.ask(Want::All(limit))
    }

    /// Sends bytes without waiting: see [`Transport::write`].
    pub fn write(&self, data: &[u8]) -> bool {
        self.transport.write(data)
    }

    /// Sends bytes, and fires when the operating system has taken them: when this may be repeated without
    /// piling up.
    ///
    /// # Cancel safety
    ///
    /// Cancelling it ends the wait. The bytes are sent all the same.
    ///
    /// # Errors
    ///
    /// [`ConnectionLost`] or [`ConnectionAborted`](crate::ConnectionAborted).
    #[track_caller]
    pub fn write_all(&self, data: &[u8]) -> Deferred<()> {
        if self.transport.write(data) { self.transport.drained() } else { fail(not_connected()) }
    }

    /// Ends the conversation and returns the connection, to run a protocol on it: see [`Transport::release`].
    /// Received
    /// bytes that no read has taken go to that protocol first.
    ///
    /// Reads under way fail with [`ConnectionReleased`](crate::ConnectionReleased).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is lost or closing.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor_net::{Conversation, Failure, Protocol, Transport};
    /// use twistor_reactor::Handle;
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

    /// The connection beneath, for all else.
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

/// What a read asks for.
enum Want {
    Line { limit: usize, scanned: usize },
    Exact(usize),
    Some,
    All(usize),
}

/// What the bytes at hand say to a [`Want`].
enum Answer {
    /// This many bytes are it, of which the last so many are not given out.
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

/// A read that waits for its answer.
struct Wanted {
    id: u64,
    want: Want,
    trigger: Trigger<Vec<u8>>,
    cancelled: bool,
}

/// Whom to tell, and what.
type Answered = (Trigger<Vec<u8>>, Result<Taken, Failure>);

/// Bytes for a read, and the end of line after them, which it does not get.
struct Taken {
    bytes: Vec<u8>,
    cut: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    transport: OnceCell<Transport>,
    bytes: RefCell<Pending>,
    wanted: RefCell<VecDeque<Wanted>>,
    /// How many reads were asked for so far.
    asked: Cell<u64>,
    /// The peer has sent all it will.
    ended: Cell<bool>,
    /// The connection is gone, and this is why, for the first read to be told.
    lost: Cell<bool>,
    reason: Cell<Option<Failure>>,
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
        self.wanted.borrow_mut().push_back(Wanted { id, want, trigger, cancelled: false });
        self.answer();
        if let Some(transport) = self.transport.get() {
            if transport.is_paused() && !self.wanted.borrow().is_empty() {
                transport.resume_producing();
            }
        }
        deferred
    }

    /// Answers as many reads as can be, in order. Nothing is borrowed while one fires.
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
        self.bytes.borrow_mut().compact();
        self.close_if_unwanted();
    }

    /// Takes back the answer of a read whose Deferred was dropped unread.
    fn put_back(self: &Rc<Self>, bytes: Vec<u8>) {
        self.bytes.borrow_mut().put_back(bytes);
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
            let mut bytes = self.bytes.borrow_mut();
            let result = match first.want.look(bytes.as_slice(), self.ended.get()) {
                Answer::Take { bytes: count, cut } => {
                    let mut taken = bytes.take(count);
                    let cut = taken.split_off(count - cut);
                    Ok(Taken { bytes: taken, cut })
                }
                Answer::Fail(failure) => Err(failure),
                Answer::Wait if self.lost.get() => {
                    Err(self.reason.take().unwrap_or_else(|| not_connected().into()))
                }
                Answer::Wait => return None,
            };
            return Some((wanted.pop_front()?.trigger, result));
        }
    }

    fn close_if_unwanted(&self) {
        if self.abandoned.get() && self.wanted.borrow().iter().all(|wanted| wanted.cancelled) {
            if let Some(transport) = self.transport.get() {
                transport.lose_connection();
            }
        }
    }
}

fn not_connected() -> ConnectionLost {
    ConnectionLost::new(io::ErrorKind::NotConnected.into())
}

/// The protocol beneath a conversation.
struct Side<F> {
    shared: Rc<Shared>,
    /// Called when the connection is there.
    begin: Option<F>,
}

impl<F: FnOnce(Conversation) + 'static> Protocol for Side<F> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.keeps_bytes();
        let _ = self.shared.transport.set(transport.clone());
        if let Some(begin) = self.begin.take() {
            begin(Conversation { shared: self.shared.clone(), transport: transport.clone() });
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.shared.bytes.borrow_mut().feed(data);
        self.shared.answer();
        if self.shared.wanted.borrow().is_empty() && self.shared.bytes.borrow().len() >= READ_AHEAD {
            transport.pause_producing();
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.shared.ended.set(true);
        self.shared.answer();
        Ok(())
    }

    fn unread(&mut self) -> Option<Vec<u8>> {
        Some(self.shared.bytes.borrow_mut().take_rest())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.shared.lost.set(true);
        if reason.is::<ConnectionDone>() {
            self.shared.ended.set(true);
        } else {
            self.shared.reason.set(Some(reason));
        }
        self.shared.answer();
    }
}

impl ClientEndpoint {
    /// Connects, for a [`Conversation`].
    ///
    /// # Errors
    ///
    /// Those of [`connect`](ClientEndpoint::connect).
    #[track_caller]
    pub fn converse(&self, handle: &Handle) -> Deferred<Conversation> {
        let shared = Rc::new(Shared::default());
        let side = Side { shared: shared.clone(), begin: None::<fn(Conversation)> };
        self.connect(handle, side).add_callback(move |transport| Ok(Conversation { shared, transport }))
    }
}

/// A factory for a server that has a [`Conversation`] with each client: for
/// [`ServerEndpoint::listen`](crate::ServerEndpoint::listen).
///
/// What `talk` returns is waited for. A failure, or a panic of `talk`, is logged, except that the peer has
/// gone.
#[track_caller]
pub fn conversations<O: Outcome<Value = ()>>(talk: impl Fn(Conversation) -> O + 'static) -> impl Factory {
    let (talk, place) = (Rc::new(talk), Location::caller());
    move |_: Address| {
        let talk = talk.clone();
        let begin = move |conversation: Conversation| {
            let over = maybe_deferred_at(place, || talk(conversation)).add_errback(|failure| {
                let gone = failure.is::<EndOfData>()
                    || failure.is::<ConnectionLost>()
                    || failure.is::<ConnectionAborted>();
                if gone { Ok(()) } else { Err(failure) }
            });
            drop(over.attributed_to(place));
        };
        Side { shared: Rc::default(), begin: Some(begin) }
    }
}
