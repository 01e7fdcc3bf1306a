//! `ADDRESS PID CONNECTIONS`: opens them one after the other, one message through each, and looks at the server's memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

pub fn run(arguments: &Arguments<'_>) {
    let (address, pid, count) = (arguments.text(0), arguments.number(1), arguments.number(2));
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(b"hello").expect("write");
        stream.read_exact(&mut [0; 5]).expect("read");
        stream
    };
    let first: Vec<TcpStream> = (0..10).map(open).collect();
    let before = anonymous_memory(pid);
    let idle: Vec<TcpStream> = (0..count).map(open).collect();
    let after = anonymous_memory(pid);
    Sample::default().with("memory", (after - before) / count as f64).report();
    drop((first, idle));
}

/// Bytes of memory that back no file: heap and stacks. From the page tables, since the counters in `status` lag behind.
fn anonymous_memory(pid: u64) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).expect("its anonymous memory");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kilobytes * 1024.0
}
