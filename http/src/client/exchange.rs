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

/// How long a secured connection may take to send its goodbye.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Bytes of one read, unless it is of a body of which nothing is kept.
const READ_SIZE: usize = 64 * 1024;

/// The request on a connection, as the protocol sees it.
pub(super) trait Exchanging {
    /// The server has sent something.
    fn touch(&self);
    /// How much more is wanted of what the server sends.
    fn demand(&self) -> Demand;
    /// The head of a final response has come.
    fn head(self: Rc<Self>, head: &ResponseHead<'_>);
    /// The next bytes of the response's body.
    fn data(self: Rc<Self>, data: &[u8]);
    /// The exchange is over. The connection can carry another if it is `reusable`.
    fn ended(self: Rc<Self>, ending: Ending, reusable: bool);
}

/// The permission to have the socket open. Dropped when the socket is closed.
pub(super) trait Permit {
    /// The socket is connected.
    fn connected(&mut self);
}

/// A connection, as requests see it.
pub(super) struct ClientConnection {
    transport: OnceCell<Transport>,
    active: RefCell<Option<Rc<dyn Exchanging>>>,
    /// The request whose response the decoder does not expect yet.
    starting: RefCell<Option<(Method, Limits)>>,
    pub(super) opened: Instant,
    /// Whether it has carried a response before.
    used: Cell<bool>,
    /// How long the server keeps it idle, where it has said.
    kept_for: Cell<Option<Duration>>,
    /// Given up by this side, or lost.
    closed: Cell<bool>,
    /// Set for a connection whose close takes sending something.
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

    /// Asks the socket whether the server has sent something unasked, or closed.
    pub(super) fn is_silent(&self) -> bool {
        self.transport.get().is_some_and(Transport::is_silent)
    }

    /// How long it may be kept idle: as long as this side wants, and no longer than the server has announced, less a
    /// margin for the way of the next request.
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

    /// From now on, the request hears nothing of this connection.
    pub(super) fn detach(&self) -> Option<Rc<dyn Exchanging>> {
        self.active.borrow_mut().take()
    }

    /// Ends the connection now; unsent bytes are dropped.
    pub(super) fn abort(&self) {
        self.closed.set(true);
        if let Some(transport) = self.transport.get() {
            transport.abort_connection();
        }
    }

    /// Ends the connection gracefully, in bounded time. A request that is still being sent is aborted: the server has
    /// answered it, and may never read the rest.
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

    /// A peer that does not read could hold up a goodbye for ever.
    fn limit_goodbye(&self) {
        if let (Some(handle), Some(transport)) = (&self.says_goodbye, self.transport.get()) {
            let transport = transport.clone();
            handle.call_later(CLOSING_TIME, move || transport.abort_connection());
        }
    }
}

/// The protocol on that connection.
pub(super) struct ClientProtocol {
    connection: Rc<ClientConnection>,
    decoder: ResponseDecoder,
    /// Held for as long as the socket is open.
    permit: Option<Box<dyn Permit>>,
    reads_much: bool,
}

impl ClientProtocol {
    pub(super) fn new(connection: Rc<ClientConnection>, permit: Option<Box<dyn Permit>>) -> ClientProtocol {
        let decoder = ResponseDecoder::new(Limits::default());
        ClientProtocol { connection, decoder, permit, reads_much: false }
    }

    /// Sets whether one read may be as large as it can, since nothing of it has to be kept.
    fn read_much(&mut self, transport: &Transport, much: bool) {
        if much != self.reads_much {
            self.reads_much = much;
            transport.set_read_size(if much { Transport::LARGEST_READ } else { READ_SIZE });
        }
    }

    fn begin(&mut self) {
        if let Some((method, limits)) = self.connection.starting.borrow_mut().take() {
            self.decoder.set_limits(limits);
            self.decoder.start(&method);
        }
    }

    /// The end of the connection; `cause` is `None` for an orderly one.
    fn ended(&mut self, cause: Option<&Failure>) {
        self.begin();
        self.connection.closed.set(true);
        let Some(fetch) = self.connection.detach() else { return };
        let described = || match cause {
            Some(failure) => failure.to_string(),
            None => "the server closed the connection".to_owned(),
        };
        let ending = match self.decoder.eof() {
            // The end of the connection ends such a body, but a reset does not.
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
            let Some(fetch) = self.connection.active.borrow().clone() else {
                // Bytes that answer no request, or that nobody waits for any more.
                if !input.is_empty() {
                    self.connection.abort();
                }
                return Ok(());
            };
            let event = self.decoder.decode(&mut input);
            // Part of a head is no sign of life.
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
                    // More input would answer nothing, and a request that is still being sent was not read.
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
        Err(ConnectionDone.into())
    }

    fn connection_lost(&mut self, reason: Failure) {
        let clean = reason.is::<ConnectionDone>();
        // First, so that a request in a callback can have its place.
        drop(self.permit.take());
        self.ended(if clean { None } else { Some(&reason) });
    }
}

impl Drop for ClientProtocol {
    /// The reactor went away: the request and its connection hold each other.
    fn drop(&mut self) {
        self.connection.closed.set(true);
        drop(self.connection.detach());
    }
}

/// The `timeout` of a `Keep-Alive` field, in seconds.
fn announced_time(field: &[u8]) -> Option<Duration> {
    let seconds = field.split(|&byte| byte == b',').find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(parameter.iter().position(|&byte| byte == b'=')?)?;
        name.trim_ascii().eq_ignore_ascii_case(b"timeout").then(|| value[1..].trim_ascii())
    })?;
    std::str::from_utf8(seconds).ok()?.parse().ok().map(Duration::from_secs)
}
