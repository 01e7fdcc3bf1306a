//! `ADDRESS CONNECTIONS MILLISECONDS`: every millisecond a few connections send 64 bytes, each of them ten times a
//! second. Measures the time until the bytes return.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll};

use super::connect::connect;
use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

const MESSAGE: [u8; 64] = [b'p'; 64];
const TICK: Duration = Duration::from_millis(1);
const TICKS_A_ROUND: usize = 100;

struct Pinger {
    stream: TcpStream,
    /// The time at which the message in flight was sent.
    sent: Option<Instant>,
    received: usize,
}

pub fn run(arguments: &Arguments<'_>) {
    let mut poll = Poll::new().expect("poll");
    let streams = connect(arguments.text(0), arguments.number(1) as usize, &poll);
    let mut pingers: Vec<Pinger> =
        streams.into_iter().map(|stream| Pinger { stream, sent: None, received: 0 }).collect();
    let a_tick = pingers.len().div_ceil(TICKS_A_ROUND);
    let mut times = Vec::new();
    let mut events = Events::with_capacity(1024);
    let ends = Instant::now() + Duration::from_millis(arguments.number(2));
    let (mut next, mut tick) = (0, Instant::now());
    while tick < ends {
        poll.poll(&mut events, Some(tick.saturating_duration_since(Instant::now()))).expect("poll");
        for event in events.iter().filter(|event| event.is_readable()) {
            times.extend(pingers[event.token().0].receive());
        }
        if Instant::now() < tick {
            continue;
        }
        tick += TICK;
        for _ in 0..a_tick {
            pingers[next].send();
            next = (next + 1) % pingers.len();
        }
    }
    let lost = pingers.iter().filter_map(|pinger| pinger.sent);
    times.extend(lost.map(|sent| sent.elapsed()).filter(|late| *late > Duration::from_secs(1)));
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64;
    Sample::default().with("median", at(0.5)).with("p99", at(0.99)).with("most", at(1.0)).report();
}

impl Pinger {
    /// Skipped while a message is in flight: the time of that message is measured.
    fn send(&mut self) {
        if self.sent.is_none() {
            self.sent = Some(Instant::now());
            self.stream.write_all(&MESSAGE).expect("one message always fits");
        }
    }

    /// Returns the time that the message took, when all of it has returned.
    fn receive(&mut self) -> Option<Duration> {
        let mut buffer = [0; 2 * MESSAGE.len()];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(count) => self.received += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
        if self.received < MESSAGE.len() {
            return None;
        }
        self.received = 0;
        self.sent.take().map(|sent| sent.elapsed())
    }
}
