//! `ADDRESS PID CONNECTIONS MILLISECONDS`: each connection sends 64 bytes, waits until they have returned, and
//! repeats.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::{Events, Poll};

use super::connect::{Window, connect};
use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

const MESSAGE: [u8; 64] = [b'm'; 64];

pub fn run(arguments: &Arguments<'_>) {
    let mut poll = Poll::new().expect("poll");
    let mut streams = connect(arguments.text(0), arguments.number(2) as usize, &poll);
    let mut received = vec![0; streams.len()];
    let mut window = Window::new(arguments.number(1), arguments.number(3));
    for stream in &mut streams {
        stream.write_all(&MESSAGE).expect("a first write fits");
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = [0; 4096];
    let mut trips = 0;
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("poll");
        for event in events.iter().filter(|event| event.is_readable()) {
            let number = event.token().0;
            match streams[number].read(&mut buffer) {
                Ok(0) => panic!("the server closed connection {number}"),
                Ok(count) => received[number] += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("connection {number}: {error}"),
            }
            // The read did not fill the buffer, so the socket is drained, and the next bytes cause the next event.
            if received[number] == MESSAGE.len() {
                received[number] = 0;
                trips += 1;
                streams[number].write_all(&MESSAGE).expect("one message always fits");
            }
        }
        if let Some(counted) = window.look(trips) {
            return Sample::of(counted.operations, counted.wall, counted.cpu).report();
        }
    }
}
