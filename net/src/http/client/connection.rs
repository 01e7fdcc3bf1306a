//! The client's side of one connection: one request under way at a time.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

use ::http::Method;
use twistor_deferred::Failure;

use super::destination::{Appetite, Ending};
use super::fetch::Fetch;
use super::pool::Place;
use crate::http::{Eof, Limits, ResponseDecoder, ResponseEvent};
use crate::{ConnectionDone, Protocol, Transport};

/// A connection, as the requests and the pool see it.
pub(super) struct Connection {
    transport: OnceCell<Transport>,
    active: RefCell<Option<Rc<Fetch>>>,
    /// The request whose response the decoder has not been told of.
    starting: RefCell<Option<(Method, Limits)>>,
    /// Where it belongs; nowhere if it is for one request alone.
    place: Option<Weak<Place>>,
    pub(super) opened: Instant,
    /// Whether it has carried a response before.
    pub(super) used: Cell<bool>,
    closed: Cell<bool>,
}

impl Connection {
    pub(super) fn new(place: Option<Weak<Place>>, now: Instant) -> Rc<Connection> {
        Rc::new(Connection {
            transport: OnceCell::new(),
            active: RefCell::new(None),
            starting: RefCell::new(None),
            place,
            opened: now,
            used: Cell::new(false),
            closed: Cell::new(false),
        })
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.closed.get() && self.transport.get().is_some_and(|transport| !transport.is_closing())
    }

    pub(super) fn transport(&self) -> Option<&Transport> {
        self.transport.get()
    }

    /// Sends a request. False if the connection is gone.
    pub(super) fn send(&self, fetch: Rc<Fetch>, method: Method, limits: Limits, request: Vec<u8>) -> bool {
        let Some(transport) = self.transport.get().filter(|_| self.is_usable()) else { return false };
        self.starting.replace(Some((method, limits)));
        self.active.replace(Some(fetch));
        transport.write_vec(request)
    }

    /// The request is not to be told of anything any more.
    pub(super) fn detach(&self) -> Option<Rc<Fetch>> {
        self.active.borrow_mut().take()
    }

    /// Ends the connection: what is still to be sent or read, nobody wants.
    pub(super) fn abort(&self) {
        if let Some(transport) = self.transport.get() {
            transport.abort_connection();
        }
        self.gone();
    }

    /// Ends the connection in order.
    pub(super) fn close(&self) {
        if let Some(transport) = self.transport.get() {
            transport.lose_connection();
        }
        self.gone();
    }

    /// Nobody sends a request after all.
    pub(super) fn unwanted(self: &Rc<Self>) {
        self.spare(true);
    }

    /// The response is over.
    fn finish(self: &Rc<Self>, reusable: bool) {
        self.used.set(true);
        self.spare(reusable);
    }

    fn spare(self: &Rc<Self>, reusable: bool) {
        match self.place.as_ref().and_then(Weak::upgrade) {
            Some(place) if reusable && self.is_usable() => place.release(self.clone()),
            _ => self.close(),
        }
    }

    fn gone(&self) {
        if !self.closed.replace(true) {
            if let Some(place) = self.place.as_ref().and_then(Weak::upgrade) {
                place.closed(self);
            }
        }
    }
}

/// The protocol on that connection.
pub(super) struct ClientProtocol {
    connection: Rc<Connection>,
    decoder: ResponseDecoder,
}

impl ClientProtocol {
    pub(super) fn new(connection: Rc<Connection>) -> ClientProtocol {
        ClientProtocol { connection, decoder: ResponseDecoder::new(Limits::default()) }
    }

    fn begin(&mut self) {
        if let Some((method, limits)) = self.connection.starting.borrow_mut().take() {
            self.decoder.set_limits(limits);
            self.decoder.start(&method);
        }
    }

    /// The connection is over: `None` where its end was in order.
    fn ended(&mut self, cause: Option<&Failure>) {
        self.begin();
        self.connection.gone();
        let Some(fetch) = self.connection.detach() else { return };
        let told = || match cause {
            Some(failure) => failure.to_string(),
            None => "the server closed the connection".to_owned(),
        };
        let ending = match self.decoder.eof() {
            // The end of the connection ends such a body, but a reset is none.
            Ok(Eof::Complete) if cause.is_none() => Ending::Complete,
            Ok(Eof::Complete) => Ending::Cut { expected: None, cause: told() },
            Ok(Eof::InBody { expected, .. }) => Ending::Cut { expected, cause: told() },
            Ok(Eof::InHead) => Ending::NoResponse { partial: true, stale: false, cause: told() },
            Ok(Eof::Nothing | Eof::Idle) => {
                Ending::NoResponse { partial: false, stale: self.connection.used.get(), cause: told() }
            }
            Err(error) => Ending::Failed(error.into_failure()),
        };
        fetch.ended(ending);
    }
}

impl Protocol for ClientProtocol {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = self.connection.transport.set(transport.clone());
        transport.read_little();
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
                    match fetch.appetite() {
                        Appetite::None => transport.pause_producing(),
                        Appetite::Little => {}
                        Appetite::Much => transport.read_much(),
                    }
                    return Ok(());
                }
                Ok(Some(ResponseEvent::Interim(_))) => {}
                Ok(Some(ResponseEvent::Head(head))) => fetch.head(&self.connection, &head),
                Ok(Some(ResponseEvent::Body(bytes))) => fetch.data(bytes),
                Ok(Some(ResponseEvent::End(_))) => {
                    // More input would answer nothing, and a request that is still being sent was not read.
                    let whole = input.is_empty() && transport.buffered() == 0;
                    let reusable = self.decoder.keep_alive() && whole;
                    self.decoder.release();
                    drop(self.connection.detach());
                    self.connection.finish(reusable);
                    fetch.ended(Ending::Complete);
                    return Ok(());
                }
                Err(error) => {
                    drop(self.connection.detach());
                    self.connection.abort();
                    fetch.ended(Ending::Failed(error.into_failure()));
                    return Ok(());
                }
            }
        }
    }

    fn read_connection_lost(&mut self, _transport: &Transport) -> Result<(), Failure> {
        self.ended(None);
        Err(ConnectionDone.into())
    }

    fn connection_lost(&mut self, reason: Failure) {
        let clean = reason.is::<ConnectionDone>();
        self.ended(if clean { None } else { Some(&reason) });
    }
}

impl Drop for ClientProtocol {
    /// The reactor went away: the request and its connection hold each other.
    fn drop(&mut self) {
        self.connection.gone();
        drop(self.connection.detach());
    }
}
