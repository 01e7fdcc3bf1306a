//! `ADDRESS PID CONNECTIONS MILLISECONDS`: each connection sends as much as it can, with at most 1 MiB not yet
//! returned.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Poll};

use super::connect::{Window, connect};
use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

const ON_THE_WAY: usize = 1 << 20;
const MIB: f64 = (1 << 20) as f64;

pub fn run(arguments: &Arguments<'_>) {
    let mut poll = Poll::new().expect("poll");
    let mut streams = connect(arguments.text(0), arguments.number(2) as usize, &poll);
    let mut on_the_way = vec![0; streams.len()];
    let mut window = Window::new(arguments.number(1), arguments.number(3));
    let data = vec![b'd'; 256 * 1024];
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(64);
    let mut received = 0;
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("poll");
        for event in &events {
            let number = event.token().0;
            received += pump(&mut streams[number], &mut on_the_way[number], &data, &mut buffer);
        }
        if let Some(counted) = window.look(received as u64) {
            let mebibytes = counted.operations as f64 / MIB;
            return Sample::default()
                .with("cpu", counted.cpu.as_nanos() as f64 / mebibytes)
                .with("rate", mebibytes / counted.wall.as_secs_f64())
                .report();
        }
    }
}

/// The same load at the lowest priority, so that everything else on this core runs first.
pub fn flood(arguments: &Arguments<'_>) {
    rustix::process::nice(19).expect("a lower priority");
    run(arguments);
}

/// Writes and reads until both would block. Returns the number of bytes read.
fn pump(stream: &mut TcpStream, on_the_way: &mut usize, data: &[u8], buffer: &mut [u8]) -> usize {
    let mut received = 0;
    loop {
        let room = data.len().min(ON_THE_WAY - *on_the_way);
        let sent = if room == 0 { 0 } else { moved(stream.write(&data[..room])) };
        let got = moved(stream.read(buffer));
        *on_the_way = *on_the_way + sent - got;
        received += got;
        if sent == 0 && got == 0 {
            return received;
        }
    }
}

fn moved(result: std::io::Result<usize>) -> usize {
    match result {
        Ok(0) => panic!("the server closed"),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}
