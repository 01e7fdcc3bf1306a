//! The minimum of a turn: one poll, one read, one write.

use std::io::{Read, Write};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

pub fn run(arguments: &Arguments<'_>) {
    let turns = arguments.number(0);
    let mut poll = Poll::new().expect("poll");
    let mut events = Events::with_capacity(1024);
    let (mut near, mut far) = UnixStream::pair().expect("pair");
    poll.registry().register(&mut near, Token(0), Interest::READABLE).expect("register");
    far.write_all(b"x").expect("write");
    let mut left = turns;
    let mut buffer = [0; 64];
    let clock = Stopwatch::start();
    while left > 0 {
        poll.poll(&mut events, None).expect("poll");
        for _ in &events {
            assert_eq!(near.read(&mut buffer).expect("read"), 1);
            far.write_all(b"x").expect("write");
            left -= 1;
        }
    }
    clock.stop(turns).report();
}
