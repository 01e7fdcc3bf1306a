//! What there is to know of one connection outside its protocol: where it stands, and the request under way. Answers
//! that come later, streams and the site's rounds find the connection through this.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

use ::http::StatusCode;
use twistor_deferred::{Canceller, Deferred, Failure, Panicked, maybe_deferred};

use super::answered::Asked;
use super::encode::{self, Persistence};
use super::incoming::{BodyCut, BodyRefused, Incoming};
use super::response::{Body, Start};
use super::site::SiteCore;
use super::writer::{BodyWriter, Framing, Outgoing};
use super::{Answer, Response, StatusError};
use crate::{Address, HandlerPanicked, Transport};

/// Up to this size a body is copied behind its head, and both go out in one piece with what was there before.
const SMALL_BODY: usize = 8 * 1024;

/// From this size on a body is handed over instead of copied when the client does not read fast enough.
const LARGE_BODY: usize = 128 * 1024;

/// The round that does not come.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no connection yet: TLS is being agreed on, which has a limit of its own.
    Opening,
    /// Between requests.
    Idle,
    /// Part of a head has come.
    Head,
    /// A body is being collected.
    Body,
    /// A request is being answered.
    Answering,
    /// The request is answered, and what is left of its body thrown away.
    Rest,
    /// All is said. What the client still sends is thrown away, so that it gets to read the answer.
    Lingering,
    /// The connection is closing or gone.
    Closed,
}

/// The request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) head_only: bool,
    pub(super) http10: bool,
    pub(super) keep_alive: bool,
    /// The request has come whole, or is there to be taken in.
    pub(super) complete: bool,
    /// What has not come yet is little, and will come: it can be read and thrown away.
    pub(super) rest_is_small: bool,
}

impl Exchange {
    /// Between requests.
    pub(super) const NONE: Exchange =
        Exchange { head_only: false, http10: false, keep_alive: true, complete: true, rest_is_small: false };
}

pub(super) struct Channel {
    pub(super) site: Rc<SiteCore>,
    pub(super) peer: Address,
    transport: OnceCell<Transport>,
    pub(super) key: Cell<usize>,
    pub(super) phase: Cell<Phase>,
    /// The round in which the phase has lasted too long.
    pub(super) deadline: Cell<u64>,
    /// Bytes of the body that came since the deadline was set: they put it off.
    pub(super) received: Cell<u64>,
    pub(super) exchange: Cell<Exchange>,
    pub(super) canceller: Cell<Option<Canceller>>,
    pub(super) incoming: RefCell<Option<Rc<Incoming>>>,
    stream: RefCell<Option<Rc<Outgoing>>>,
    pub(super) asked: RefCell<Option<Box<Asked>>>,
    /// The client has ended its half of the connection.
    pub(super) half_closed: Cell<bool>,
    /// Something came behind the request that is being answered.
    pub(super) has_more: Cell<bool>,
    /// Bytes handed to the transport so far, and how many of them had gone out in which round.
    pub(super) written: Cell<u64>,
    pub(super) progress: Cell<(u64, u64)>,
}

impl Channel {
    pub(super) fn new(site: Rc<SiteCore>, peer: Address) -> Channel {
        Channel {
            deadline: Cell::new(NEVER),
            progress: Cell::new((0, site.deadline(0))),
            site,
            peer,
            transport: OnceCell::new(),
            key: Cell::new(usize::MAX),
            phase: Cell::new(Phase::Opening),
            received: Cell::new(0),
            exchange: Cell::new(Exchange::NONE),
            canceller: Cell::default(),
            incoming: RefCell::default(),
            stream: RefCell::default(),
            asked: RefCell::default(),
            half_closed: Cell::new(false),
            has_more: Cell::new(false),
            written: Cell::new(0),
        }
    }

    pub(super) fn connected(&self, transport: &Transport) {
        let _ = self.transport.set(transport.clone());
        if self.phase.get() == Phase::Opening {
            self.enter(Phase::Idle, self.site.limits.head);
        } else {
            // The site has come to its end meanwhile.
            transport.lose_connection();
        }
    }

    #[inline]
    pub(super) fn transport(&self) -> &Transport {
        self.transport.get_or_init(Transport::lost)
    }

    pub(super) fn is_secured(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.transport().tls().is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    #[inline]
    pub(super) fn enter(&self, phase: Phase, rounds: u64) {
        self.phase.set(phase);
        self.deadline.set(self.site.deadline(rounds));
    }

    /// Writes slices behind one another.
    pub(super) fn send(&self, slices: &[&[u8]]) -> bool {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        self.written.set(self.written.get() + length as u64);
        self.transport().write_all(slices)
    }

    /// Writes bytes that are kept if they do not go out at once.
    pub(super) fn send_vec(&self, data: Vec<u8>) -> bool {
        self.written.set(self.written.get() + data.len() as u64);
        self.transport().write_vec(data)
    }

    /// Writes what has been gathered.
    #[inline]
    pub(super) fn flush(&self, out: &mut Vec<u8>) {
        if !out.is_empty() {
            self.written.set(self.written.get() + out.len() as u64);
            self.transport().write(out);
            out.clear();
        }
    }

    /// Tells the client to send the body, unless the answer is on its way.
    pub(super) fn send_continue(&self) {
        if self.phase.get() == Phase::Answering && self.stream.borrow().is_none() {
            self.send(&[encode::CONTINUE]);
        }
    }

    /// Gives the client time to send a body, and once for each. While its reader holds it up, the site's rounds put the
    /// deadline off, and no more than that: else a client could have the time anew for each byte.
    pub(super) fn await_body(&self) {
        self.received.set(0);
        self.deadline.set(self.site.deadline(self.site.limits.body));
    }

    /// Gives a client that has ended its half, and may be gone, time to show that it is there by taking something.
    pub(super) fn await_sign_of_life(&self) {
        self.deadline.set(self.site.deadline(self.site.limits.half_closed));
    }

    /// Does with an answer what is to be done. `rest`: there is more input behind the request.
    #[inline]
    pub(super) fn answer(self: &Rc<Self>, answer: Answer, out: &mut Vec<u8>, rest: bool) {
        match answer {
            Answer::Now(response) => self.respond(response, out, rest),
            Answer::Failed(failure) => self.respond(of_failure(failure), out, rest),
            Answer::Later(deferred) => {
                // It may fire here and now, and its answer must not overtake those before.
                self.flush(out);
                self.has_more.set(rest);
                let channel = Rc::downgrade(self);
                self.wait_for(deferred, move |result| {
                    if let Some(channel) = channel.upgrade() {
                        channel.answered(result);
                    }
                });
            }
        }
    }

    /// Has `done` called with the result, unless the client leaves before: then it is cancelled, and the result is
    /// nobody's.
    fn wait_for<T: 'static>(
        self: &Rc<Self>,
        deferred: Deferred<T>,
        done: impl FnOnce(Result<T, Failure>) + 'static,
    ) {
        self.phase.set(Phase::Answering);
        if self.half_closed.get() {
            self.await_sign_of_life();
        } else if self.exchange.get().complete {
            self.deadline.set(NEVER);
        }
        self.canceller.set(Some(deferred.canceller()));
        let channel = Rc::downgrade(self);
        drop(deferred.add_both(move |result| {
            let channel = channel.upgrade().filter(|channel| channel.phase.get() == Phase::Answering);
            if let Some(channel) = channel {
                channel.canceller.take();
                done(result);
            }
        }));
    }

    fn answered(self: &Rc<Self>, result: Result<Response, Failure>) {
        let response = result.unwrap_or_else(of_failure);
        let mut out = self.site.out.take();
        self.respond(response, &mut out, self.has_more.get());
        self.flush(&mut out);
        self.site.put_back(out);
        self.reading_goes_on();
    }

    /// Has the protocol called for what it kept back, or for what comes.
    fn reading_goes_on(&self) {
        if self.phase.get() != Phase::Answering {
            self.transport().resume_producing();
        }
    }

    /// Writes a response, or its beginning.
    fn respond(self: &Rc<Self>, response: Response, out: &mut Vec<u8>, rest: bool) {
        let response = match response.fault {
            Some(failure) => of_failure(failure),
            None if response.status.is_informational() => {
                of_failure(Failure::new(format!("{} is no final answer", response.status)))
            }
            None => response,
        };
        let response = if response.status == StatusCode::RESET_CONTENT {
            Response { body: Body::Static(b""), content_type: None, ..response }
        } else {
            response
        };
        let mut exchange = self.exchange.get();
        let unread = !exchange.complete && !exchange.rest_is_small;
        let stays = exchange.keep_alive && !unread && !self.half_closed.get() && !self.site.is_draining();
        exchange.keep_alive = stays && !response.close;
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match &response.body {
            _ if bodiless => None,
            Body::Static(bytes) => Some(Framing::Length(bytes.len() as u64)),
            Body::Owned(bytes) => Some(Framing::Length(bytes.len() as u64)),
            Body::Stream { length: Some(length), .. } => Some(Framing::Length(*length)),
            Body::Stream { length: None, .. } if !exchange.http10 => Some(Framing::Chunked),
            Body::Stream { length: None, .. } => {
                exchange.keep_alive = false;
                Some(Framing::ToEnd)
            }
        };
        self.exchange.set(exchange);
        let persistence = match (exchange.keep_alive, exchange.http10) {
            (true, false) => Persistence::Default,
            (true, true) => Persistence::KeepAlive,
            (false, _) => Persistence::Close,
        };
        encode::head(out, &response, framing, persistence, &self.site.date.get());
        self.begun(response.status);
        match (response.body, framing) {
            (Body::Stream { start, .. }, Some(framing)) if !exchange.head_only => {
                return self.start_stream(start, framing, out, rest);
            }
            (Body::Static(bytes), Some(_)) if !exchange.head_only => self.put(bytes, out),
            (Body::Owned(bytes), Some(_)) if !exchange.head_only => {
                if bytes.len() < LARGE_BODY {
                    self.put(&bytes, out);
                } else {
                    self.wrote(bytes.len());
                    self.flush(out);
                    self.send_vec(bytes);
                }
            }
            _ => {}
        }
        self.over(out, rest);
    }

    fn put(&self, body: &[u8], out: &mut Vec<u8>) {
        self.wrote(body.len());
        if body.len() <= SMALL_BODY {
            out.extend_from_slice(body);
        } else {
            self.send(&[out, body]);
            out.clear();
        }
    }

    fn start_stream(self: &Rc<Self>, start: Start, framing: Framing, out: &mut Vec<u8>, rest: bool) {
        self.has_more.set(rest);
        let stream = Outgoing::new(framing, out.clone());
        out.clear();
        self.stream.replace(Some(stream.clone()));
        self.phase.set(Phase::Answering);
        let writer = BodyWriter::new(self, stream.clone());
        let body = maybe_deferred(move || start(writer));
        let (channel, ending) = (Rc::downgrade(self), stream.clone());
        self.wait_for(body, move |result| {
            if let Some(channel) = channel.upgrade() {
                channel.stream.take();
                channel.streamed(&ending, result);
            }
        });
        stream.send_head(self);
    }

    fn streamed(self: &Rc<Self>, stream: &Outgoing, result: Result<(), Failure>) {
        let result = result.and_then(|()| Ok(stream.finish(self)?));
        if let Err(failure) = result {
            stream.close(self);
            if self.transport().is_closing() {
                log::debug!("the client left in the middle of a response: {failure:#}");
            } else {
                log::error!("the body of a response was cut short: {failure:#}{}", Place(&failure));
            }
            self.phase.set(Phase::Closed);
            self.transport().abort_connection();
            return self.told(false);
        }
        let mut out = Vec::new();
        self.over(&mut out, self.has_more.get());
        self.reading_goes_on();
    }

    /// The response is written: what comes now.
    fn over(&self, out: &mut Vec<u8>, rest: bool) {
        // Before the connection counts as idle: whoever is told may stop the site.
        self.told(true);
        let exchange = self.exchange.get();
        if !exchange.complete {
            // Whoever still has the body gets no more of it.
            self.flush(out);
            self.cut_body();
        }
        // What began as a connection to keep may have changed since the head was written.
        if !exchange.keep_alive || self.half_closed.get() || self.site.is_draining() {
            self.flush(out);
            self.close(rest || !exchange.complete);
        } else if exchange.complete {
            self.idle();
        } else {
            self.received.set(0);
            self.enter(Phase::Rest, self.site.limits.body);
        }
    }

    /// Waits for the next request.
    #[inline]
    pub(super) fn idle(&self) {
        self.exchange.set(Exchange::NONE);
        self.enter(Phase::Idle, self.site.limits.idle);
    }

    /// Closes the connection after what was written. A client that is still sending would get a reset, and with it
    /// lose the answer; so there this side ends its half, and waits a while for the client to end its own.
    pub(super) fn close(&self, client_sends: bool) {
        if client_sends && !self.half_closed.get() {
            self.enter(Phase::Lingering, self.site.limits.linger);
            self.transport().lose_write_connection();
            self.transport().resume_producing();
        } else {
            self.phase.set(Phase::Closed);
            self.transport().lose_connection();
        }
    }

    /// Answers what is no request, and closes the connection.
    pub(super) fn refuse(&self, status: StatusCode, out: &mut Vec<u8>) {
        let response = Response::of_status(status);
        let mut bytes = 0;
        if let Body::Owned(body) = &response.body {
            let framing = Some(Framing::Length(body.len() as u64));
            encode::head(out, &response, framing, Persistence::Close, &self.site.date.get());
            if !self.exchange.get().head_only {
                out.extend_from_slice(body);
                bytes = body.len();
            }
        }
        self.flush(out);
        self.close(true);
        if self.asked.borrow().is_some() {
            self.begun(status);
            self.wrote(bytes);
            self.told(true);
        } else {
            self.told_of_none(status, bytes);
        }
    }

    /// The connection is gone, or will be without an answer: whoever works on one is told.
    pub(super) fn give_up(&self) {
        self.phase.set(Phase::Closed);
        self.deadline.set(NEVER);
        let stream = self.stream.take();
        if let Some(stream) = stream {
            stream.close(self);
        }
        if let Some(canceller) = self.canceller.take() {
            canceller.cancel();
        }
        self.cut_body();
        self.told(false);
    }

    /// The end of the body will not come.
    pub(super) fn cut_body(&self) {
        let incoming = self.incoming.take();
        self.exchange.set(Exchange { rest_is_small: false, ..self.exchange.get() });
        if let Some(incoming) = incoming {
            incoming.end(Err(BodyCut.into()));
        }
    }
}

/// What a client gets for a failure. Only what was meant for it tells it anything; the rest is for the log.
fn of_failure(failure: Failure) -> Response {
    if let Some(error) = failure.check::<StatusError>() {
        return error.response();
    }
    if let Some(refused) = failure.check::<BodyRefused>() {
        return Response::of_status(refused.status());
    }
    if failure.is::<BodyCut>() {
        return Response::of_status(StatusCode::REQUEST_TIMEOUT);
    }
    log::error!("a request failed: {failure:#}{}", Place(&failure));
    Response::of_status(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Where a failure comes from, unless its text says that.
struct Place<'a>(&'a Failure);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is::<HandlerPanicked>() || self.0.is::<Panicked>() {
            return Ok(());
        }
        write!(f, " (made at {})", self.0.user_location())
    }
}
