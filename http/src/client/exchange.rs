//! The client's side of one connection: one exchange of a request and a response at a time.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ::http::Method;
use twistor_deferred::Failure;
use twistor_net::{ConnectionDone, Protocol, Transport};
use twistor_reactor::Handle;

use super::sink::{Demand, Ending};
use crate::{Eof, Limits, ResponseDecoder, ResponseEvent, ResponseHead};

/// How long a secured connection may take to send close_notify.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// The size of one read, unless nothing of the body has to be kept.
const READ_SIZE: usize = 64 * 1024;

/// The request on a connection, as the protocol uses it.
pub(super) trait Exchanging {
    /// Records that the server has sent something.
    fn touch(&self);
    /// Returns how much data is wanted.
    fn demand(&self) -> Demand;
    /// Handles the head of a final response.
    fn head(self: Rc<Self>, head: &ResponseHead<'_>);
    /// Handles the next bytes of the response's body.
    fn data(self: Rc<Self>, data: &[u8]);
    /// Handles the end of the exchange. The connection can carry another one if it is `reusable`.
    fn ended(self: Rc<Self>, ending: Ending, reusable: bool);
}

/// The permission to have the socket open. It is dropped when the socket is closed.
pub(super) trait Permit {
    /// Records that the socket is connected.
    fn connected(&mut self);
}

/// A connection, as requests use it.
pub(super) struct ClientConnection {
    transport: OnceCell<Transport>,
    active: RefCell<Option<Rc<dyn Exchanging>>>,
    /// The request whose response the decoder does not expect yet.
    starting: RefCell<Option<(Method, Limits)>>,
    pub(super) opened: Instant,
    /// Whether it has carried a response.
    used: Cell<bool>,
    /// How long the server keeps it idle, if it has announced that.
    kept_for: Cell<Option<Duration>>,
    /// Closed by this side, or lost.
    closed: Cell<bool>,
    /// Set if closing the connection sends data (close_notify).
    says_goodbye: Option<Handle>,
}

impl ClientConnection {
    pub(super) fn new(now: Instant, says_goodbye: Option<Handle>) -> Rc<ClientConnection> {
        Rc::new(ClientConnection {
            transport: OnceCell::new(),
            active: RefCell::new(None),
            starting: RefCell::new(None),
            opened: now,
            used: Cell::new(false),
            kept_for: Cell::new(None),
            closed: Cell::new(false),
            says_goodbye,
        })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.closed.get() && self.transport.get().is_some_and(|transport| !transport.is_closing())
    }

    /// Checks whether the server has sent unexpected data, or closed.
    pub(super) fn is_silent(&self) -> bool {
        self.transport.get().is_some_and(Transport::is_silent)
    }

    /// Returns how long it may be kept idle: at most as long as this side wants, and as the server has
    /// announced, less a margin for the way of the next request.
    pub(super) fn keep_time(&self, wanted: Duration) -> Duration {
        let Some(announced) = self.kept_for.get() else { return wanted };
        wanted.min(announced - (announced / 2).min(Duration::from_secs(1)))
    }

    pub(super) fn transport(&self) -> Option<&Transport> {
        self.transport.get()
    }

    /// Sends a request. Returns false if the connection is gone.
    pub(super) fn send(
        &self,
        fetch: Rc<dyn Exchanging>,
        method: Method,
        limits: Limits,
        request: Vec<u8>,
    ) -> bool {
        let Some(transport) = self.transport.get().filter(|_| self.is_usable()) else { return false };
        self.starting.replace(Some((method, limits)));
        self.active.replace(Some(fetch));
        transport.write_vec(request)
    }

    /// Detaches the request, which is no longer notified.
    pub(super) fn detach(&self) -> Option<Rc<dyn Exchanging>> {
        self.active.borrow_mut().take()
    }

    /// Ends the connection now. Unsent bytes are dropped.
    pub(super) fn abort(&self) {
        self.closed.set(true);
        if let Some(transport) = self.transport.get() {
            transport.abort_connection();
        }
    }

    /// Ends the connection gracefully, in limited time. A request that is still being sent is aborted,
    /// because the server has answered it and may never read the rest.
    pub(super) fn close(&self) {
        let Some(transport) = self.transport.get() else { return self.closed.set(true) };
        if !transport.is_drained() {
            return self.abort();
        }
        if self.closed.replace(true) {
            return;
        }
        transport.lose_connection();
        self.limit_goodbye();
    }

    /// Limits the time of the close, because a peer that does not read could delay close_notify for ever.
    fn limit_goodbye(&self) {
        if let (Some(handle), Some(transport)) = (&self.says_goodbye, self.transport.get()) {
            let transport = transport.clone();
            handle.call_later(CLOSING_TIME, move || transport.abort_connection());
        }
    }
}

/// The protocol of that connection.
pub(super) struct ClientProtocol {
    connection: Rc<ClientConnection>,
    decoder: ResponseDecoder,
    /// Held as long as the socket is open.
    permit: Option<Box<dyn Permit>>,
    reads_much: bool,
}

impl ClientProtocol {
    pub(super) fn new(connection: Rc<ClientConnection>, permit: Option<Box<dyn Permit>>) -> ClientProtocol {
        let decoder = ResponseDecoder::new(Limits::default());
        ClientProtocol { connection, decoder, permit, reads_much: false }
    }

    /// Sets whether reads may be large, since nothing of them has to be kept.
    fn read_much(&mut self, transport: &Transport, much: bool) {
        if much != self.reads_much {
            self.reads_much = much;
            transport.set_read_size(if much { Transport::LARGEST_READ } else { READ_SIZE });
        }
    }

    /// Prepares the decoder for the response to the last request. This waits for the first bytes or the end, because the
    /// request may be sent while a method of this protocol runs.
    fn begin(&mut self) {
        if let Some((method, limits)) = self.connection.starting.borrow_mut().take() {
            self.decoder.set_limits(limits);
            self.decoder.start(&method);
        }
    }

    /// Handles the end of the connection. `cause` is `None` for a clean end.
    fn ended(&mut self, cause: Option<&Failure>) {
        self.begin();
        self.connection.closed.set(true);
        let Some(fetch) = self.connection.detach() else { return };
        let described = || match cause {
            Some(failure) => failure.to_string(),
            None => "the server closed the connection".to_owned(),
        };
        let ending = match self.decoder.eof() {
            // A clean end completes a body without a length; a reset does not.
            Ok(Eof::Complete) if cause.is_none() => Ending::Complete,
            Ok(Eof::Complete) => Ending::Cut { expected: None, cause: described() },
            Ok(Eof::InBody { expected, .. }) => Ending::Cut { expected, cause: described() },
            Ok(Eof::InHead) => Ending::NoResponse { partial: true, stale: false, cause: described() },
            Ok(Eof::Nothing | Eof::Idle) => {
                Ending::NoResponse { partial: false, stale: self.connection.used.get(), cause: described() }
            }
            Err(error) => Ending::Failed(error.into_failure()),
        };
        fetch.ended(ending, false);
    }
}

impl Protocol for ClientProtocol {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = self.connection.transport.set(transport.clone());
        if let Some(permit) = &mut self.permit {
            permit.connected();
        }
        transport.set_read_size(READ_SIZE);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.begin();
        let mut input = data;
        let mut touched = false;
        loop {
            // Looked up for each event, because the event before may have ended the request.
            let Some(fetch) = self.connection.active.borrow().clone() else {
                // Bytes that belong to no request, or to one that was given up.
                if !input.is_empty() {
                    self.connection.abort();
                }
                return Ok(());
            };
            let event = self.decoder.decode(&mut input);
            // Part of a head is not a sign of life.
            if matches!(event, Ok(Some(_))) && !std::mem::replace(&mut touched, true) {
                fetch.touch();
            }
            match event {
                Ok(None) => {
                    let demand = fetch.demand();
                    if demand == Demand::None {
                        transport.pause_producing();
                    }
                    self.read_much(transport, demand == Demand::Much);
                    return Ok(());
                }
                Ok(Some(ResponseEvent::Interim(_))) => {}
                Ok(Some(ResponseEvent::Head(head))) => {
                    if self.permit.is_some() && head.keep_alive {
                        self.connection.kept_for.set(head.headers.get("keep-alive").and_then(announced_time));
                    }
                    fetch.head(&head);
                }
                Ok(Some(ResponseEvent::Body(bytes))) => fetch.data(bytes),
                Ok(Some(ResponseEvent::End(_))) => {
                    // More input would belong to no request, and an incompletely sent request was not read.
                    let whole = input.is_empty() && transport.is_drained();
                    let reusable = self.decoder.keep_alive() && whole;
                    self.decoder.release();
                    self.read_much(transport, false);
                    drop(self.connection.detach());
                    self.connection.used.set(true);
                    fetch.ended(Ending::Complete, reusable);
                    return Ok(());
                }
                Err(error) => {
                    drop(self.connection.detach());
                    self.connection.abort();
                    fetch.ended(Ending::Failed(error.into_failure()), false);
                    return Ok(());
                }
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.ended(None);
        if !transport.is_drained() {
            transport.abort_connection();
        }
        self.connection.limit_goodbye();
        // A connection on which the server sends nothing more has no further use.
        Err(ConnectionDone.into())
    }

    fn connection_lost(&mut self, reason: Failure) {
        let clean = reason.is::<ConnectionDone>();
        // First, so that a request made in a callback can take its place.
        drop(self.permit.take());
        self.ended(if clean { None } else { Some(&reason) });
    }
}

impl Drop for ClientProtocol {
    /// Breaks the reference cycle between the request and its connection, if the reactor is gone.
    fn drop(&mut self) {
        self.connection.closed.set(true);
        drop(self.connection.detach());
    }
}

/// Returns the `timeout` of a `Keep-Alive` field, in seconds.
fn announced_time(field: &[u8]) -> Option<Duration> {
    let seconds = field.split(|&byte| byte == b',').find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(parameter.iter().position(|&byte| byte == b'=')?)?;
        name.trim_ascii().eq_ignore_ascii_case(b"timeout").then(|| value[1..].trim_ascii())
    })?;
    std::str::from_utf8(seconds).ok()?.parse().ok().map(Duration::from_secs)
}
