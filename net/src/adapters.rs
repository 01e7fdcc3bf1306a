//! Connections in the form that other libraries expect: polled by tasks.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use twistor_deferred::{Deferred, Failure, Outcome, maybe_deferred_at};
use twistor_reactor::Handle;

#[cfg(feature = "hyper")]
pub use hyper::{HyperExecutor, HyperTimer};

use crate::protocols::{Inbox, Reader, Receiving};
use crate::{Address, ClientEndpoint, ConnectionAborted, ConnectionLost, Factory, Stream, Transport};

/// The most that one call of `poll_write` accepts, so that a full connection holds at most as much again.
const PIECE: usize = 64 * 1024;

/// A connection that tasks poll, for libraries that are generic over their I/O.
///
/// With the feature `futures-io` it implements `AsyncRead` and `AsyncWrite` of `futures-io`, and with the feature
/// `hyper` it implements `Read` and `Write` of `hyper::rt`. It holds at most some 64 KiB in each direction and a piece
/// of that size.
///
/// # Examples
///
/// ```
/// use twistor::net::{AsyncStream, async_streams};
/// use twistor::prelude::*;
///
/// async fn talk(_stream: AsyncStream) -> Result<(), Failure> {
///     // tungstenite::accept_async(stream).await?; …
///     Ok(())
/// }
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let serve = async_streams(move |stream| handle.spawn(talk(stream)));
/// let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, serve)?;
/// # drop(port);
/// # Ok::<(), Failure>(())
/// ```
///
/// # Dropping
///
/// Dropping it closes the connection after everything written is sent.
pub struct AsyncStream {
    shared: Rc<PolledState>,
    transport: Transport,
    /// Fires when everything written is sent. Kept while a writer waits for it.
    drained: Option<Deferred<()>>,
}

impl AsyncStream {
    /// Returns the transport of the connection.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Passes received bytes to `read`, which returns how many of them it has used. Returns zero at the end of the
    /// data.
    fn poll_read_with(
        &mut self,
        context: &mut Context<'_>,
        read: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let inbox = &self.shared.inbox;
        let mut bytes = inbox.bytes.borrow_mut();
        if bytes.len() > 0 {
            let count = read(bytes.as_slice());
            bytes.advance(count);
            bytes.compact();
            let empty = bytes.len() == 0;
            drop(bytes);
            if empty {
                inbox.resume();
            }
            return Poll::Ready(Ok(count));
        }
        if inbox.has_ended() {
            return Poll::Ready(Ok(0));
        }
        if inbox.is_lost() {
            return Poll::Ready(Err(into_io(inbox.take_reason())));
        }
        self.shared.reader.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    fn poll_write_some(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.transport.is_full() {
            ready!(self.poll_drained(context))?;
        }
        let piece = &data[..data.len().min(PIECE)];
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.transport.is_closing() {
            return Poll::Ready(Err(into_io(self.shared.inbox.take_reason())));
        }
        self.transport.write(piece);
        Poll::Ready(Ok(piece.len()))
    }

    /// Waits until the operating system has taken everything.
    fn poll_drained(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained.is_none() && self.transport.is_drained() {
            return Poll::Ready(Ok(()));
        }
        let drained = self.drained.get_or_insert_with(|| self.transport.drained());
        let outcome = ready!(Pin::new(drained).poll(context));
        self.drained = None;
        Poll::Ready(outcome.map_err(into_io))
    }

    /// Ends the writing half when everything is sent.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drained(context))?;
        self.transport.lose_write_connection();
        Poll::Ready(Ok(()))
    }
}

impl Drop for AsyncStream {
    fn drop(&mut self) {
        self.transport.lose_connection();
    }
}

impl fmt::Debug for AsyncStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Stream {
    /// Turns the connection into one that tasks poll.
    ///
    /// # Errors
    ///
    /// As [`run`](Stream::run).
    pub fn into_async(self, handle: &Handle) -> io::Result<AsyncStream> {
        let (receiving, shared) = Receiving::<PolledState, _>::new();
        let transport = self.run(handle, receiving)?;
        Ok(AsyncStream { shared, transport, drained: None })
    }
}

impl ClientEndpoint {
    /// Connects, and fires with a connection that tasks poll.
    ///
    /// # Errors
    ///
    /// As [`connect`](ClientEndpoint::connect).
    #[track_caller]
    pub fn connect_async(&self, handle: &Handle) -> Deferred<AsyncStream> {
        let (receiving, shared) = Receiving::<PolledState, _>::new();
        self.connect(handle, receiving)
            .add_callback(move |transport| Ok(AsyncStream { shared, transport, drained: None }))
    }
}

/// Creates a factory for a server whose connections are polled by tasks, for
/// [`ServerEndpoint::listen`](crate::ServerEndpoint::listen).
///
/// `serve` usually spawns a task and returns its Deferred. A failure of that, or a panic, is logged.
#[track_caller]
pub fn async_streams<O: Outcome<Value = ()>>(serve: impl Fn(AsyncStream) -> O + 'static) -> impl Factory {
    let (serve, place) = (Rc::new(serve), Location::caller());
    move |_: Address| {
        let serve = serve.clone();
        Receiving::begin_with(move |shared: Rc<PolledState>, transport| {
            let stream = AsyncStream { shared, transport, drained: None };
            drop(maybe_deferred_at(place, || serve(stream)).attributed_to(place));
        })
    }
}

/// The state of a connection that tasks poll.
#[derive(Default)]
struct PolledState {
    inbox: Inbox,
    /// The task that waits for bytes.
    reader: RefCell<Option<Waker>>,
}

impl Reader for PolledState {
    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn arrived(self: &Rc<Self>) {
        let reader = self.reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Returns false: a task takes the bytes that have arrived, and then waits for the next.
    fn wants_more(&self) -> bool {
        false
    }
}

/// Converts a failure, which stays on its thread, into an error that need not.
fn into_io(failure: Failure) -> io::Error {
    let kind = match failure.downcast_ref::<ConnectionLost>() {
        Some(lost) => lost.kind(),
        None if failure.is::<ConnectionAborted>() => io::ErrorKind::ConnectionAborted,
        None => io::ErrorKind::Other,
    };
    io::Error::new(kind, failure.to_string())
}
