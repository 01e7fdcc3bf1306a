//! The bare responder, which answers each request a millisecond later. All wait equally long, so a queue orders them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::http_server::{Connection, LISTENER, accept, ends};
use crate::runner::child::{Arguments, say_listening};

const DELAY: Duration = Duration::from_millis(1);

/// `BODY`.
pub fn serve(arguments: &Arguments<'_>) {
    let body = arguments.text(0);
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = head + body;
    let mut poll = Poll::new().expect("poll");
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("register");
    say_listening(listener.local_addr().expect("its address"));
    let mut connections = Slab::new();
    let mut waiting: VecDeque<(Instant, usize)> = VecDeque::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        let wait = waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, wait).expect("poll");
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut connections),
                Token(number) => {
                    let requests = connections
                        .get_mut(number)
                        .map_or(Some(0), |connection| read(connection, &mut buffer));
                    let Some(requests) = requests else {
                        waiting.retain(|(_, waits)| *waits != number);
                        connections.remove(number);
                        continue;
                    };
                    let due = Instant::now() + DELAY;
                    waiting.extend((0..requests).map(|_| (due, number)));
                }
            }
        }
        let now = Instant::now();
        while waiting.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, number)) = waiting.pop_front() else { break };
            // The answers are small, and their receivers read: a write fails when the peer is gone.
            let sent = connections[number].stream.write(answer.as_bytes());
            if !matches!(sent, Ok(sent) if sent == answer.len()) {
                waiting.retain(|(_, waits)| *waits != number);
                connections.remove(number);
            }
        }
    }
}

/// How many requests have ended, or `None` when the connection is over.
fn read(connection: &mut Connection, buffer: &mut [u8]) -> Option<usize> {
    let mut requests = 0;
    loop {
        match connection.stream.read(buffer) {
            Ok(0) => return None,
            Ok(count) => {
                requests += ends(&buffer[..count], &mut connection.matched);
                if count < buffer.len() {
                    return Some(requests); // drained
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(requests),
            Err(_) => return None,
        }
    }
}
