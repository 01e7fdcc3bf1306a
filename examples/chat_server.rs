//! cargo run --example chat_server -- [--listen ADDRESS]
//!
//! A chat over lines: a guest's first line is their name, and every further line goes to all other guests. A guest
//! who does not read misses lines, and learns how many. Try it with `telnet 127.0.0.1 8000` from two terminals.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use clap::Parser;
use twistor::net::framing::FrameError;
use twistor::prelude::*;

/// The guests who have a name, by name.
type Room = Rc<RefCell<HashMap<String, Transport>>>;

/// A connected guest.
struct Guest {
    room: Room,
    name: Option<String>,
    missed: usize,
}

impl Guest {
    /// Sends a line to all other guests.
    fn tell(&self, text: &str) {
        let text: Rc<str> = text.into();
        for (name, other) in &*self.room.borrow() {
            if Some(name) != self.name.as_ref() {
                let text = text.clone();
                other.enter(move |guest: &mut Guest, transport| guest.hear(transport, &text));
            }
        }
    }

    fn hear(&mut self, transport: &Transport, text: &str) -> Result<(), Failure> {
        if transport.is_full() {
            self.missed += 1;
            return Ok(());
        }
        if self.missed > 0 {
            let note = format!("(you missed {} lines)\r\n", std::mem::take(&mut self.missed));
            transport.write(note.as_bytes());
        }
        transport.write_slices(&[text.as_bytes(), b"\r\n"]);
        Ok(())
    }

    fn come_in(&mut self, transport: &Transport, name: String) {
        if name.is_empty() || self.room.borrow().contains_key(&name) {
            transport.write(b"That name is taken. Please choose another one.\r\n");
            return;
        }
        transport.write_slices(&[b"Welcome, ", name.as_bytes(), b"!\r\n"]);
        self.room.borrow_mut().insert(name.clone(), transport.clone());
        self.name = Some(name);
        self.tell(&format!("{} is here", self.name.as_deref().unwrap_or_default()));
    }
}

impl FrameReceiver for Guest {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"Who are you?\r\n");
        Ok(())
    }

    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        match &self.name {
            None => self.come_in(transport, text),
            Some(name) => self.tell(&format!("<{name}> {text}")),
        }
        Ok(())
    }

    fn frame_refused(&mut self, transport: &Transport, error: FrameError) -> Result<(), Failure> {
        transport.write(b"That line is too long. Good bye.\r\n");
        Err(error.into())
    }

    fn connection_lost(&mut self, reason: Failure) {
        if let Some(name) = &self.name {
            self.room.borrow_mut().remove(name);
            self.tell(&format!("{name} has left ({reason})"));
        }
    }
}

#[derive(Parser)]
struct Options {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let room = Room::default();
    let port = ServerEndpoint::tcp(Options::parse().listen).listen(&reactor, move |_peer| {
        let lines = Lines::any_ending().max_length(1000);
        Framed::new(lines, Guest { room: room.clone(), name: None, missed: 0 })
    })?;
    println!("listening on {}", port.address());
    Ok(reactor.run()?)
}
