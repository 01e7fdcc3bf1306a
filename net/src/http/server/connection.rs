//! The protocol of one connection: takes requests out of what comes, one at a time, and has them answered.

use std::fmt;
use std::mem;
use std::rc::Rc;

use ::http::{Method, StatusCode, Version};
use twistor_deferred::{Failure, guarded};

use super::channel::{Channel, Exchange, Phase};
use super::incoming::{BodyRefused, Incoming};
use super::request::{Content, KeptHead, Request};
use super::site::SiteCore;
use super::{Answer, BodyMode, RequestBody, Resource, StatusError, encode};
use crate::http::{BodyLength, DecodeError, RequestDecoder, RequestEvent, RequestHead, Target};
use crate::transport::scratch::SCRATCH;
use crate::{HandlerPanicked, Protocol, Transport};

/// Answers are gathered up to this size before they are sent.
const GATHERED: usize = 32 * 1024;

/// So much of a body that nobody wants is read and thrown away to keep a connection.
const THROWN_AWAY: u64 = 64 * 1024;

/// A connection of a [`Site`](super::Site). Twisted: `HTTPChannel`.
pub struct Connection {
    channel: Rc<Channel>,
    decoder: RequestDecoder,
    /// What came behind a request that is being answered, and how much of it is used up.
    kept: Vec<u8>,
    used: usize,
    /// The request whose body is being collected.
    collecting: Option<Box<Collecting>>,
}

struct Collecting {
    head: KeptHead,
    resource: Rc<dyn Resource>,
    body: Vec<u8>,
    limit: u64,
}

impl Connection {
    pub(super) fn new(channel: Rc<Channel>) -> Connection {
        let decoder = RequestDecoder::new(channel.site.decoding.clone());
        Connection { channel, decoder, kept: Vec::new(), used: 0, collecting: None }
    }

    /// Takes in what came, and gives back what has to wait.
    fn process<'i>(&mut self, transport: &Transport, mut input: &'i [u8]) -> &'i [u8] {
        let Connection { channel, decoder, collecting, .. } = self;
        let site = &channel.site;
        let mut out = site.out.take();
        loop {
            match channel.phase.get() {
                Phase::Lingering | Phase::Closed => {
                    input = &[];
                    break;
                }
                Phase::Answering if decoder.is_idle() => break,
                Phase::Idle if out.len() >= GATHERED => {
                    channel.flush(&mut out);
                    continue;
                }
                Phase::Idle if !input.is_empty() && decoder.is_idle() && transport.is_full() => {
                    // The client asks faster than it reads.
                    let transport = transport.clone();
                    drop(transport.clone().drained().add_both(move |_| transport.resume_producing()));
                    break;
                }
                _ => {}
            }
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Head(head))) => on_head(channel, collecting, head, input, &mut out),
                Ok(Some(RequestEvent::Body(data))) => on_body(channel, collecting, data, &mut out),
                Ok(Some(RequestEvent::End(_))) => on_end(channel, collecting, input, &mut out),
                Err(error) => {
                    input = &[];
                    on_error(channel, collecting, error, &mut out);
                    break;
                }
            }
        }
        if channel.phase.get() == Phase::Idle && !decoder.is_idle() {
            channel.enter(Phase::Head, site.limits.head);
        } else {
            // What a head that came in pieces was gathered in: between requests a connection has no buffers.
            decoder.release();
        }
        channel.flush(&mut out);
        site.put_back(out);
        if self.takes_much() {
            transport.read_much();
        }
        input
    }

    /// Whether nothing of what one read gives will have to be kept: a body comes, somebody takes it in as it comes, and
    /// it is so long that no request comes in the same read.
    fn takes_much(&self) -> bool {
        self.decoder.body_left() >= SCRATCH as u64
            && (self.collecting.is_some()
                || self.channel.incoming.borrow().as_ref().is_some_and(|incoming| incoming.is_consumed()))
    }

    /// Keeps what has to wait, and has nothing more read until it had its turn.
    fn keep(&mut self, transport: &Transport, rest: &[u8]) {
        if !rest.is_empty() {
            self.kept.extend_from_slice(rest);
            self.channel.has_more.set(true);
            transport.pause_producing();
        }
    }
}

/// Looks up who answers, and has it answered if the body is there.
#[inline]
fn on_head(
    channel: &Rc<Channel>,
    collecting: &mut Option<Box<Collecting>>,
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
    channel.exchange.set(Exchange {
        head_only: head.method == Method::HEAD,
        http10: head.version == Version::HTTP_10,
        keep_alive: head.keep_alive,
        complete: present.is_some(),
        rest_is_small: !expects && known.is_some_and(|length| length <= THROWN_AWAY),
    });
    channel.has_more.set(false);
    channel.asked(&head);
    // From here on user code runs, which may stop the site: this connection is not idle.
    channel.phase.set(Phase::Answering);
    if head.method == Method::CONNECT {
        return channel.refuse(StatusCode::NOT_IMPLEMENTED, out);
    }
    if is_misdirected(channel, &head.target) {
        return channel.refuse(StatusCode::MISDIRECTED_REQUEST, out);
    }
    let mut request = Request::new(head, channel);
    let resource = match look_up(&mut request) {
        Ok(resource) => resource,
        Err(answer) => return channel.answer(answer, out, false),
    };
    let resource = resource.as_ref().unwrap_or(&channel.site.root);
    if present == Some(0) {
        return render(&**resource, &mut request, out, !input.is_empty());
    }
    let limit = match guard(&channel.site, || Ok(resource.body_mode(&request))) {
        Ok(BodyMode::Whole) => channel.site.body_size,
        Ok(BodyMode::UpTo(limit)) => limit,
        Ok(BodyMode::Streamed) => {
            let incoming = Rc::new(Incoming::new(Rc::downgrade(channel), expects));
            channel.incoming.replace(Some(incoming.clone()));
            request.body = Content::Stream(RequestBody::new(incoming));
            channel.await_body();
            // The reader may ask for more at once, which may be told to the client.
            channel.flush(out);
            return render(&**resource, &mut request, out, false);
        }
        Err(answer) => return channel.answer(answer, out, false),
    };
    match present {
        _ if known.is_some_and(|length| length > limit) => channel.refuse(StatusCode::PAYLOAD_TOO_LARGE, out),
        Some(length) => {
            let (body, rest) = input.split_at(length);
            request.body = Content::Borrowed(body);
            render(&**resource, &mut request, out, !rest.is_empty());
        }
        None => {
            let head = KeptHead::new(&request);
            *collecting =
                Some(Box::new(Collecting { head, resource: resource.clone(), body: Vec::new(), limit }));
            channel.received.set(0);
            channel.enter(Phase::Body, channel.site.limits.body);
            if expects {
                out.extend_from_slice(encode::CONTINUE);
            }
        }
    }
}

/// Whether the target is one of `https`, and the connection is not secured (RFC 9110, section 7.4).
#[inline]
fn is_misdirected(channel: &Channel, target: &Target<'_>) -> bool {
    match target {
        Target::Absolute { scheme, .. } => scheme.eq_ignore_ascii_case("https") && !channel.is_secured(),
        _ => false,
    }
}

/// Walks down the tree. `None` is the root itself.
fn look_up(request: &mut Request<'_>) -> Result<Option<Rc<dyn Resource>>, Answer> {
    let channel = request.channel;
    let mut found: Option<Rc<dyn Resource>> = None;
    guard(&channel.site, || {
        loop {
            let resource = found.as_ref().unwrap_or(&channel.site.root);
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

/// Calls what a user wrote. A panic in it costs this request, and nothing else.
#[inline]
fn guard<T>(site: &SiteCore, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Answer> {
    match guarded(call) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(Answer::Failed(failure)),
        Err(message) => {
            Err(Answer::Failed(HandlerPanicked::new("render", message).given_at(site.place).into()))
        }
    }
}

#[inline]
fn render(resource: &dyn Resource, request: &mut Request<'_>, out: &mut Vec<u8>, rest: bool) {
    let channel = request.channel;
    let answer = guard(&channel.site, || Ok(resource.render(request))).unwrap_or_else(|failed| failed);
    channel.answer(answer, out, rest);
}

fn on_body(channel: &Rc<Channel>, collecting: &mut Option<Box<Collecting>>, data: &[u8], out: &mut Vec<u8>) {
    channel.received.set(channel.received.get() + data.len() as u64);
    let incoming = channel.incoming.borrow().clone();
    if let Some(incoming) = incoming {
        // Whoever it wakes may answer: in order, behind what was gathered.
        channel.flush(out);
        incoming.data(data);
    } else if let Some(request) = collecting {
        if (request.body.len() + data.len()) as u64 > request.limit {
            *collecting = None;
            return channel.refuse(StatusCode::PAYLOAD_TOO_LARGE, out);
        }
        request.body.extend_from_slice(data);
    }
}

#[inline]
fn on_end(channel: &Rc<Channel>, collecting: &mut Option<Box<Collecting>>, input: &[u8], out: &mut Vec<u8>) {
    let exchange = channel.exchange.get();
    channel.exchange.set(Exchange { complete: true, ..exchange });
    match channel.phase.get() {
        Phase::Rest => channel.idle(),
        Phase::Answering => {
            channel.deadline.set(super::channel::NEVER);
            let incoming = channel.incoming.take();
            if let Some(incoming) = incoming {
                channel.flush(out);
                incoming.end(Ok(()));
            }
        }
        _ => {}
    }
    if let Some(request) = collecting.take() {
        let Collecting { head, resource, body, .. } = *request;
        channel.phase.set(Phase::Answering);
        render(&*resource, &mut head.request(body, channel), out, !input.is_empty());
    }
}

#[cold]
fn on_error(
    channel: &Rc<Channel>,
    collecting: &mut Option<Box<Collecting>>,
    error: DecodeError,
    out: &mut Vec<u8>,
) {
    *collecting = None;
    if channel.phase.get() != Phase::Answering {
        return channel.refuse(error.status(), out);
    }
    // Somebody reads the body, and will answer.
    let incoming = channel.incoming.take();
    if let Some(incoming) = incoming {
        channel.flush(out);
        incoming.end(Err(BodyRefused(error).into()));
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.channel.connected(transport);
        transport.read_little();
        // An answer in two pieces would wait for the client to acknowledge the first.
        let _ = transport.set_nodelay(true);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let rest = self.process(transport, data);
        self.keep(transport, rest);
        Ok(())
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (kept, used) = (mem::take(&mut self.kept), mem::take(&mut self.used));
        let rest = self.process(transport, &kept[used..]).len();
        if rest > 0 {
            let used = kept.len() - rest;
            // One slow answer behind many quick ones is not to hold on to the memory of those.
            (self.kept, self.used) = if used > rest { (kept[used..].to_vec(), 0) } else { (kept, used) };
            self.channel.has_more.set(true);
            transport.pause_producing();
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let channel = self.channel.clone();
        channel.half_closed.set(true);
        match channel.phase.get() {
            Phase::Answering => {
                if !channel.exchange.get().complete {
                    channel.cut_body();
                }
                channel.client_may_have_left();
            }
            Phase::Head => {
                let status = self.decoder.eof().err().map_or(StatusCode::BAD_REQUEST, |error| error.status());
                channel.refuse(status, &mut Vec::new());
            }
            Phase::Body if self.collecting.take().is_some() => {
                channel.refuse(StatusCode::BAD_REQUEST, &mut Vec::new());
            }
            Phase::Opening | Phase::Idle | Phase::Body | Phase::Rest | Phase::Lingering | Phase::Closed => {
                channel.phase.set(Phase::Closed);
                transport.lose_connection();
            }
        }
        Ok(())
    }

    /// No answer can reach the client. A body that is being read is still delivered to its end.
    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        if self.channel.phase.get() == Phase::Answering && self.channel.exchange.get().complete {
            self.channel.give_up();
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.channel.give_up();
        let site = self.channel.site.clone();
        site.gone(&self.channel);
        site.see_whether_drained();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.channel.site.gone(&self.channel);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.channel.peer)
            .field("phase", &self.channel.phase.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use twistor_deferred::{Deferred, Trigger};
    use twistor_reactor::Reactor;

    use super::Connection;
    use crate::http::server::channel::{Channel, Phase};
    use crate::http::server::{Request, Site};
    use crate::{Address, Factory, Protocol, Transport};

    fn connect(site: &mut Site) -> Connection {
        let mut connection = site.build_protocol(Address::Ip("192.0.2.1:1024".parse().unwrap())).unwrap();
        connection.connection_made(&Transport::lost()).unwrap();
        connection
    }

    // P5: with and without a body behind the head, and trailers behind that
    #[test]
    fn an_idle_connection_has_no_buffers() {
        let reactor = Reactor::simulated(1);
        let mut site = Site::new(&reactor, |request: &mut Request<'_>| request.take_body());
        let post = "POST / HTTP/1.1\r\nHost: here\r\n";
        let requests = [
            "GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            format!("{post}Content-Length: 4\r\n\r\nbody"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nTrailer: 1\r\n\r\n"),
        ];
        for request in requests {
            let mut connection = connect(&mut site);
            for byte in request.bytes() {
                connection.data_received(&Transport::lost(), &[byte]).unwrap();
            }
            let channel: &Rc<Channel> = &connection.channel;
            assert_eq!(channel.phase.get(), Phase::Idle, "{request:?}");
            assert_eq!((connection.decoder.memory(), connection.kept.capacity()), (0, 0), "{request:?}");
        }
    }

    // W3: what is kept of a pipeline is what waits, not what came with it
    #[test]
    fn a_slow_answer_does_not_hold_on_to_the_requests_before_it() {
        let reactor = Reactor::simulated(1);
        let waiting: Rc<RefCell<Vec<Trigger<&str>>>> = Rc::default();
        let triggers = waiting.clone();
        let mut site = Site::new(&reactor, move |request: &mut Request<'_>| {
            let (deferred, trigger) = Deferred::new();
            match request.path() {
                "/slow" => triggers.borrow_mut().push(trigger),
                _ => trigger.callback("quick"),
            }
            deferred
        });
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
        let pipeline = [get("/slow"), get("/").repeat(1000), get("/slow"), get("/")].concat();
        let lost = Transport::lost();
        let mut connection = connect(&mut site);
        connection.data_received(&lost, pipeline.as_bytes()).unwrap();
        assert_eq!(connection.kept.capacity(), pipeline.len() - get("/slow").len());
        waiting.take().pop().unwrap().callback("slow");
        connection.reading_resumed(&lost).unwrap();
        assert_eq!((waiting.borrow().len(), connection.kept.capacity()), (1, get("/").len()));
        waiting.take().pop().unwrap().callback("slow");
        connection.reading_resumed(&lost).unwrap();
        assert_eq!((connection.channel.phase.get(), connection.kept.capacity()), (Phase::Idle, 0));
    }

    // W2, W3: what comes behind a body would have to be kept
    #[test]
    fn much_is_read_at_once_only_of_a_long_body_that_is_taken_in() {
        let reactor = Reactor::simulated(1);
        let mut site = Site::new(&reactor, |request: &mut Request<'_>| request.take_body());
        for (framing, much) in [
            ("Content-Length: 262144", true),
            ("Content-Length: 262143", false),
            ("Transfer-Encoding: chunked", false),
        ] {
            let mut connection = connect(&mut site);
            let head = format!("POST / HTTP/1.1\r\nHost: here\r\n{framing}\r\n\r\n");
            connection.data_received(&Transport::lost(), head.as_bytes()).unwrap();
            assert_eq!(connection.takes_much(), much, "{framing}");
            connection.data_received(&Transport::lost(), b"1\r\n").unwrap();
            assert!(!connection.takes_much(), "{framing}");
        }
    }
}
