//! The parts of a request as they arrive: which resource answers it, and how its body is read.

use std::rc::Rc;

use ::http::{Method, StatusCode, Version};
use twistor_deferred::Failure;
use twistor_net::{Transport, guarded_at};

use super::answer::{Answer, StatusError};
use super::answered::AnswerRecord;
use super::name::RequestName;
use super::pace::NEVER;
use super::request::{KeptHead, Request, RequestContent};
use super::{Exchange, ExchangePhase, RequestFacts, Work};
use crate::server::resource::{BodyMode, Resource};
use crate::server::shared::SiteState;
use crate::server::wire::body_reader::{BodyRefused, Incoming, RequestBody};
use crate::server::wire::encode;
use crate::{BodyLength, DecodeError, RequestHead, Target};

/// The largest unwanted body that is read and discarded to keep the connection.
const THROWN_AWAY: u64 = 64 * 1024;

/// A request whose body is being collected.
pub(in crate::server) struct Collecting {
    head: KeptHead,
    resource: Rc<dyn Resource>,
    body: Vec<u8>,
    limit: u64,
}

/// How a request continues after its head.
enum Course {
    Answered(Answer),
    Streamed(Answer, Rc<Incoming>),
    Collected(Box<Collecting>),
    Refused(StatusCode),
}

impl Exchange {
    /// Finds the resource, and answers the request if its body has arrived.
    #[inline]
    pub(in crate::server) fn on_head(
        &mut self,
        transport: &Transport,
        head: RequestHead<'_>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) {
        let known = match head.body {
            BodyLength::Empty => Some(0),
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked | BodyLength::ToEnd => None,
        };
        let present = known.filter(|length| *length <= input.len() as u64).map(|length| length as usize);
        let expects = head.expect_continue && input.is_empty();
        self.facts = RequestFacts {
            head_only: head.method == Method::HEAD,
            http10: head.version == Version::HTTP_10,
            keep_alive: head.keep_alive,
            complete: present.is_some(),
            rest_is_small: !expects && known.is_some_and(|length| length <= THROWN_AWAY),
        };
        self.serial += 1;
        self.has_more = false;
        if self.shared.is_watched() {
            self.record = Some(Box::new(AnswerRecord::new(&head, self.shared.handle.now())));
        }
        if head.method == Method::CONNECT {
            return self.refuse(transport, StatusCode::NOT_IMPLEMENTED, out);
        }
        if is_misdirected(transport, &head.target) {
            return self.refuse(transport, StatusCode::MISDIRECTED_REQUEST, out);
        }
        if present.is_none() {
            // The reader of the body may send 100 Continue, which must follow the answers before it.
            self.flush(transport, out);
        }
        let mut rest = &b""[..];
        let course = self.course(transport, head, known, expects, input, &mut rest);
        match course {
            Course::Answered(answer) => self.answer(transport, answer, out, !rest.is_empty()),
            Course::Streamed(answer, incoming) => {
                self.phase = ExchangePhase::Answering(Work::Handler, Some(incoming));
                self.await_body();
                self.answer(transport, answer, out, false);
            }
            Course::Collected(collecting) => {
                self.phase = ExchangePhase::Collecting(collecting);
                self.await_body();
                if expects {
                    out.extend_from_slice(encode::CONTINUE);
                }
            }
            Course::Refused(status) => self.refuse(transport, status, out),
        }
    }

    #[inline]
    fn course<'i>(
        &self,
        transport: &Transport,
        head: RequestHead<'_>,
        known: Option<u64>,
        expects: bool,
        input: &'i [u8],
        rest: &mut &'i [u8],
    ) -> Course {
        let mut request = Request::new(head, self.place());
        let resource = match look_up(&self.shared, &mut request) {
            Ok(resource) => resource,
            Err(answer) => return Course::Answered(self.named(&request, answer)),
        };
        let resource = resource.as_ref().unwrap_or(&self.shared.root);
        if known == Some(0) {
            *rest = input;
            return Course::Answered(self.render(&**resource, &mut request));
        }
        let limit = match guard(&self.shared, || Ok(resource.body_mode(&request))) {
            Ok(BodyMode::Whole) => self.shared.settings.limits.body_size,
            Ok(BodyMode::UpTo(limit)) => limit,
            Ok(BodyMode::Streamed) => {
                let incoming = Rc::new(Incoming::new(transport.clone(), expects));
                request.body = RequestContent::Stream(RequestBody::new(incoming.clone()));
                return Course::Streamed(self.render(&**resource, &mut request), incoming);
            }
            Err(answer) => return Course::Answered(self.named(&request, answer)),
        };
        match known {
            Some(length) if length > limit => Course::Refused(StatusCode::PAYLOAD_TOO_LARGE),
            Some(length) if length <= input.len() as u64 => {
                let (body, behind) = input.split_at(length as usize);
                request.body = RequestContent::Borrowed(body);
                *rest = behind;
                Course::Answered(self.render(&**resource, &mut request))
            }
            _ => {
                let head = KeptHead::new(&request);
                Course::Collected(Box::new(Collecting {
                    head,
                    resource: resource.clone(),
                    body: Vec::new(),
                    limit,
                }))
            }
        }
    }

    #[inline]
    fn render(&self, resource: &dyn Resource, request: &mut Request<'_>) -> Answer {
        let answer = guard(&self.shared, || Ok(resource.render(request))).unwrap_or_else(|failed| failed);
        self.named(request, answer)
    }

    /// Keeps the name of the request if the log may need it.
    #[inline]
    fn named(&self, request: &Request<'_>, answer: Answer) -> Answer {
        if let Some(name) = RequestName::for_log(request, &answer) {
            self.name.set(Some(name));
        }
        answer
    }

    pub(in crate::server) fn on_body(&mut self, transport: &Transport, data: &[u8], out: &mut Vec<u8>) {
        self.pace.received += data.len() as u64;
        match &mut self.phase {
            ExchangePhase::Answering(_, Some(incoming)) => incoming.data(data),
            ExchangePhase::Collecting(request) => {
                if (request.body.len() + data.len()) as u64 > request.limit {
                    return self.refuse(transport, StatusCode::PAYLOAD_TOO_LARGE, out);
                }
                request.body.extend_from_slice(data);
            }
            _ => {}
        }
    }

    #[inline]
    pub(in crate::server) fn on_end(&mut self, transport: &Transport, input: &[u8], out: &mut Vec<u8>) {
        self.facts.complete = true;
        match &mut self.phase {
            ExchangePhase::Rest => self.idle(),
            ExchangePhase::Answering(_, incoming) => {
                let incoming = incoming.take();
                self.pace.deadline = NEVER;
                if let Some(incoming) = incoming {
                    incoming.end(Ok(()));
                }
            }
            ExchangePhase::Collecting(_) => {
                let phase = std::mem::replace(&mut self.phase, ExchangePhase::Answering(Work::Handler, None));
                if let ExchangePhase::Collecting(request) = phase {
                    let Collecting { head, resource, body, .. } = *request;
                    let answer = self.render(&*resource, &mut head.request(body, self.place()));
                    self.answer(transport, answer, out, !input.is_empty());
                }
            }
            _ => {}
        }
    }

    /// Refuses malformed input. A streamed body fails, and its handler still answers.
    #[cold]
    pub(in crate::server) fn on_error(
        &mut self,
        transport: &Transport,
        error: DecodeError,
        out: &mut Vec<u8>,
    ) {
        match &mut self.phase {
            ExchangePhase::Answering(_, incoming) => {
                if let Some(incoming) = incoming.take() {
                    incoming.end(Err(BodyRefused(error).into()));
                }
            }
            _ => self.refuse(transport, error.status(), out),
        }
    }
}

/// Whether an `https` target arrived on a connection that is not secured (RFC 9110, section 7.4).
#[inline]
fn is_misdirected(transport: &Transport, target: &Target<'_>) -> bool {
    match target {
        Target::Absolute { scheme, .. } => scheme.eq_ignore_ascii_case("https") && !is_secured(transport),
        _ => false,
    }
}

#[cold]
fn is_secured(transport: &Transport) -> bool {
    #[cfg(feature = "tls")]
    return transport.tls().is_some();
    #[cfg(not(feature = "tls"))]
    return transport.is_lost();
}

/// Finds the resource for the path. `None` is the root itself.
fn look_up(shared: &SiteState, request: &mut Request<'_>) -> Result<Option<Rc<dyn Resource>>, Answer> {
    let mut found: Option<Rc<dyn Resource>> = None;
    guard(shared, || {
        loop {
            let resource = found.as_ref().unwrap_or(&shared.root);
            if resource.is_leaf() {
                return Ok(());
            }
            let Some(segment) = request.next_segment() else { return Ok(()) };
            let name = segment.ok_or(StatusError::new(StatusCode::NOT_FOUND))?;
            match resource.get_child(&name, request) {
                Some(child) => found = Some(child),
                None if name.is_empty() && request.rest().is_empty() => return Ok(()),
                None => return Err(StatusError::new(StatusCode::NOT_FOUND).into()),
            }
        }
    })?;
    Ok(found)
}

/// Calls user code. A panic in it fails this request alone.
#[inline]
fn guard<T>(shared: &SiteState, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Answer> {
    guarded_at("render", shared.place, call).map_err(Answer::Failed)
}
