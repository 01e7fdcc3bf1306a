//! The requests of one connection, one after another: each from its head to the end of its answer.
//!
//! Late answers, the ends of streamed bodies and the site's rounds come back to it by
//! [`Transport::enter`](twistor_net::Transport::enter).

pub(super) mod answer;
pub(super) mod answered;
mod answering;
mod asking;
mod name;
mod pace;
mod patience;
pub(super) mod request;
pub(super) mod response;

use std::cell::Cell;
use std::mem;
use std::rc::Rc;

use ::http::StatusCode;
use twistor_deferred::Canceller;
use twistor_net::{Address, Transport};

use self::answered::{AnswerRecord, Answered};
use self::asking::Collecting;
use self::name::RequestName;
use self::pace::{NEVER, Pace};
use self::request::RequestContext;
use self::response::{Body, Response};
use super::shared::SiteState;
use super::wire::body_reader::{BodyCut, Incoming};
use super::wire::body_writer::{BodyFraming, OutgoingBody};
use super::wire::encode::{self, Persistence};

/// The state of a connection, with the data that each state needs.
pub(super) enum ExchangePhase {
    /// A TLS handshake is under way, which has its own deadline.
    Opening,
    /// Between requests.
    Idle,
    /// Part of a head has arrived.
    Head,
    /// A body is being collected.
    Collecting(Box<Collecting>),
    /// The answer is under way, and perhaps the body that its handler reads.
    Answering(Work, Option<Rc<Incoming>>),
    /// The request is answered, and the rest of its body is read and dropped.
    Rest,
    /// The last answer is written. Further input is dropped, so that no reset keeps the client from reading it.
    Lingering,
    /// The connection is closing or gone.
    Closed,
}

/// The work on an answer.
pub(super) enum Work {
    /// The handler is being called.
    Handler,
    /// The Deferred that it returned is pending.
    Deferred(Canceller),
    /// A streamed body has not ended.
    Stream(Rc<OutgoingBody>, Option<Canceller>),
}

/// The facts about the current request that its answer depends on.
#[derive(Clone, Copy, Debug)]
struct RequestFacts {
    head_only: bool,
    http10: bool,
    keep_alive: bool,
    /// The whole request has arrived, read or not.
    complete: bool,
    /// The rest of the body is small and on its way, so it can be read and dropped.
    rest_is_small: bool,
}

impl RequestFacts {
    /// Between requests.
    const NONE: RequestFacts = RequestFacts {
        head_only: false,
        http10: false,
        keep_alive: true,
        complete: true,
        rest_is_small: false,
    };
}

/// The requests of one connection.
pub(super) struct Exchange {
    shared: Rc<SiteState>,
    pub(super) peer: Address,
    pub(super) phase: ExchangePhase,
    facts: RequestFacts,
    /// Counts the requests: a late result is compared with it, and never reaches a later request.
    serial: u64,
    pace: Pace,
    record: Option<Box<AnswerRecord>>,
    /// The name of the current request, if its answer may still fail.
    name: Cell<Option<RequestName>>,
    /// The client has ended its half of the connection.
    half_closed: bool,
    /// Input follows the request that is being answered.
    pub(super) has_more: bool,
}

impl Exchange {
    pub(super) fn new(shared: Rc<SiteState>, peer: Address) -> Exchange {
        Exchange {
            pace: Pace::new(shared.now()),
            shared,
            peer,
            phase: ExchangePhase::Opening,
            facts: RequestFacts::NONE,
            serial: 0,
            record: None,
            name: Cell::new(None),
            half_closed: false,
            has_more: false,
        }
    }

    /// Begins to wait for the first request.
    pub(super) fn begin(&mut self) {
        self.enter(ExchangePhase::Idle, self.shared.limits.head);
    }

    /// Begins the deadline of a head of which a part has arrived.
    pub(super) fn head_begun(&mut self) {
        self.enter(ExchangePhase::Head, self.shared.limits.head);
    }

    #[inline]
    fn enter(&mut self, phase: ExchangePhase, rounds: u64) {
        self.phase = phase;
        self.pace.deadline = self.shared.deadline(rounds);
    }

    fn place(&self) -> RequestContext<'_> {
        RequestContext { peer: &self.peer, handle: &self.shared.handle }
    }

    /// Whether the body is consumed as it arrives, so that nothing of it is kept.
    pub(super) fn takes_body(&self) -> bool {
        match &self.phase {
            ExchangePhase::Collecting(_) => true,
            ExchangePhase::Answering(_, Some(incoming)) => incoming.is_consumed(),
            _ => false,
        }
    }

    #[cfg(test)]
    pub(super) fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Writes the gathered answers.
    #[inline]
    pub(super) fn flush(&mut self, transport: &Transport, out: &mut Vec<u8>) {
        if !out.is_empty() {
            self.pace.written += out.len() as u64;
            transport.write(out);
            out.clear();
        }
    }

    /// Waits for the next request.
    #[inline]
    fn idle(&mut self) {
        self.facts = RequestFacts::NONE;
        self.name.set(None);
        self.enter(ExchangePhase::Idle, self.shared.limits.idle);
    }

    /// Closes the connection once everything is sent. A reset would cost a client that is still sending its
    /// answer, so for such a client this side half-closes and waits a while for the client to do the same.
    fn close(&mut self, transport: &Transport, client_sends: bool) {
        if client_sends && !self.half_closed {
            self.enter(ExchangePhase::Lingering, self.shared.limits.linger);
            transport.lose_write_connection();
            transport.resume_producing();
        } else {
            self.phase = ExchangePhase::Closed;
            transport.lose_connection();
        }
    }

    /// Refuses a request with a status, and closes the connection.
    pub(super) fn refuse(&mut self, transport: &Transport, status: StatusCode, out: &mut Vec<u8>) {
        let response = Response::of_status(status);
        let mut bytes = 0;
        if let Body::Owned(body) = &response.body {
            let framing = Some(BodyFraming::Length(body.len() as u64));
            encode::head(out, &response.head(), framing, Persistence::Close, &self.shared.date.get());
            if !self.facts.head_only {
                out.extend_from_slice(body);
                bytes = body.len();
            }
        }
        self.flush(transport, out);
        self.close(transport, true);
        match &mut self.record {
            Some(record) => {
                record.begin(status);
                record.wrote(bytes as u64);
                self.tell(true);
            }
            None => self.shared.tell(&Answered::of_none(&self.peer, status, bytes)),
        }
    }

    /// Notifies the watcher that the request is over, once for each request.
    #[inline]
    fn tell(&mut self, complete: bool) {
        if let Some(record) = self.record.take() {
            self.shared.tell(&record.answered(&self.peer, self.shared.handle.now(), complete));
        }
    }

    /// Cancels the work on an answer: the connection is lost, or will be closed without one.
    pub(super) fn give_up(&mut self) {
        self.pace.deadline = NEVER;
        if let ExchangePhase::Answering(work, incoming) = mem::replace(&mut self.phase, ExchangePhase::Closed)
        {
            match work {
                Work::Handler => {}
                Work::Deferred(canceller) => canceller.cancel(),
                Work::Stream(body, canceller) => {
                    self.streamed_so_far(&body);
                    body.close();
                    if let Some(canceller) = canceller {
                        canceller.cancel();
                    }
                }
            }
            if let Some(incoming) = incoming {
                incoming.end(Err(BodyCut.into()));
            }
        }
        self.tell(false);
    }

    /// Fails the body that a handler reads: its end will not arrive.
    fn cut_body(&mut self) {
        self.facts.rest_is_small = false;
        if let ExchangePhase::Answering(_, incoming) = &mut self.phase {
            if let Some(incoming) = incoming.take() {
                incoming.end(Err(BodyCut.into()));
            }
        }
    }

    /// Adds the bytes that a streamed body has written.
    fn streamed_so_far(&mut self, body: &OutgoingBody) {
        self.pace.written += body.written();
        if let Some(record) = &mut self.record {
            record.wrote(body.taken());
        }
    }
}
