//! `ADDRESS PID CONNECTIONS`: opens them one after another, sends one message through each, and reads the server's
//! memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::runner::child::Arguments;
use crate::runner::memory::anonymous_memory;
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
