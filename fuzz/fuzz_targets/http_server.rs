//! A server on a simulated network, and a client that sends arbitrary bytes, split and delayed at random: the responses
//! match a straightforward reading of the bytes, in order, once each and well formed, and the connection ends. A client
//! that leaves in the middle receives the first of them.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Version};
use libfuzzer_sys::fuzz_target;
use twistor_deferred::{Deferred, Trigger};
use twistor_http::message::{
    BodyLength, Limits, RequestDecoder, RequestEvent, ResponseDecoder, ResponseEvent,
};
use twistor_http::server::{Answer, IntoAnswer, Request, Response, Settings, Site, Timeouts};
use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
use twistor_reactor::{Reactor, defer_later};

const BODY: usize = 300;

fn limits() -> Limits {
    Limits {
        head_size: 500,
        header_count: 10,
        target_size: 100,
        chunk_line_size: 40,
        trailers_size: 100,
        ..Limits::default()
    }
}

fn settings() -> Settings {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        head: second,
        body: second,
        idle: second,
        write: second,
        half_closed: second,
        linger: second,
    };
    Settings { limits: Limits { body_size: BODY as u64, ..limits() }, timeouts, ..Settings::default() }
}

/// The kind of response, chosen by the path.
#[derive(PartialEq)]
enum How {
    Now,
    Later,
    Streamed,
}

fn how(path: &str) -> How {
    match path.len() % 4 {
        2 => How::Later,
        3 => How::Streamed,
        _ => How::Now,
    }
}

fn text(method: &Method, path: &str, query: Option<&str>, host: Option<&str>, body: &[u8]) -> String {
    format!("{method} {path} {query:?} {host:?} {}", body.escape_ascii())
}

fn echo(request: &mut Request<'_>) -> Answer {
    let text = text(request.method(), request.path(), request.query(), request.host(), request.body());
    match how(request.path()) {
        How::Now => text.into_answer(),
        How::Later => defer_later(request.reactor(), Duration::from_millis(3), || Ok(text)).into_answer(),
        How::Streamed => Response::stream(move |out| {
            let _ = out.write(text.as_bytes());
        })
        .into_answer(),
    }
}

/// A request, if one was parsed, its status, and the body of a successful response.
type Due = (Method, u16, Option<String>);

/// The text for a request, once its body is complete.
type Echo = dyn Fn(&[u8]) -> String;

fn due(mut wire: &[u8]) -> Vec<Due> {
    let mut decoder = RequestDecoder::new(limits());
    let mut due = Vec::new();
    // The request whose body is being read.
    let mut method = Method::GET;
    let mut body = Vec::new();
    let mut answer: Box<Echo> = Box::new(|_| String::new());
    let mut last = false;
    loop {
        let status = match decoder.decode(&mut wire) {
            Err(error) => error.status().as_u16(),
            Ok(None) => break,
            Ok(Some(RequestEvent::Head(head))) => {
                let (path, query) = (head.target.path().to_owned(), head.target.query().map(str::to_owned));
                let host = head.host.map(str::to_owned);
                last = !head.keep_alive || (head.version == Version::HTTP_10 && how(&path) == How::Streamed);
                method = head.method.clone();
                body.clear();
                let by = method.clone();
                answer = Box::new(move |body| text(&by, &path, query.as_deref(), host.as_deref(), body));
                match head.body {
                    _ if head.method == Method::CONNECT => 501,
                    BodyLength::Known(length) if length > BODY as u64 => 413,
                    _ => continue,
                }
            }
            Ok(Some(RequestEvent::Body(bytes))) => {
                body.extend_from_slice(bytes);
                if body.len() <= BODY {
                    continue;
                }
                413
            }
            Ok(Some(RequestEvent::End(_))) => {
                due.push((std::mem::replace(&mut method, Method::GET), 200, Some(answer(&body))));
                if last {
                    return due;
                }
                continue;
            }
        };
        due.push((method, status, None));
        return due;
    }
    if !decoder.is_idle() {
        due.push((method, 408, None));
    }
    due
}

/// Parses the responses in the server's output. `cut`: the client may have left before the end.
fn check(due: &[Due], mut received: &[u8], cut: bool) {
    let mut decoder = ResponseDecoder::new(Limits::default());
    'answers: for (method, status, text) in due {
        decoder.start(method);
        let mut body = Vec::new();
        loop {
            match decoder.decode(&mut received).expect("a well-formed answer") {
                Some(ResponseEvent::Interim(head)) => assert_eq!(head.status, 100),
                Some(ResponseEvent::Head(head)) if cut && *status >= 400 => {
                    assert!(head.status.as_u16() >= 400); // one that left is told something else
                }
                // An error in a line that arrived in parts is reported at the end of the line, which may never arrive.
                Some(ResponseEvent::Head(head)) if *status >= 400 && head.status == 408 => {}
                Some(ResponseEvent::Head(head)) => assert_eq!(head.status, *status),
                Some(ResponseEvent::Body(bytes)) => body.extend_from_slice(bytes),
                Some(ResponseEvent::End(_)) => break,
                None if cut => return,
                None => {
                    assert_eq!(decoder.eof(), Ok(twistor_http::message::Eof::Complete), "{method} {status}");
                    break;
                }
            }
        }
        match text {
            Some(_) if *method == Method::HEAD => assert!(body.is_empty()),
            Some(text) => assert_eq!(String::from_utf8_lossy(&body), *text),
            None => break 'answers,
        }
    }
    assert!(received.is_empty(), "more than was requested: {}", received.escape_ascii());
}

struct Client {
    wire: Vec<u8>,
    half_closes: bool,
    received: Rc<RefCell<Vec<u8>>>,
    /// A response that is dropped unfired fires, too.
    _lost: Trigger<()>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(&self.wire);
        if self.half_closes {
            transport.lose_write_connection();
        }
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.received.borrow_mut().extend_from_slice(data);
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let [seed, mode, wire @ ..] = data else { return };
    let (half_closes, resets) = (mode & 3 == 1, mode & 3 == 2);
    let reactor = Reactor::simulated((*seed).into());
    let network = SimulatedNetwork::of(&reactor).expect("a simulated reactor has one");
    network.set_resets(if resets { 1.0 } else { 0.0 });
    if mode & 4 != 0 {
        // Many round trips, one window each, must not take too long.
        network.set_window(1, 40);
        network.set_latency(Duration::ZERO, Duration::from_micros(100));
    }
    let begin = reactor.now();
    let site = Site::with_settings(&reactor, echo, settings());
    let address = "192.0.2.80:80".parse().expect("an address");
    site.listen(ServerEndpoint::tcp(address)).expect("the port is free");
    let received: Rc<RefCell<Vec<u8>>> = Rc::default();
    let (lost, trigger) = Deferred::new();
    let client = Client { wire: wire.to_vec(), half_closes, received: received.clone(), _lost: trigger };
    let connected = ClientEndpoint::tcp("192.0.2.80", 80).connect(&reactor, client);
    drop(connected.add_both(|_| ()));
    // The end of the run stops the site and waits for it.
    reactor.run_until(lost.add_both(|_| ())).expect("events continue until the connection ends");
    assert_eq!(site.connections(), 0);
    assert!(reactor.now() - begin < Duration::from_secs(20));
    check(&due(wire), &received.borrow(), half_closes || resets);
});
