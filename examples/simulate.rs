//! cargo run --release --example simulate [-- --bug] [--seeds NUMBER] [--seed SEED]
//!
//! An echo service and twenty clients, in a thousand simulated worlds. In each world the network splits and delays data,
//! resets connections and lets them fall silent, as drawn from the seed. The promises: each client receives exactly the
//! bytes it sent, in order, and every client finishes in the end, because it reconnects when a connection is lost or
//! silent.
//!
//! `--bug` plants a bug: a client that has received the beginning of a reply assumes that the rest will follow. The bug
//! shows only when a connection breaks at that moment. The program prints the seeds that broke a promise; `--seed` runs
//! one of them alone and prints its events.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use clap::Parser;
use twistor::net::{ConnectionLost, SimulatedNetwork};
use twistor::prelude::*;

#[derive(Parser)]
struct Options {
    /// Plant the bug: clients wait for the rest of a reply forever.
    #[arg(long)]
    bug: bool,
    /// Run this many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Run this seed alone and print its events.
    #[arg(long)]
    seed: Option<u64>,
}

const CLIENTS: usize = 20;
const MESSAGES: usize = 5;
/// In simulated time. A client that is not done by then breaks a promise.
const PATIENCE: Duration = Duration::from_secs(600);
/// A client that receives nothing for this long reconnects.
const SILENCE: Duration = Duration::from_secs(5);

/// Answers each line with the same line.
struct Echo {
    line: Vec<u8>,
}

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        for byte in data {
            self.line.push(*byte);
            if *byte == b'\n' {
                transport.write_vec(std::mem::take(&mut self.line));
            }
        }
        Ok(())
    }
}

/// The work of one client, over as many connections as it takes.
struct Client {
    reactor: Handle,
    number: usize,
    bug: bool,
    answered: Cell<usize>,
    wrong: RefCell<Option<String>>,
}

impl Client {
    fn message(&self) -> String {
        format!("client {} says that this is message {}\n", self.number, self.answered.get())
    }

    fn connect(self: &Rc<Self>) {
        let connection = Connection { client: Rc::downgrade(self), heard: Vec::new(), patience: None };
        let again = self.clone();
        let connecting = ClientEndpoint::tcp("echo.test", 7)
            .timeout(SILENCE)
            .connect(&self.reactor, connection)
            .add_callback(|_| ())
            .add_errback(move |_| again.connect_soon());
        drop(connecting);
    }

    fn connect_soon(self: &Rc<Self>) {
        let client = self.clone();
        self.reactor.call_later(Duration::from_millis(100), move || client.connect());
    }

    fn is_done(&self) -> bool {
        self.answered.get() == MESSAGES || self.wrong.borrow().is_some()
    }
}

/// One connection of a client.
struct Connection {
    client: Weak<Client>,
    heard: Vec<u8>,
    patience: Option<DelayedCall>,
}

impl Connection {
    fn say(&mut self, transport: &Transport, client: &Client) {
        transport.write_vec(client.message().into_bytes());
        self.expect_answer(transport, client);
    }

    fn expect_answer(&mut self, transport: &Transport, client: &Client) {
        let hangs = transport.clone();
        let patience = client.reactor.call_later(SILENCE, move || hangs.abort_connection());
        if let Some(before) = self.patience.replace(patience) {
            let _ = before.cancel();
        }
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        self.say(transport, &client);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        self.heard.extend_from_slice(data);
        let expected = client.message();
        if !expected.as_bytes().starts_with(&self.heard) {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            client.wrong.replace(Some(format!("client {} heard {heard:?} for {expected:?}", client.number)));
            transport.abort_connection();
        } else if self.heard.len() == expected.len() {
            self.heard.clear();
            client.answered.set(client.answered.get() + 1);
            if client.is_done() {
                transport.lose_connection();
            } else {
                self.say(transport, &client);
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        if let Some(patience) = self.patience.take() {
            let _ = patience.cancel();
        }
        let Some(client) = self.client.upgrade() else { return };
        let waits = client.bug && !self.heard.is_empty();
        if !client.is_done() && !waits {
            client.connect_soon();
        }
    }
}

/// Runs one world. Returns the broken promise, if any.
fn live(seed: u64, bug: bool, tell: bool) -> Result<Option<String>, Failure> {
    let reactor = Reactor::simulated(seed);
    let Some(network) = SimulatedNetwork::of(&reactor) else {
        return Err(ConnectionLost::new(std::io::Error::other("this reactor is not simulated")).into());
    };
    network.add_name("echo.test", ["192.0.2.7".parse()?]);
    network.set_resets(0.2);
    network.set_silences(0.1);
    if tell {
        network.set_observer(|event| println!("{event}"));
    }
    let service = ServerEndpoint::tcp("192.0.2.7:7".parse()?);
    service.listen(&reactor, |_peer| Echo { line: Vec::new() })?;

    let clients: Vec<Rc<Client>> = (0..CLIENTS)
        .map(|number| {
            let (answered, wrong) = Default::default();
            Rc::new(Client { reactor: reactor.handle(), number, bug, answered, wrong })
        })
        .collect();
    clients.iter().for_each(Client::connect);

    let start = reactor.now();
    reactor.call_later(PATIENCE, || ()); // keeps the simulation from running out of events
    while !clients.iter().all(|client| client.is_done()) && reactor.now() - start < PATIENCE {
        reactor.turn(None)?;
    }
    let wrong = clients.iter().find_map(|client| client.wrong.take());
    let late = || clients.iter().find(|client| !client.is_done()).map(|client| client.number);
    Ok(wrong.or_else(|| late().map(|number| format!("client {number} was not done in {PATIENCE:?}"))))
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let seeds = match options.seed {
        Some(seed) => seed..seed + 1,
        None => 0..options.seeds,
    };
    let (start, mut lived, mut broken) = (Instant::now(), 0, 0);
    for seed in seeds {
        lived += 1;
        if let Some(promise) = live(seed, options.bug, options.seed.is_some())? {
            println!("seed {seed} broke a promise: {promise}");
            broken += 1;
            if broken == 10 {
                println!("that is enough");
                break;
            }
        }
    }
    let took = start.elapsed();
    println!("{lived} worlds of {CLIENTS} clients in {took:.1?}; promises broken: {broken}");
    std::process::exit(if broken > 0 { 1 } else { 0 });
}
