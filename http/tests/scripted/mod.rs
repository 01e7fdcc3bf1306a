//! A scripted server, in a network with exact times.

#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_http::{Page, Request};
use twistor_net::simulation::explore;
use twistor_net::{Failure, ListeningPort, Protocol, Transport};
use twistor_reactor::Handle;

use crate::support::{World, address, listen};

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A request that reached the server.
pub(crate) struct Asked {
    /// The number of its connection.
    pub(crate) connection: usize,
    /// Its number on that connection, from 1.
    pub(crate) nth: usize,
    /// The complete head.
    pub(crate) head: String,
    /// Method and path.
    pub(crate) what: String,
    pub(crate) transport: Transport,
    pub(crate) handle: Handle,
}

impl Asked {
    pub(crate) fn say(&self, text: &str) {
        self.transport.write(text.as_bytes());
    }

    /// Answers with the number of the connection.
    pub(crate) fn answer(&self) {
        self.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", self.connection));
    }

    pub(crate) async fn sleep(&self, duration: f64) {
        let _ = self.handle.sleep(seconds(duration)).await;
    }
}

/// A server that handles each request as scripted, and records the requests.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    _port: Rc<ListeningPort>,
    pub(crate) seen: Rc<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) opened: Cell<usize>,
    pub(crate) lost: Cell<usize>,
    pub(crate) requests: RefCell<Vec<String>>,
    pub(crate) transport: RefCell<Option<Transport>>,
}

struct ServerSide<F> {
    seen: Rc<Seen>,
    handle: Handle,
    script: Rc<F>,
    connection: usize,
    nth: usize,
    received: String,
}

impl<F: AsyncFn(Asked) + 'static> Protocol for ServerSide<F> {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.received.push_str(std::str::from_utf8(data)?);
        while let Some(end) = self.received.find("\r\n\r\n") {
            let head: String = self.received.drain(..end + 4).collect();
            let what = head.split(" HTTP/").next().unwrap_or_default().to_owned();
            self.seen.requests.borrow_mut().push(what.clone());
            self.seen.transport.replace(Some(transport.clone()));
            self.nth += 1;
            let (connection, nth) = (self.connection, self.nth);
            let (transport, handle) = (transport.clone(), self.handle.clone());
            let asked = Asked { connection, nth, head, what, transport, handle };
            let script = self.script.clone();
            drop(self.handle.spawn(async move {
                script(asked).await;
                Ok::<(), Failure>(())
            }));
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.seen.lost.set(self.seen.lost.get() + 1);
    }
}

impl Server {
    pub(crate) fn new(handle: &Handle, script: impl AsyncFn(Asked) + 'static) -> Server {
        let seen: Rc<Seen> = Rc::default();
        let (counted, inner, script) = (seen.clone(), handle.clone(), Rc::new(script));
        let port = listen(handle, move |_peer| {
            counted.opened.set(counted.opened.get() + 1);
            ServerSide {
                seen: counted.clone(),
                handle: inner.clone(),
                script: script.clone(),
                connection: counted.opened.get(),
                nth: 0,
                received: String::new(),
            }
        });
        Server { url: format!("http://{}", address(&port)), _port: Rc::new(port), seen }
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        Request::get(format!("{}{path}", self.url))
    }
}

/// Runs a test in many worlds with a latency of 10 ms, in which data is not split.
pub(crate) fn run(test: impl AsyncFn(Handle) -> Result<(), Failure> + 'static) {
    run_in(5, test);
}

/// Runs a test in this number of worlds, like `run`.
pub(crate) fn run_in(worlds: u64, test: impl AsyncFn(Handle) -> Result<(), Failure> + 'static) {
    let test = Rc::new(test);
    explore(0..worlds, |world| {
        world.expect_panic("on purpose");
        world.network().set_latency(seconds(0.01), seconds(0.01));
        world.network().set_splitting(false);
        let (test, handle) = (test.clone(), world.handle());
        World::Simulated(world).run(|reactor| reactor.spawn(async move { test(handle).await }))
    });
}

pub(crate) async fn text(page: Deferred<Page>) -> Result<String, Failure> {
    Ok(page.await?.text().into_owned())
}

/// Answers requests. Paths that begin with /slow are answered a second later.
pub(crate) async fn answer(asked: Asked) {
    if asked.what.starts_with("GET /slow") {
        asked.sleep(1.0).await;
    }
    asked.answer();
}
