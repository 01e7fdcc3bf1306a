//! `ADDRESS CONNECTIONS RATE MILLISECONDS`: so many round trips a second, at fixed times and over the connections in turn,
//! whether the ones before are back or not. A time counts from when its message was to be sent, so that a server that
//! stalls is not measured less often.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll};

use super::connect::connect;
use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

const MESSAGE: [u8; 64] = [b'l'; 64];

struct Connection {
    stream: TcpStream,
    /// When each message on its way was to be sent.
    due: VecDeque<Instant>,
    received: usize,
}

pub fn run(arguments: &Arguments<'_>) {
    let mut poll = Poll::new().expect("poll");
    let streams = connect(arguments.text(0), arguments.number(1) as usize, &poll);
    let mut connections: Vec<Connection> =
        streams.into_iter().map(|stream| Connection { stream, due: VecDeque::new(), received: 0 }).collect();
    let interval = Duration::from_secs_f64(1.0 / arguments.number(2) as f64);
    let length = Duration::from_millis(arguments.number(3));
    let mut events = Events::with_capacity(1024);
    let (start, mut sent) = (Instant::now(), 0_u32);
    let mut times = Vec::new();
    // Warming up stays out.
    let counts_from = start + length / 10;
    loop {
        let now = Instant::now();
        while start + interval * sent <= now && now < start + length {
            let number = sent as usize % connections.len();
            connections[number].send(start + interval * sent);
            sent += 1;
        }
        if now >= start + length && connections.iter().all(|connection| connection.due.is_empty()) {
            break;
        }
        assert!(now < start + length + Duration::from_secs(5), "some messages never came back");
        // No wait: a wait would end late, and its lateness would count.
        poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
        for event in events.iter().filter(|event| event.is_readable()) {
            connections[event.token().0].receive(counts_from, &mut times);
        }
    }
    assert!(!times.is_empty(), "nothing was measured");
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64;
    Sample::default().with("median", at(0.5)).with("p99", at(0.99)).with("p999", at(0.999)).report();
}

impl Connection {
    fn send(&mut self, due: Instant) {
        self.due.push_back(due);
        self.stream.write_all(&MESSAGE).expect("the messages on the way fit");
    }

    fn receive(&mut self, counts_from: Instant, times: &mut Vec<Duration>) {
        let mut buffer = [0; 64 * MESSAGE.len()];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(count) => self.received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            while self.received >= MESSAGE.len() {
                self.received -= MESSAGE.len();
                let due = self.due.pop_front().expect("no more comes back than was sent");
                if due >= counts_from {
                    times.push(due.elapsed());
                }
            }
        }
    }
}
