//! Writing to a closed peer is an error, and never raises a signal: P1.4.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGPIPE;
use support::child::output;
use support::folder::Folder;
use support::*;
use twistor_net::{ConnectionLost, Factory, ServerEndpoint, Transport};

/// Set for the child process, which has the default action for SIGPIPE: the first one kills it.
const CHILD: &str = "TWISTOR_SIGPIPE";

fn child(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let output = output(&mut command).unwrap();
    assert_eq!(output.status.signal(), None, "the child was killed by a signal");
    // A name that matches no test would succeed as well.
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{output:?}");
}

/// Returns whether this process is the child.
fn is_child() -> bool {
    let child = std::env::var_os(CHILD).is_some();
    if child {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(SIGPIPE, always).unwrap();
    }
    child
}

type Way = fn(&Transport) -> bool;

const WAYS: [Way; 4] = [
    |transport| transport.write(b"is anybody there?"),
    |transport| transport.write_vec(b"is anybody there?".to_vec()),
    |transport| transport.write_slices(&[b"is anybody", b" there?"]),
    // Two writes, so that the second one waits in the queue if the first was accepted.
    |transport| transport.write_vec(vec![b'x'; 8 << 20]) && transport.write_vec(vec![b'x'; 8 << 20]),
];

/// A server whose handler waits until the peer is gone, and then writes.
fn writer(way: Way, greeting: &'static [u8]) -> (Diary, impl Factory, std::sync::mpsc::Sender<()>) {
    let (gone, when_gone) = std::sync::mpsc::channel();
    let diary = Diary::new();
    let greets = scripted(&diary).on_made(move |transport| {
        transport.write(greeting);
        Ok(())
    });
    let server = greets.on_data(move |transport, _| {
        when_gone.recv_timeout(DEADLINE).unwrap();
        // TCP may discover that the peer is gone only by the first write.
        while way(transport) && transport.buffered() == 0 {}
        Ok(())
    });
    (diary, Once(Some(server)), gone)
}

// P1.4
#[test]
fn writing_to_a_closed_unix_peer_raises_no_signal() {
    if !is_child() {
        return child("writing_to_a_closed_unix_peer_raises_no_signal");
    }
    let folder = Folder::new("sigpipe");
    for (index, way) in WAYS.into_iter().enumerate() {
        let (diary, server, gone) = writer(way, b"");
        run(|reactor| {
            let path = folder.join(index.to_string());
            let port = ServerEndpoint::unix(&path).listen(reactor, server).unwrap();
            let peer = reactor.defer_to_thread(move || {
                UnixStream::connect(path)?.write_all(b"x")?;
                let _ = gone.send(());
                Ok(())
            });
            let lost = diary.when_lost();
            peer.add_callback(move |()| {
                drop(port);
                lost
            })
        });
        assert!(diary.reason().is::<ConnectionLost>());
    }
}

// P1.4
#[test]
fn writing_to_a_reset_tcp_peer_raises_no_signal() {
    if !is_child() {
        return child("writing_to_a_reset_tcp_peer_raises_no_signal");
    }
    for way in WAYS {
        let (diary, server, gone) = writer(way, b"");
        run(|reactor| {
            let port = listen(reactor, server);
            let peer = peer(reactor, address(&port), move |mut stream| {
                stream.write_all(b"x")?;
                reset(stream);
                let _ = gone.send(());
                Ok(())
            });
            let lost = diary.when_lost();
            peer.add_callback(move |()| lost)
        });
        assert!(diary.reason().is::<ConnectionLost>());
    }
}

// P1.4, P11: also for TLS's close_notify
#[cfg(feature = "tls")]
#[test]
fn writing_to_a_reset_tls_peer_raises_no_signal() {
    if !is_child() {
        return child("writing_to_a_reset_tls_peer_raises_no_signal");
    }
    let authority = tls_support::Authority::new();
    for way in WAYS {
        let (diary, server, gone) = writer(way, b"hello");
        let tls = authority.signs("localhost").server();
        run(|reactor| {
            let port =
                ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), tls).listen(reactor, server).unwrap();
            let config = tls_support::config_of(&authority);
            let peer = peer(reactor, address(&port), move |mut stream| {
                use twistor_net::tls::rustls::{ClientConnection, Stream};
                let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
                let mut secured = Stream::new(&mut session, &mut stream);
                secured.read_exact(&mut [0; 5])?;
                secured.write_all(b"x")?;
                reset(stream);
                let _ = gone.send(());
                Ok(())
            });
            let lost = diary.when_lost();
            peer.add_callback(move |()| lost)
        });
        assert!(!diary.reason().is::<twistor_net::ConnectionDone>());
    }
}

/// Checks the check itself: writing to a pipe without a reader kills the child.
#[test]
fn the_child_would_die_of_a_signal() {
    if !is_child() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_child_would_die_of_a_signal", "--test-threads=1"]).env(CHILD, "1");
        return assert_eq!(output(&mut command).unwrap().status.signal(), Some(SIGPIPE));
    }
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    let _ = writer.write_all(b"x");
}
