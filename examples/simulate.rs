//! cargo run --release --example simulate [-- --bug] [--seeds NUMBER] [--seed SEED]
//!
//! An echo service and twenty clients, in a thousand simulated worlds. In each world the network splits and delays data,
//! resets connections and lets them fall silent, and the host of the service crashes and restarts, as drawn from the seed.
//! The promises: each client receives exactly the bytes it sent, in order, and every client finishes in the end, because
//! it reconnects when a connection is lost or silent.
//!
//! `--bug` plants a bug: a client that has received the beginning of a reply assumes that the rest will follow. The bug
//! shows only when a connection breaks at that moment. The program prints the first seed that breaks a promise, and the
//! command that runs it again; `--seed` runs it alone and prints its events. With `--features trace`, it also writes a page
//! that plays that world step by step.

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::{Rc, Weak};
use std::time::Duration;

use clap::Parser;
use twistor::prelude::*;
use twistor::simulation::{World, try_explore};

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
/// In simulated time. If a client is not done by then, a promise is broken.
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

/// Runs one world until every client is done.
fn live(world: &World, bug: bool) -> Result<(), Failure> {
    world.set_time_limit(PATIENCE);
    world.faults().resets(0.2).silences(0.1).crashes(0.01);
    let address: std::net::IpAddr = "192.0.2.7".parse()?;
    world.network().add_name("echo.test", [address]);
    world.host(address, move |reactor| {
        let service = ServerEndpoint::tcp((address, 7).into());
        service.listen(reactor, |_peer| Echo { line: Vec::new() })?;
        Ok(())
    });

    let clients: Vec<Rc<Client>> = (0..CLIENTS)
        .map(|number| {
            let (answered, wrong) = Default::default();
            Rc::new(Client { reactor: world.handle(), number, bug, answered, wrong })
        })
        .collect();
    clients.iter().for_each(Client::connect);
    while !clients.iter().all(|client| client.is_done()) && world.turn(None)? {}
    match clients.iter().find_map(|client| client.wrong.take()) {
        Some(wrong) => Err(Failure::new(wrong)),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let explored = match options.seed {
        Some(seed) => try_explore([seed], |world| {
            world.network().set_observer(|event| println!("{event}"));
            live(world, options.bug)
        }),
        None => try_explore(0..options.seeds, |world| live(world, options.bug)),
    };
    match explored {
        Ok(exploration) => {
            println!("no promise was broken in {exploration}");
            ExitCode::SUCCESS
        }
        Err(counterexample) => {
            println!("{counterexample}");
            ExitCode::FAILURE
        }
    }
}
