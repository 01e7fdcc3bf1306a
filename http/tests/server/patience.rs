//! W3 and W5 on a simulated network, where the test controls the time: the timeouts and limits of slow clients.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_http::Method;
use twistor_http::server::{
    BodyMode, Request, RequestBody, Resource, Response, Settings, Site, Timeouts, Tree,
};
use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, Transport};
use twistor_reactor::{Reactor, defer_later};

use crate::client::get;

const SECOND: Duration = Duration::from_secs(1);

/// A client that keeps the received bytes and does not parse HTTP.
#[derive(Default)]
struct Ear {
    heard: RefCell<Vec<u8>>,
    transport: RefCell<Option<Transport>>,
    /// Bytes still unsent at the end.
    unsent: Cell<usize>,
    /// Never reads.
    deaf: bool,
}

impl Ear {
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.borrow()).into_owned()
    }

    /// The received statuses, in order.
    fn statuses(&self) -> Vec<String> {
        let heard = self.heard();
        heard.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
    }
}

struct Listener(Rc<Ear>);

impl Protocol for Listener {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        if self.0.deaf {
            transport.pause_producing();
        }
        self.0.transport.replace(Some(transport.clone()));
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.heard.borrow_mut().extend_from_slice(data);
        Ok(())
    }

    /// Keeps the connection after the server's end of stream.
    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {}
}

fn patient_for_a_second() -> Settings {
    let timeouts = Timeouts {
        head: SECOND,
        body: SECOND,
        idle: 1000 * SECOND,
        write: 1000 * SECOND,
        half_closed: SECOND,
        linger: SECOND,
    };
    Settings { timeouts, ..Settings::default() }
}

/// Sends each text of the script at its time, in milliseconds. Returns the client and the number of connections
/// after `seconds`.
fn play(root: impl Resource, seconds: u32, script: Vec<(u64, Vec<u8>)>, ear: Ear) -> (Rc<Ear>, usize) {
    let reactor = Reactor::simulated(7);
    let site = Site::with_settings(&reactor, root, patient_for_a_second());
    site.listen(ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap())).unwrap();
    let (ear, endpoint) = (Rc::new(ear), ClientEndpoint::tcp("192.0.2.80", 80));
    drop(endpoint.connect(&reactor, Listener(ear.clone())));
    for (when, text) in script {
        let ear = ear.clone();
        reactor.call_later(Duration::from_millis(200 + when), move || {
            if let Some(transport) = &*ear.transport.borrow() {
                transport.write(&text);
            }
        });
    }
    let told = ear.clone();
    // Before the reactor stops, which also stops the site.
    let left = defer_later(&reactor, SECOND * seconds, move || {
        told.unsent.set(told.transport.borrow().as_ref().map_or(0, Transport::buffered));
        Ok(site.connections())
    });
    let left = reactor.run_until(left).unwrap();
    (ear, left)
}

fn upload(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

// W5.2: each received KiB extends the time for the body by a second
#[test]
fn a_slow_but_steady_body_is_waited_for() {
    let length = |request: &mut Request<'_>| request.body().len().to_string();
    let mut script = vec![(0, upload("/", 20 * 1024))];
    script.extend((1..=20).map(|n| (n * 900, vec![b'x'; 1024])));
    let (ear, _) = play(length, 60, script.clone(), Ear::default());
    assert_eq!(ear.statuses(), ["200"]);
    // A body that stops is waited for only as long as the received part allows.
    script.truncate(5);
    let (ear, left) = play(length, 60, script, Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
}

// W5.2: the same for a streamed body, unless the handler answers otherwise
#[test]
fn a_streamed_body_that_stops_is_answered_with_408() {
    let root = Tree::new()
        .on_mode(Method::POST, BodyMode::Streamed, |request| request.stream().expect("taken").collect());
    let (ear, left) = play(root, 10, vec![(0, upload("/", 10)), (100, b"12345".to_vec())], Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
}

// W5.1: time in which the handler does not read does not count
#[test]
fn a_body_held_up_by_its_reader_does_not_time_out() {
    let root = Tree::new().on_mode(Method::POST, BodyMode::Streamed, |request| {
        let body = request.stream().expect("taken");
        defer_later(request.reactor(), SECOND * 30, || ())
            .add_callback(move |()| body.collect())
            .add_callback(|body| Ok(body.len().to_string()))
    });
    let script = vec![(0, upload("/", 10)), (100, b"12345".to_vec()), (30_500, b"67890".to_vec())];
    let (ear, _) = play(root, 60, script, Ear::default());
    assert_eq!(ear.statuses(), ["200"], "{}", ear.heard());
}

// W5.1: time does not count while the reader holds up the body, and does not restart with each piece
#[test]
fn a_dripping_body_times_out() {
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    let root = Tree::new().on_mode(Method::POST, BodyMode::Streamed, move |request| {
        let (body, handle) = (request.stream().expect("taken"), request.reactor().clone());
        let count = count.clone();
        request.reactor().spawn(async move {
            while let Some(piece) = body.next().await? {
                count.set(count.get() + piece.len());
                // The next piece arrives while no read is pending, so reading is paused for a while.
                handle.sleep(Duration::from_millis(250)).await?;
            }
            Ok::<_, Failure>("all of it")
        })
    });
    let mut script = vec![(0, upload("/", 1000))];
    script.extend((0..1000).map(|n| (n / 2 * 500 + n % 2 * 50, b"x".to_vec())));
    let (ear, left) = play(root, 60, script, Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
    // A second of the client's time, and the rounds until the timeout is noticed.
    assert!((4..=20).contains(&seen.get()), "{} bytes", seen.get());
}

// W3.2, E5: a client that sends requests but never reads receives no more answers than fit into the buffers
#[test]
fn unread_answers_do_not_accumulate() {
    let handled = Rc::new(Cell::new(0));
    let count = handled.clone();
    let root = move |_: &mut Request<'_>| {
        count.set(count.get() + 1);
        vec![b'x'; 1000]
    };
    let script = (0..200).map(|n| (n * 10, get("/").repeat(100).into_bytes())).collect();
    play(root, 30, script, Ear { deaf: true, ..Ear::default() });
    assert!((1..2_000).contains(&handled.get()), "{} of 20000 were answered", handled.get());
}

// W3.6: the date is computed again
#[test]
fn the_date_advances_with_time() {
    let script = (0..3).map(|n| (n * 5000, get("/").into_bytes())).collect();
    let (ear, _) = play(|_: &mut Request<'_>| "fine", 20, script, Ear::default());
    let heard = ear.heard();
    let dates: Vec<_> =
        heard.lines().filter_map(|line| line.strip_prefix("Date: ")).map(|date| &date[17..25]).collect();
    assert_eq!(dates, ["00:00:00", "00:00:05", "00:00:10"]);
}

/// A handler that keeps the body for two seconds and then passes it to `act`.
fn after_two_seconds(act: impl Fn(RequestBody) -> Deferred<&'static str> + 'static) -> Tree {
    let act = Rc::new(act);
    let keep = Tree::new().on_mode(Method::POST, BodyMode::Streamed, move |request| {
        let (body, act) = (request.stream().expect("taken"), act.clone());
        defer_later(request.reactor(), SECOND * 2, || ()).add_callback(move |()| act(body))
    });
    Tree::new().get(|_| "next").put_child("keep", keep)
}

// W2.7: the rest of a dropped body is discarded while its handler continues
#[test]
fn a_dropped_body_does_not_hold_up_the_client() {
    let seen = Rc::new(Cell::new(0));
    let handler = seen.clone();
    let root = after_two_seconds(move |body| {
        drop(body);
        handler.set(1);
        let (deferred, trigger) = Deferred::new();
        std::mem::forget(trigger);
        deferred
    });
    // More than the buffers can hold. The client's send buffer shows how much the server has read.
    let script = vec![(0, upload("/keep", 4_000_000)), (500, vec![b'x'; 4_000_000])];
    let (ear, _) = play(root, 10, script, Ear::default());
    assert_eq!((seen.get(), ear.unsent.get()), (1, 0));
}

// W3.4: a client that did not wait receives no 100 Continue
#[test]
fn a_client_that_sends_without_waiting_gets_no_100_continue() {
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    let head = "POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let script = |at| vec![(0, head.into()), (at, b"bo".to_vec()), (2800, b"dy".to_vec())];
    assert_eq!(play(root, 10, script(1000), Ear::default()).0.statuses(), ["200"]);
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    assert_eq!(play(root, 10, script(2500), Ear::default()).0.statuses(), ["100", "200"]);
}

// W5.3: waiting for 100 Continue does not count as time for the body
#[test]
fn a_client_that_waits_for_100_continue_does_not_time_out() {
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    let head = "POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let (ear, _) = play(root, 10, vec![(0, head.into()), (2900, b"body".to_vec())], Ear::default());
    assert_eq!(ear.statuses(), ["100", "200"]);
}

// W3.4: no 100 Continue between the pieces of an answer
#[test]
fn an_answer_is_not_interrupted_by_100_continue() {
    let root = Tree::new().on_mode(Method::POST, BodyMode::Streamed, |request| {
        let (body, handle) = (request.stream().expect("taken"), request.reactor().clone());
        Response::stream(move |out| {
            out.write(b"first");
            defer_later(&handle, SECOND, || ()).add_callback(move |()| body.collect()).add_callback(
                move |body| {
                    out.write(&body);
                },
            )
        })
    });
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let (ear, _) = play(root, 10, vec![(0, head.into()), (1800, b"body".to_vec())], Ear::default());
    assert_eq!(ear.statuses(), ["200"]);
    assert!(ear.heard().contains("\r\n\r\n5\r\nfirst\r\n4\r\nbody\r\n0\r\n\r\n"), "{}", ear.heard());
}
