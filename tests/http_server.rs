//! `examples/http_server.rs` as a program: its answers, and how SIGTERM stops it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The running example. Killed if a test fails.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        // The example as `cargo test` has built it.
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.pop();
        let mut command = Command::new(path.join("examples/http_server"));
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("cargo build --examples makes it");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").expect(&line).to_owned();
        Server { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Returns the complete response to a request that asks to close.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn it_greets_echoes_waits_and_serves_files() {
    let root = env!("CARGO_MANIFEST_DIR");
    let server = Server::start(&["--root", root]);
    let hello = server.get("/");
    assert!(hello.starts_with("HTTP/1.1 200 OK\r\n") && hello.ends_with("\r\n\r\nHello, world!"), "{hello}");
    let post = "POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 4\r\n\r\necho";
    assert!(server.ask(post).ends_with("\r\n\r\necho"));
    assert!(server.ask(&post.replace("/echo", "/")).ends_with("\r\n\r\necho"));
    assert!(server.get("/slow?ms=5").ends_with("\r\n\r\nslept 5 ms\n"));
    assert!(server.get("/slow").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    assert!(server.get("/Cargo.toml").ends_with(&manifest));
    assert!(server.get("/../etc/passwd").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

// W6, E4
#[test]
fn sigterm_drains_it() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET /slow?ms=1500 HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    // An answer on another connection shows that the server has read the request.
    assert!(server.get("/").ends_with("Hello, world!"));
    let term = format!("kill -TERM {}", server.child.id());
    assert!(Command::new("sh").args(["-c", &term]).status().unwrap().success());
    assert_eq!(rest(&mut idle), "");
    assert_eq!(TcpStream::connect(&server.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let answer = rest(&mut slow);
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("slept 1500 ms\n"), "{answer}");
    assert!(server.child.wait().unwrap().success());
}
