//! A client on a simulated network, and a server that answers with arbitrary bytes, split and delayed at random, and closes
//! at any time: every request ends with its own response or a failure, and no connection is left over.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use libfuzzer_sys::fuzz_target;
use twistor_deferred::{Deferred, DeferredList};
use twistor_http::message::{Eof, Limits, ResponseDecoder, ResponseEvent};
use twistor_http::{Agent, Request};
use twistor_net::{Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
use twistor_reactor::Reactor;

const REQUESTS: usize = 4;

fn limits() -> Limits {
    Limits { head_size: 500, header_count: 10, body_size: 1000, interim_count: 3, ..Limits::default() }
}

/// The server's action after the bytes of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Stay,
    Close,
    HalfClose,
    Reset,
}

type Answered = Result<(u16, Vec<u8>), String>;

/// The meaning of the bytes, and whether the connection can serve another request.
#[derive(Debug)]
struct Meant {
    answer: Option<(u16, Vec<u8>)>,
    kept: bool,
}

fn meant(method: &Method, mut wire: &[u8], then: Then) -> Meant {
    let mut decoder = ResponseDecoder::new(limits());
    decoder.start(method);
    let (mut status, mut body) = (0, Vec::new());
    loop {
        match decoder.decode(&mut wire) {
            Ok(Some(ResponseEvent::Interim(_))) => {}
            Ok(Some(ResponseEvent::Head(head))) => status = head.status.as_u16(),
            Ok(Some(ResponseEvent::Body(bytes))) => body.extend_from_slice(bytes),
            Ok(Some(ResponseEvent::End(_))) => {
                let kept = decoder.keep_alive() && wire.is_empty() && then == Then::Stay;
                return Meant { answer: Some((status, body)), kept };
            }
            Ok(None) => break,
            Err(_) => return Meant { answer: None, kept: false },
        }
    }
    let ended = then != Then::Stay && decoder.eof() == Ok(Eof::Complete);
    Meant { answer: ended.then_some((status, body)), kept: false }
}

/// One request that reached the server: its path, whether its connection was in doubt, and the server's reply.
struct Asked {
    path: String,
    in_doubt: bool,
    wire: Vec<u8>,
    then: Then,
}

/// The server's replies, request by request, and the requests that it received.
struct Script {
    answers: Vec<(Then, Vec<u8>)>,
    asked: Vec<Asked>,
}

struct Server {
    script: Rc<RefCell<Script>>,
    request: Vec<u8>,
    in_doubt: bool,
    /// The reply arrived in one read without an end of stream, so that the client can see every reason for doubt.
    known: bool,
}

impl Protocol for Server {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        assert!(!(self.in_doubt && self.known), "a connection in doubt was used again");
        self.request.extend_from_slice(data);
        if !self.request.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let request = String::from_utf8(std::mem::take(&mut self.request))?;
        let mut words = request.split(' ');
        let method = Method::from_bytes(words.next().unwrap_or_default().as_bytes())?;
        let path = words.next().unwrap_or_default().to_owned();
        let mut script = self.script.borrow_mut();
        let (then, wire) = script.answers.pop().unwrap_or((Then::Close, Vec::new()));
        transport.write(&wire);
        match then {
            Then::Stay => {}
            Then::Close => transport.lose_connection(),
            Then::HalfClose => transport.lose_write_connection(),
            Then::Reset => transport.abort_connection(),
        }
        let kept = meant(&method, &wire, then).kept;
        script.asked.push(Asked { path, in_doubt: self.in_doubt, wire, then });
        // Late data of such a peer may pass for the response to the next request.
        self.in_doubt |= !kept;
        self.known &= then == Then::Stay;
        Ok(())
    }
}

fn method(number: usize) -> Method {
    if number % 4 == 3 { Method::HEAD } else { Method::GET }
}

fuzz_target!(|data: &[u8]| {
    let [seed, mode, wire @ ..] = data else { return };
    let follows = mode & 1 != 0;
    let mut answers: Vec<_> = wire
        .split(|&byte| byte == 0)
        .map(|answer| match answer.split_first() {
            Some((then, wire)) => {
                let then = [Then::Stay, Then::Close, Then::HalfClose, Then::Reset][usize::from(then % 4)];
                (then, wire.to_vec())
            }
            None => (Then::Stay, Vec::new()),
        })
        .collect();
    answers.reverse();

    let reactor = Reactor::simulated((*seed).into());
    let network = SimulatedNetwork::of(&reactor).expect("a simulated reactor has one");
    let address = "192.0.2.80".parse().expect("an address");
    network.add_name("s.test", [address]);
    if mode & 4 != 0 {
        // Many round trips, one window each, must not take too long.
        network.set_window(1, 40);
        network.set_latency(Duration::ZERO, Duration::from_micros(100));
    }
    let whole = mode & 12 == 8;
    network.set_splitting(!whole);
    let script = Rc::new(RefCell::new(Script { answers, asked: Vec::new() }));
    let factory = script.clone();
    let _port = ServerEndpoint::tcp((address, 80).into())
        .listen(&reactor, move |_peer| Server {
            script: factory.clone(),
            request: Vec::new(),
            in_doubt: false,
            known: whole,
        })
        .expect("the port is free");

    let begin = reactor.now();
    let agent = Agent::new(&reactor).max_connections(1 + usize::from(mode & 2));
    let ask = |number: usize| {
        let request = Request::new(method(number), format!("http://s.test/{number}"))
            .limits(limits())
            .idle_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(20));
        let request = if follows { request.max_redirects(3) } else { request.keep_redirects() };
        agent.request(request).add_callback(|response| {
            let status = response.status().as_u16();
            response.into_body().collect().add_callback(move |body| Ok((status, body)))
        })
    };
    let told: Rc<RefCell<Vec<Option<Answered>>>> = Rc::new(RefCell::new(vec![None; REQUESTS]));
    let all: Vec<Deferred<()>> = (0..REQUESTS)
        .map(|number| {
            let told = told.clone();
            ask(number).add_both(move |result: Result<_, Failure>| {
                let result = result.map_err(|failure| failure.to_string());
                assert!(told.borrow_mut()[number].replace(result).is_none());
            })
        })
        .collect();
    let idle = agent.clone();
    let done = DeferredList::new(all).add_callback(move |_| idle.close_idle());
    reactor.run_until(done).expect("events continue until all requests have ended");
    assert!(reactor.now() - begin < Duration::from_secs(60));
    assert_eq!(agent.connections(), (0, 0));

    for (number, told) in told.take().into_iter().enumerate() {
        let told = told.expect("every request ends");
        if let Ok((_, body)) = &told {
            assert!(body.len() <= 1000);
        }
        let script = script.borrow();
        let asked = script.asked.iter().rfind(|asked| asked.path == format!("/{number}"));
        // With redirects, the response may belong to another page.
        let Some(asked) = asked.filter(|asked| !follows && !asked.in_doubt) else { continue };
        let is_coded = asked.wire.to_ascii_lowercase().windows(16).any(|name| name == b"content-encoding");
        let meant = meant(&method(number), &asked.wire, asked.then).answer;
        match (told, meant) {
            (Ok(told), Some(meant)) if !is_coded => assert_eq!(told, meant, "{number}"),
            (Ok(_), None) => panic!("{number}: a response from {}", asked.wire.escape_ascii()),
            // A reset may overtake data that was sent before it.
            (Err(told), Some(_)) if !is_coded && asked.then != Then::Reset => panic!("{number}: {told}"),
            _ => {}
        }
    }
});
