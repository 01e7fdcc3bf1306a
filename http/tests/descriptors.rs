//! Files when the process has no descriptors left. Statement W7. In a separate program, because the limit applies to
//! the whole process.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use support::folder::Folder;
use support::{DEADLINE, address, run};
use twistor_http::server::{Files, Site, Tree};
use twistor_net::ServerEndpoint;

/// Sends one request on an open connection.
fn ask(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")?;
    let mut text = Vec::new();
    while !text.ends_with(b"\n.") && !text.ends_with(b"Unavailable\n") {
        let mut piece = [0; 1000];
        let count = stream.read(&mut piece)?;
        assert!(count > 0, "end of stream after {:?}", text.escape_ascii().to_string());
        text.extend_from_slice(&piece[..count]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

// W7.3: the file is available later, on the same connection
#[test]
fn a_file_without_a_descriptor_is_a_503() {
    let folder = Folder::new("descriptors");
    folder.write("file", "content\n.");
    let root = Tree::new().get(|_| "here\n.").fallback(Files::new(folder.path()));
    run(|reactor| {
        let port =
            Site::new(reactor, root).listen(ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = address(&port);
        let handle = (**reactor).clone();
        reactor.spawn(async move {
            let connect = handle.defer_to_thread(move || {
                let mut stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                // Both paths work, and the threads that they need are running.
                assert!(ask(&mut stream, "/file")?.starts_with("HTTP/1.1 200 OK"));
                Ok(stream)
            });
            let mut stream = connect.await?;
            let limit = |count: &str| {
                let pid = format!("--pid={}", std::process::id());
                Command::new("prlimit")
                    .arg(pid)
                    .arg(format!("--nofile={count}:"))
                    .status()
                    .is_ok_and(|status| status.success())
            };
            if !limit("64") {
                println!("not tested: prlimit is needed to lower the limit");
                return Ok(());
            }
            let mut taken = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                taken.push(file);
            }
            let asked = handle.defer_to_thread(move || {
                let refused = ask(&mut stream, "/file")?;
                assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
                assert!(ask(&mut stream, "/")?.ends_with("here\n."));
                Ok(stream)
            });
            let mut stream = asked.await?;
            drop(taken);
            let asked = handle.defer_to_thread(move || ask(&mut stream, "/file").map_err(Into::into));
            assert!(asked.await?.ends_with("content\n."));
            Ok::<(), twistor_net::Failure>(())
        })
    });
}
