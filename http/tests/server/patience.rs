//! W3 and W5 in a network in memory, where time is nobody's but the test's: what a client may take, and what it gets.

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

/// A client that keeps what it hears, and knows no HTTP.
#[derive(Default)]
struct Ear {
    heard: RefCell<Vec<u8>>,
    transport: RefCell<Option<Transport>>,
    /// Bytes still waiting to be sent at the end.
    unsent: Cell<usize>,
    /// Never reads.
    deaf: bool,
}

impl Ear {
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.borrow()).into_owned()
    }

    /// The statuses heard, in order.
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

    /// Stays.
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

/// Says each text at its time, in milliseconds, and gives what is known after that many seconds, with the number of connections left.
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
    // Before the reactor stops, and the site with it.
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

// W5: a body has a second more for each KiB that came of it
#[test]
fn a_slow_body_that_comes_along_is_waited_for() {
    let length = |request: &mut Request<'_>| request.body().len().to_string();
    let mut script = vec![(0, upload("/", 20 * 1024))];
    script.extend((1..=20).map(|n| (n * 900, vec![b'x'; 1024])));
    let (ear, _) = play(length, 60, script.clone(), Ear::default());
    assert_eq!(ear.statuses(), ["200"]);
    // One that stops is not waited for longer than what came is worth.
    script.truncate(5);
    let (ear, left) = play(length, 60, script, Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
}

// W5: the same for one that is streamed, unless the handler answers otherwise
#[test]
fn a_streamed_body_that_stops_is_a_408() {
    let root = Tree::new()
        .on_mode(Method::POST, BodyMode::Streamed, |request| request.stream().expect("taken").collect());
    let (ear, left) = play(root, 10, vec![(0, upload("/", 10)), (100, b"12345".to_vec())], Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
}

// W5: and while it is the handler that does not read, time stands still
#[test]
fn a_body_whose_reader_waits_is_not_timed_out() {
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

// W5.1: the time stands still while the reader holds the body up, and does not start again with each piece
#[test]
fn a_body_cannot_be_dripped_for_ever() {
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    let root = Tree::new().on_mode(Method::POST, BodyMode::Streamed, move |request| {
        let (body, handle) = (request.stream().expect("taken"), request.reactor().clone());
        let count = count.clone();
        request.reactor().spawn(async move {
            while let Some(piece) = body.next().await? {
                count.set(count.get() + piece.len());
                // The next piece finds nobody waiting, so that reading is paused for a while.
                handle.sleep(Duration::from_millis(250)).await?;
            }
            Ok::<_, Failure>("all of it")
        })
    });
    let mut script = vec![(0, upload("/", 1000))];
    script.extend((0..1000).map(|n| (n / 2 * 500 + n % 2 * 50, b"x".to_vec())));
    let (ear, left) = play(root, 60, script, Ear::default());
    assert_eq!((ear.statuses(), left), (vec!["408".to_owned()], 0));
    // A second of the client's own time, and the rounds that it takes to see that it is over.
    assert!((4..=20).contains(&seen.get()), "{} bytes", seen.get());
}

// W3, E5: of a client that asks and asks, and reads nothing, no more is answered than fits on the way
#[test]
fn answers_nobody_reads_are_not_piled_up() {
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

// W3: the date is looked up again
#[test]
fn the_date_goes_on_with_time() {
    let script = (0..3).map(|n| (n * 5000, get("/").into_bytes())).collect();
    let (ear, _) = play(|_: &mut Request<'_>| "fine", 20, script, Ear::default());
    let heard = ear.heard();
    let dates: Vec<_> =
        heard.lines().filter_map(|line| line.strip_prefix("Date: ")).map(|date| &date[17..25]).collect();
    assert_eq!(dates, ["00:00:00", "00:00:05", "00:00:10"]);
}

/// A handler that keeps the body for two seconds, and then does something with it.
fn after_two_seconds(act: impl Fn(RequestBody) -> Deferred<&'static str> + 'static) -> Tree {
    let act = Rc::new(act);
    let keep = Tree::new().on_mode(Method::POST, BodyMode::Streamed, move |request| {
        let (body, act) = (request.stream().expect("taken"), act.clone());
        defer_later(request.reactor(), SECOND * 2, || ()).add_callback(move |()| act(body))
    });
    Tree::new().get(|_| "next").put_child("keep", keep)
}

// W2: what comes of a body that was dropped is thrown away, while its handler works on
#[test]
fn a_body_that_is_dropped_holds_nobody_up() {
    let seen = Rc::new(Cell::new(0));
    let handler = seen.clone();
    let root = after_two_seconds(move |body| {
        drop(body);
        handler.set(1);
        let (deferred, trigger) = Deferred::new();
        std::mem::forget(trigger);
        deferred
    });
    // More than fits on the way; what is read of it by the end can be seen by the client's own buffer.
    let script = vec![(0, upload("/keep", 4_000_000)), (500, vec![b'x'; 4_000_000])];
    let (ear, _) = play(root, 10, script, Ear::default());
    assert_eq!((seen.get(), ear.unsent.get()), (1, 0));
}

// W3: a client that did not wait is not told to go on
#[test]
fn a_client_that_sends_without_waiting_is_not_told_to_go_on() {
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    let head = "POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let script = |at| vec![(0, head.into()), (at, b"bo".to_vec()), (2800, b"dy".to_vec())];
    assert_eq!(play(root, 10, script(1000), Ear::default()).0.statuses(), ["200"]);
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    assert_eq!(play(root, 10, script(2500), Ear::default()).0.statuses(), ["100", "200"]);
}

// W5: nor is one that waits to be told to go on late
#[test]
fn a_client_that_waits_to_be_told_to_go_on_is_not_late() {
    let root = after_two_seconds(|body| body.collect().add_callback(|_| Ok("read")));
    let head = "POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let (ear, _) = play(root, 10, vec![(0, head.into()), (2900, b"body".to_vec())], Ear::default());
    assert_eq!(ear.statuses(), ["100", "200"]);
}

// W3: nothing comes between the pieces of an answer
#[test]
fn an_answer_that_has_begun_is_not_interrupted_to_ask_for_the_body() {
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
