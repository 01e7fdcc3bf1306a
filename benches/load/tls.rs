//! `ADDRESS PID CERTIFICATE MILLISECONDS`: handshakes one after the other, or blocks of 64 KiB there and back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::connect::Window;
use crate::peers::certificate::client_config;
use crate::runner::child::Arguments;
use crate::runner::sample::Sample;

const BLOCK: usize = 64 * 1024;

fn connect(address: &str, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let name = "localhost".try_into().expect("a name");
    StreamOwned::new(ClientConnection::new(config.clone(), name).expect("a connection"), stream)
}

/// Each connection sends a byte and receives it, and ends.
pub fn handshakes(arguments: &Arguments<'_>) {
    let config = Arc::new(client_config(arguments.text(2)));
    let mut window = Window::new(arguments.number(1), arguments.number(3));
    let mut count = 0;
    loop {
        let mut stream = connect(arguments.text(0), &config);
        stream.write_all(b"x").expect("write");
        stream.read_exact(&mut [0]).expect("read");
        stream.conn.send_close_notify();
        let _ = stream.flush();
        count += 1;
        if let Some(counted) = window.look(count) {
            return Sample::of(counted.operations, counted.wall, counted.cpu).report();
        }
    }
}

pub fn bulk(arguments: &Arguments<'_>) {
    let mut stream = connect(arguments.text(0), &Arc::new(client_config(arguments.text(2))));
    let mut window = Window::new(arguments.number(1), arguments.number(3));
    let (sent, mut received) = (vec![b'd'; BLOCK], vec![0; BLOCK]);
    let mut blocks = 0;
    loop {
        stream.write_all(&sent).expect("write");
        stream.read_exact(&mut received).expect("read");
        blocks += 1;
        if let Some(counted) = window.look(blocks) {
            assert_eq!(sent, received);
            let mebibytes = counted.operations as f64 * BLOCK as f64 / (1 << 20) as f64;
            return Sample::default()
                .with("cpu", counted.cpu.as_nanos() as f64 / mebibytes)
                .with("rate", mebibytes / counted.wall.as_secs_f64())
                .report();
        }
    }
}
