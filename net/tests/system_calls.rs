//! The system calls of a connection, counted by strace. If strace is missing or may not trace, the test
//! prints that and passes.

#![cfg(all(target_os = "linux", feature = "direct-syscalls"))]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../../reactor/tests/support/child.rs"]
mod child;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use child::output;
use twistor_deferred::Deferred;
use twistor_net::{ClientEndpoint, ConnectionDone, Failure, Protocol, Transport};
use twistor_reactor::{Handle, Reactor};

const CONNECTIONS: &str = "TWISTOR_CONNECTIONS";

/// Sends a byte, and closes when it has come back.
struct Once(Option<twistor_deferred::Trigger<()>>);

impl Protocol for Once {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"x");
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        transport.lose_connection();
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        if let Some(trigger) = self.0.take() {
            trigger.fire(if reason.is::<ConnectionDone>() { Ok(()) } else { Err(reason) });
        }
    }
}

fn one_after_the_other(handle: &Handle, endpoint: ClientEndpoint, left: u32) -> Deferred<()> {
    if left == 0 {
        return twistor_deferred::succeed(());
    }
    let (lost, trigger) = Deferred::new();
    let handle = handle.clone();
    let connected = endpoint.connect(&handle, Once(Some(trigger)));
    connected
        .add_callback(move |_| lost)
        .add_callback(move |()| one_after_the_other(&handle, endpoint, left - 1))
}

/// Runs only under the trace of the other test. The peers are a blocking thread, which is not traced.
#[test]
fn traced() {
    let (Ok(address), Ok(connections)) = (std::env::var("TWISTOR_ADDRESS"), std::env::var(CONNECTIONS))
    else {
        return;
    };
    let (host, port) = address.split_once(':').unwrap();
    let endpoint = ClientEndpoint::tcp(host, port.parse().unwrap());
    let reactor = Reactor::new().unwrap();
    reactor.run_until(one_after_the_other(&reactor, endpoint, connections.parse().unwrap())).unwrap();
}

/// Returns how often each system call was made for `connections` connections.
fn count(connections: u32) -> Result<BTreeMap<String, u32>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections as usize) {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"x").unwrap();
            // Waits until the client has closed, so that the client closes first.
            let _ = stream.read(&mut [0]);
        }
    });
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=network,epoll_ctl"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "traced", "--test-threads=1"])
        .env("TWISTOR_ADDRESS", address.to_string())
        .env(CONNECTIONS, connections.to_string());
    let output = output(&mut command).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(text.into_owned());
    }
    let mut counts = BTreeMap::new();
    // [pid 123] connect(5, {sa_family=AF_INET, ...}, 16) = -1 EINPROGRESS; the second half of such a line can
    // come later
    for line in text.lines() {
        let call =
            line.strip_prefix("[pid ").and_then(|line| line.split_once("] ")).map_or(line, |(_, call)| call);
        if let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[test]
fn a_client_is_registered_once_and_checked_once() {
    // P6
    let (few, many) = match (count(10), count(110)) {
        (Ok(few), Ok(many)) => (few, many),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: strace failed: {reason}"),
    };
    let more: BTreeMap<&str, u32> =
        many.iter().map(|(name, calls)| (&**name, calls - few.get(name).unwrap_or(&0))).collect();
    // The system could have chosen the server's port for the client, so getsockname rules out a connection to
    // itself.
    let expected =
        ["connect", "getpeername", "getsockname", "recvfrom", "sendto", "socket"].map(|name| (name, 100));
    let watching = [("epoll_ctl", 200)]; // begun and ended
    assert_eq!(
        more.into_iter().filter(|(_, calls)| *calls > 0).collect::<BTreeMap<_, _>>(),
        expected.into_iter().chain(watching).collect()
    );
}
