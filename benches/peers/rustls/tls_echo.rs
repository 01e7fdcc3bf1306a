//! rustls over the standard library's blocking sockets: one connection after the other.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::{ServerConnection, StreamOwned};

use crate::peers::certificate;
use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

/// `CERTIFICATE KEY`: files.
pub fn serve(arguments: &Arguments<'_>) {
    let config = Arc::new(certificate::server_config(arguments));
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    say_listening(listener.local_addr().expect("its address"));
    let mut buffer = vec![0; 64 * 1024];
    for stream in listener.incoming() {
        let stream = stream.expect("accept");
        stream.set_nodelay(true).expect("nodelay");
        let mut stream =
            StreamOwned::new(ServerConnection::new(config.clone()).expect("a connection"), stream);
        let mut tally = Tally::default();
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            tally.count(&buffer[..count]);
            stream.write_all(&buffer[..count]).expect("write");
        }
    }
}
