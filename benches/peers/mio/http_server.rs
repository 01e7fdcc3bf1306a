//! A bare responder: finds the ends of requests, and answers each with the same bytes, without parsing it.

use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::runner::child::{Arguments, say_listening};

pub(super) const LISTENER: Token = Token(usize::MAX);

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// How many bytes of the blank line that ends a request were the last ones read.
    pub(super) matched: usize,
}

/// `BODY`: keeps connections open.
pub fn serve(arguments: &Arguments<'_>) {
    let body = arguments.text(0);
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    run((head + body).as_bytes(), true);
}

/// `BODY`: closes each connection after one answer.
pub fn serve_closing(arguments: &Arguments<'_>) {
    let body = arguments.text(0);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    run((head + body).as_bytes(), false);
}

fn run(answer: &[u8], keep_open: bool) {
    let mut poll = Poll::new().expect("poll");
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("register");
    say_listening(listener.local_addr().expect("its address"));
    let mut connections = Slab::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None).expect("poll");
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut connections),
                Token(number) => {
                    let lives = connections
                        .get_mut(number)
                        .is_none_or(|connection| respond(connection, answer, keep_open, &mut buffer));
                    if !lives {
                        connections.remove(number);
                    }
                }
            }
        }
    }
}

pub(super) fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).expect("nodelay");
        let entry = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE).expect("register");
        entry.insert(Connection { stream, matched: 0 });
    }
}

/// Returns false when the connection is finished.
fn respond(connection: &mut Connection, answer: &[u8], keep_open: bool, buffer: &mut [u8]) -> bool {
    loop {
        let count = match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        for _ in 0..ends(&buffer[..count], &mut connection.matched) {
            // The answers are small and their receivers read, so a write that does not fit is a fault of the load.
            if !matches!(connection.stream.write(answer), Ok(sent) if sent == answer.len()) || !keep_open {
                return false;
            }
        }
        if count < buffer.len() {
            return true; // drained
        }
    }
}

/// How many requests end in `data`; `matched` goes on from one read to the next.
pub(super) fn ends(data: &[u8], matched: &mut usize) -> usize {
    const END: &[u8; 4] = b"\r\n\r\n";
    let mut count = 0;
    for byte in data {
        *matched = match (*byte == END[*matched], *byte) {
            (true, _) => *matched + 1,
            (false, b'\r') => 1,
            (false, _) => 0,
        };
        if *matched == END.len() {
            *matched = 0;
            count += 1;
        }
    }
    count
}
