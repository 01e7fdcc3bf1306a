//! Connections in the form that other libraries expect: polled by tasks.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;

use std::cell::{Cell, RefCell};
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

use crate::framing::Pending;
use crate::{
    Address, ClientEndpoint, ConnectionAborted, ConnectionDone, ConnectionLost, Factory, Protocol, Stream,
    Transport,
};

/// Reading pauses while this many received bytes are unread.
const READ_AHEAD: usize = 64 * 1024;

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
        let mut bytes = self.shared.bytes.borrow_mut();
        if bytes.len() > 0 {
            let count = read(bytes.as_slice());
            bytes.advance(count);
            bytes.compact();
            let empty = bytes.len() == 0;
            drop(bytes);
            if empty && self.transport.is_paused() {
                self.transport.resume_producing();
            }
            return Poll::Ready(Ok(count));
        }
        if self.shared.ended.get() {
            return Poll::Ready(Ok(0));
        }
        if self.shared.lost.get() {
            return Poll::Ready(Err(self.shared.reason()));
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
            return Poll::Ready(Err(self.shared.reason()));
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
        let shared = Rc::<PolledState>::default();
        let transport =
            self.run(handle, Polled { shared: shared.clone(), begin: None::<fn(AsyncStream)> })?;
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
        let shared = Rc::<PolledState>::default();
        let polled = Polled { shared: shared.clone(), begin: None::<fn(AsyncStream)> };
        self.connect(handle, polled)
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
        let begin = move |stream: AsyncStream| {
            drop(maybe_deferred_at(place, || serve(stream)).attributed_to(place));
        };
        Polled { shared: Rc::default(), begin: Some(begin) }
    }
}

#[derive(Default)]
struct PolledState {
    bytes: RefCell<Pending>,
    /// The task that waits for bytes.
    reader: RefCell<Option<Waker>>,
    /// Whether the peer has ended its half.
    ended: Cell<bool>,
    lost: Cell<bool>,
    /// The reason of the loss, for the first call that fails with it.
    reason: Cell<Option<io::Error>>,
}

impl PolledState {
    fn wake(&self) {
        let reader = self.reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn reason(&self) -> io::Error {
        self.reason.take().unwrap_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// The protocol of a connection that tasks poll.
struct Polled<F> {
    shared: Rc<PolledState>,
    /// Called when the connection is established.
    begin: Option<F>,
}

impl<F: FnOnce(AsyncStream) + 'static> Protocol for Polled<F> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.keeps_bytes();
        if let Some(begin) = self.begin.take() {
            let (shared, transport) = (self.shared.clone(), transport.clone());
            begin(AsyncStream { shared, transport, drained: None });
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let mut bytes = self.shared.bytes.borrow_mut();
        bytes.feed(data);
        if bytes.len() >= READ_AHEAD {
            transport.pause_producing();
        }
        drop(bytes);
        self.shared.wake();
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.shared.ended.set(true);
        self.shared.wake();
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
            self.shared.reason.set(Some(into_io(reason)));
        }
        self.shared.wake();
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
