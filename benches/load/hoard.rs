//! `ADDRESS CONNECTIONS`: opens them, sends a request of one byte through each, and reads nothing until it is killed.

use std::io::Write;
use std::net::TcpStream;

use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let (address, count) = (arguments.text(0), arguments.number(1));
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(b"x").expect("write");
        stream
    };
    let _streams: Vec<TcpStream> = (0..count).map(open).collect();
    loop {
        std::thread::park();
    }
}
