//! An echo server on plain mio: connections in a slab, one shared buffer, and edges drained as mio requires.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 256 * 1024;
const PAGE: usize = 4096;

struct Connection {
    stream: TcpStream,
    /// Data that was read and not written yet.
    pending: Vec<u8>,
    tally: Tally,
}

pub fn serve(_: &Arguments<'_>) {
    let mut poll = Poll::new().expect("poll");
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("register");
    say_listening(listener.local_addr().expect("its address"));
    let mut connections = Slab::new();
    // The kernel copies faster to an aligned buffer than to an allocation of this size, which starts 16 bytes later.
    let mut memory = vec![0; BUFFER + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[start..start + BUFFER];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None).expect("poll");
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut connections),
                Token(number) => {
                    if !matches!(echo(&mut connections[number], buffer), Ok(true)) {
                        connections.remove(number);
                    }
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).expect("nodelay");
        let entry = connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(entry.key()), interest).expect("register");
        entry.insert(Connection { stream, pending: Vec::new(), tally: Tally::default() });
    }
}

/// Continues until the socket would block. Returns false at the end of the stream.
fn echo(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<bool> {
    loop {
        if !connection.pending.is_empty() {
            let Some(sent) = unless_blocked(connection.stream.write(&connection.pending))? else {
                return Ok(true);
            };
            connection.pending.drain(..sent);
            continue;
        }
        let Some(count) = unless_blocked(connection.stream.read(buffer))? else { return Ok(true) };
        if count == 0 {
            return Ok(false);
        }
        connection.tally.count(&buffer[..count]);
        let sent = unless_blocked(connection.stream.write(&buffer[..count]))?.unwrap_or(0);
        if sent < count {
            connection.pending.extend_from_slice(&buffer[sent..count]);
        } else if count < buffer.len() {
            return Ok(true); // drained: the next bytes bring the next event
        }
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
