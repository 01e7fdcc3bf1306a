//! cargo run --example key_value_server -- [--listen ADDRESS] [--idle SECONDS]
//!
//! Stores values by key, over lines: `SET key value`, `GET key`, `DEL key`, `QUIT`. The cost of clients is bounded:
//! the length of a line, the number of keys, the number of connections in total and per address, and the time that
//! a client may stay silent. Ctrl-C shuts the server down gracefully: it accepts no new clients, answers the
//! requests of the others, and notifies them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use twistor::net::framing::FrameError;
use twistor::net::{IdleTimeout, Limited};
use twistor::prelude::*;
use twistor::reactor::PhaseTrigger;

const MOST_KEYS: usize = 100_000;

type Store = Rc<RefCell<HashMap<Vec<u8>, Vec<u8>>>>;

/// A connected client.
struct Session {
    reactor: Handle,
    store: Store,
    /// The shutdown trigger of this connection, and the trigger that reports when the connection is lost.
    leaving: Option<(PhaseTrigger, Trigger<()>)>,
}

impl Session {
    fn answer(&self, transport: &Transport, line: &[u8]) {
        let mut store = self.store.borrow_mut();
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let answer: &[u8] = match (words.next(), words.next(), words.next()) {
            (Some(b"SET"), Some(key), Some(_)) if store.len() == MOST_KEYS && !store.contains_key(key) => {
                b"ERROR full"
            }
            (Some(b"SET"), Some(key), Some(value)) => {
                store.insert(key.to_vec(), value.to_vec());
                b"OK"
            }
            (Some(b"GET"), Some(key), None) => match store.get(key) {
                Some(value) => {
                    transport.write(b"VALUE ");
                    value
                }
                None => b"NONE",
            },
            (Some(b"DEL"), Some(key), None) if store.remove(key).is_some() => b"OK",
            (Some(b"DEL"), Some(_), None) => b"NONE",
            (Some(b"QUIT"), None, None) => return good_bye(transport, "BYE"),
            _ => b"ERROR no such command",
        };
        transport.write_slices(&[answer, b"\r\n"]);
    }

    /// Called when the server stops. The farewell follows the current answer.
    fn leave(&mut self, transport: &Transport) -> Result<(), Failure> {
        good_bye(transport, "BYE, the server is stopping");
        Ok(())
    }
}

/// Sends a last line, and closes the connection when everything is sent.
fn good_bye(transport: &Transport, text: &str) {
    transport.write_slices(&[text.as_bytes(), b"\r\n"]);
    transport.unregister_producer();
    transport.lose_connection();
}

impl FrameReceiver for Session {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        // If a client does not read its answers, stop reading from it until it does.
        transport.register_producer(transport.clone())?;
        let (lost, trigger) = Deferred::new();
        let transport = transport.clone();
        let shutdown = self.reactor.on_shutdown(Phase::Before, move || {
            transport.enter(Session::leave);
            lost
        });
        self.leaving = Some((shutdown, trigger));
        Ok(())
    }

    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        self.answer(transport, line);
        Ok(())
    }

    fn frame_refused(&mut self, transport: &Transport, error: FrameError) -> Result<(), Failure> {
        good_bye(transport, &format!("ERROR {error}"));
        Err(error.into())
    }

    fn connection_lost(&mut self, _: Failure) {
        if let Some((shutdown, trigger)) = self.leaving.take() {
            shutdown.remove();
            trigger.callback(());
        }
    }
}

#[derive(Parser)]
struct Options {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// How long a client may stay silent
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
}

fn main() -> Result<(), Failure> {
    let Options { listen, idle } = Options::parse();
    let reactor = Reactor::new()?;
    let (handle, store) = (reactor.handle(), Store::default());
    let sessions = move |_peer| {
        let session = Session { reactor: handle.clone(), store: store.clone(), leaving: None };
        let lines = Lines::any_ending().max_length(1000);
        IdleTimeout::new(&handle, Duration::from_secs(idle), Framed::new(lines, session))
    };
    let limited = Limited::new(sessions).total(1000).per_peer(10);
    let port = ServerEndpoint::tcp(listen).listen(&reactor, limited)?;
    println!("listening on {}", port.address());
    reactor.on_shutdown(Phase::Before, move || port.stop_listening());
    Ok(reactor.run()?)
}
