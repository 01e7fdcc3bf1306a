//! The answer to a request: at once, when a Deferred fires, or piece by piece.

use std::fmt;
use std::mem;

use ::http::StatusCode;
use twistor_deferred::{Failure, maybe_deferred};
use twistor_net::{HandlerPanicked, Transport};

use super::answer::{Answer, StatusError};
use super::name::RequestName;
use super::pace::NEVER;
use super::response::{Body, Response, Start};
use super::{Exchange, ExchangePhase, Work};
use crate::server::wire::body_reader::{BodyCut, BodyRefused};
use crate::server::wire::body_writer::{BodyFraming, BodyWriter, OutgoingBody};
use crate::server::wire::encode::{self, Persistence};

/// Bodies up to this size are copied after their head, so that one write sends all gathered answers.
const SMALL_BODY: usize = 8 * 1024;

/// Bodies from this size on are handed to the transport, which keeps an unsent rest without copying it.
const LARGE_BODY: usize = 128 * 1024;

impl Exchange {
    /// Writes the answer, or waits for it. `rest`: whether input follows the request.
    #[inline]
    pub(super) fn answer(&mut self, transport: &Transport, answer: Answer, out: &mut Vec<u8>, rest: bool) {
        match answer {
            Answer::Now(response) => self.respond(transport, response, out, rest),
            Answer::Failed(failure) => self.respond_to(transport, Err(failure), out, rest),
            Answer::Later(deferred) => match deferred.try_result() {
                Ok(result) => self.respond_to(transport, result, out, rest),
                Err(deferred) => {
                    self.has_more = rest;
                    self.wait(Work::Deferred(deferred.canceller()));
                    let (transport, serial) = (transport.clone(), self.serial);
                    drop(deferred.add_both(move |result| {
                        transport.enter(move |exchange: &mut Exchange, transport: &Transport| {
                            exchange.answered(transport, serial, result);
                            Ok(())
                        });
                    }));
                }
            },
        }
    }

    /// Writes the answer that has fired, unless the client of that request has left.
    pub(in crate::server) fn answered(
        &mut self,
        transport: &Transport,
        serial: u64,
        result: Result<Response, Failure>,
    ) {
        if serial != self.serial || !matches!(self.phase, ExchangePhase::Answering(Work::Deferred(_), _)) {
            return;
        }
        let mut out = self.shared.out.take();
        self.respond_to(transport, result, &mut out, self.has_more);
        self.flush(transport, &mut out);
        self.shared.put_back(out);
        self.go_on_reading(transport);
    }

    /// Enters the phase of an answer under way.
    fn wait(&mut self, work: Work) {
        match &mut self.phase {
            ExchangePhase::Answering(before, _) => *before = work,
            phase => *phase = ExchangePhase::Answering(work, None),
        }
        if self.half_closed {
            self.await_sign_of_life();
        } else if self.facts.complete {
            self.pace.deadline = NEVER;
        }
    }

    /// Resumes reading once the answer is written: the next request may be waiting.
    fn go_on_reading(&self, transport: &Transport) {
        if !matches!(self.phase, ExchangePhase::Answering(..)) {
            transport.resume_producing();
        }
    }

    fn respond_to(
        &mut self,
        transport: &Transport,
        result: Result<Response, Failure>,
        out: &mut Vec<u8>,
        rest: bool,
    ) {
        let response = result.unwrap_or_else(|failure| self.error_response(failure));
        self.respond(transport, response, out, rest);
    }

    /// Writes a response, or the head of one whose body is streamed.
    fn respond(&mut self, transport: &Transport, response: Response, out: &mut Vec<u8>, rest: bool) {
        let mut response = match response.fault {
            Some(failure) => self.error_response(failure),
            None if response.status.is_informational() => {
                self.error_response(Failure::new(format!("{} is not a final status", response.status)))
            }
            None => response,
        };
        if response.status == StatusCode::RESET_CONTENT {
            (response.body, response.content_type) = (Body::Static(b""), None);
        }
        if let ExchangePhase::Answering(_, Some(incoming)) = &self.phase {
            incoming.answered();
        }
        let unread = !self.facts.complete && !self.facts.rest_is_small;
        let stays = self.facts.keep_alive && !unread && !self.half_closed && !self.shared.is_draining();
        self.facts.keep_alive = stays && !response.close;
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match &response.body {
            _ if bodiless => None,
            Body::Static(bytes) => Some(BodyFraming::Length(bytes.len() as u64)),
            Body::Owned(bytes) => Some(BodyFraming::Length(bytes.len() as u64)),
            Body::Stream { length: Some(length), .. } => Some(BodyFraming::Length(*length)),
            Body::Stream { length: None, .. } if !self.facts.http10 => Some(BodyFraming::Chunked),
            Body::Stream { length: None, .. } => {
                self.facts.keep_alive = false;
                Some(BodyFraming::ToEnd)
            }
        };
        let persistence = match (self.facts.keep_alive, self.facts.http10) {
            (true, false) => Persistence::Default,
            (true, true) => Persistence::KeepAlive,
            (false, _) => Persistence::Close,
        };
        encode::head(out, &response.head(), framing, persistence, &self.shared.date.get());
        if let Some(record) = &mut self.record {
            record.begin(response.status);
        }
        match (response.body, framing) {
            (Body::Stream { start, .. }, Some(framing)) if !self.facts.head_only => {
                return self.stream(transport, start, framing, out, rest);
            }
            (Body::Static(bytes), Some(_)) if !self.facts.head_only => self.put(transport, bytes, out),
            (Body::Owned(bytes), Some(_)) if !self.facts.head_only => {
                if bytes.len() < LARGE_BODY {
                    self.put(transport, &bytes, out);
                } else {
                    self.wrote(bytes.len());
                    self.flush(transport, out);
                    self.pace.written += bytes.len() as u64;
                    transport.write_vec(bytes);
                }
            }
            _ => {}
        }
        self.over(transport, out, rest);
    }

    fn put(&mut self, transport: &Transport, body: &[u8], out: &mut Vec<u8>) {
        self.wrote(body.len());
        if body.len() <= SMALL_BODY {
            out.extend_from_slice(body);
        } else {
            self.pace.written += (out.len() + body.len()) as u64;
            transport.write_slices(&[out, body]);
            out.clear();
        }
    }

    #[inline]
    fn wrote(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.wrote(bytes as u64);
        }
    }

    fn stream(
        &mut self,
        transport: &Transport,
        start: Start,
        framing: BodyFraming,
        out: &mut Vec<u8>,
        rest: bool,
    ) {
        self.has_more = rest;
        let body = OutgoingBody::new(transport.clone(), framing, out.clone());
        out.clear();
        self.wait(Work::Stream(body.clone(), None));
        let writer = BodyWriter::new(body.clone());
        match maybe_deferred(move || start(writer)).try_result() {
            Ok(result) => self.stream_over(transport, result, out),
            Err(deferred) => {
                self.wait(Work::Stream(body.clone(), Some(deferred.canceller())));
                let (transport, serial) = (transport.clone(), self.serial);
                drop(deferred.add_both(move |result| {
                    transport.enter(move |exchange: &mut Exchange, transport: &Transport| {
                        exchange.streamed(transport, serial, result);
                        Ok(())
                    });
                }));
                body.send_head();
            }
        }
    }

    /// Ends the streamed answer to that request.
    fn streamed(&mut self, transport: &Transport, serial: u64, result: Result<(), Failure>) {
        if serial == self.serial && matches!(self.phase, ExchangePhase::Answering(Work::Stream(..), _)) {
            let mut out = Vec::new();
            self.stream_over(transport, result, &mut out);
            self.go_on_reading(transport);
        }
    }

    fn stream_over(&mut self, transport: &Transport, result: Result<(), Failure>, out: &mut Vec<u8>) {
        let ExchangePhase::Answering(work, _) = &mut self.phase else { return };
        let Work::Stream(body, _) = mem::replace(work, Work::Handler) else { return };
        let result = result.and_then(|()| Ok(body.finish()?));
        self.streamed_so_far(&body);
        if let Err(failure) = result {
            body.close();
            if transport.is_closing() {
                log::debug!("client left during the response to {}: {failure:#}", self.name());
            } else {
                let place = FailurePlace(&failure);
                log::error!("response body of {} failed: {failure:#}{place}", self.name());
            }
            self.cut_body();
            self.phase = ExchangePhase::Closed;
            transport.abort_connection();
            return self.tell(false);
        }
        self.over(transport, out, self.has_more);
    }

    /// Continues after a response: with the next request, or with the end of the connection.
    fn over(&mut self, transport: &Transport, out: &mut Vec<u8>, rest: bool) {
        // The watcher may stop the site, so it is called before the connection counts as idle.
        self.tell(true);
        if !self.facts.complete {
            // The reader of the body receives no more of it.
            self.flush(transport, out);
            self.cut_body();
        }
        // The site may have been stopped since the head was written.
        if !self.facts.keep_alive || self.half_closed || self.shared.is_draining() {
            self.flush(transport, out);
            self.close(transport, rest || !self.facts.complete);
        } else if self.facts.complete {
            self.idle();
        } else {
            self.phase = ExchangePhase::Rest;
            self.await_body();
        }
    }

    /// Returns the response to a failed request. The client sees only errors that were meant for it; others are
    /// logged.
    #[cold]
    fn error_response(&self, failure: Failure) -> Response {
        if let Some(error) = failure.check::<StatusError>() {
            return error.response();
        }
        if let Some(refused) = failure.check::<BodyRefused>() {
            return Response::of_status(refused.status());
        }
        if failure.is::<BodyCut>() {
            return Response::of_status(StatusCode::REQUEST_TIMEOUT);
        }
        log::error!("{} failed: {failure:#}{}", self.name(), FailurePlace(&failure));
        Response::of_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Takes the name of the request, for a log message.
    fn name(&self) -> RequestName {
        self.name.take().unwrap_or_default()
    }
}

/// The place of a failure, unless its text contains it.
struct FailurePlace<'a>(&'a Failure);

impl fmt::Display for FailurePlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is::<HandlerPanicked>() {
            return Ok(());
        }
        write!(f, " (made at {})", self.0.user_location())
    }
}
