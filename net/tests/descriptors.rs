//! Running out of file descriptors. P7. In a separate program, because the limit applies to the process.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use support::*;

/// Allows this process `more` additional descriptors; `None` if the limit cannot be set.
fn leave(more: usize) -> Option<()> {
    let listing = std::fs::read_dir("/proc/self/fd").ok()?;
    let open: HashSet<u64> =
        listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The listing's own descriptor is among those counted, and closed again by now.
    let last = (0..).filter(|descriptor| !open.contains(descriptor)).nth(more - 2)?;
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--nofile={}:", last + 1))
        .status();
    status.ok()?.success().then_some(())
}

// P7.4, A1
#[test]
fn a_listener_recovers_from_a_lack_of_descriptors() {
    let turns = run(|reactor| {
        let made = Rc::new(Cell::new(0));
        let count = made.clone();
        let port = listen(reactor, move |_| {
            count.set(count.get() + 1);
            Echo
        });
        let handle = (**reactor).clone();
        // The first job creates a thread and its resources, while there are descriptors left.
        let ready = reactor.defer_to_thread(|| Ok(()));
        ready.add_callback(move |()| {
            // All clients are connected, and none is accepted before the next turn.
            let clients: Vec<TcpStream> =
                (0..40).map(|_| TcpStream::connect(address(&port)).unwrap()).collect();
            if leave(5).is_none() {
                println!("skipped: lowering the limit needs prlimit and /proc");
                return twistor_deferred::succeed(0);
            }
            let (waited, trigger) = twistor_deferred::Deferred::new();
            let (before, meter) = (handle.stats().turns, handle.clone());
            handle.call_later(Duration::from_millis(450), move || {
                trigger.callback(meter.stats().turns - before);
            });
            waited.add_callback(move |turns| {
                assert_eq!(made.get(), 5, "connections were accepted");
                handle.defer_to_thread(move || {
                    // The five accepted clients are served, and make room for others when they leave.
                    for mut client in clients {
                        client.set_read_timeout(Some(DEADLINE))?;
                        client.write_all(b"x")?;
                        client.read_exact(&mut [0])?;
                    }
                    Ok(turns)
                })
            })
        })
    });
    // One turn for each retry, and a few more: no spinning.
    assert!(turns < 20, "{turns} turns without work");
}
