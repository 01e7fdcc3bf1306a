//! One system call a turn, counted by strace. Where strace is missing, or may not trace, the test says so and passes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use twistor_reactor::{Handle, Progress, Reactor};

const TURNS: &str = "TWISTOR_TURNS";
const KIND: &str = "TWISTOR_KIND";

/// A byte that goes round through a pipe, once a turn, with a timeout that is pushed back at each step.
fn bytes(turns: u32) {
    let reactor = Reactor::new().unwrap();
    let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
    let timeout = reactor.call_later(Duration::from_secs(30), || panic!("it is pushed back"));
    sender.write_all(b"x").unwrap();
    let (handle, left) = ((*reactor).clone(), Cell::new(turns));
    reactor
        .add_source(receiver, Interest::READABLE, move |receiver, _| {
            receiver.read_exact(&mut [0])?;
            timeout.reset(Duration::from_secs(30)).unwrap();
            left.set(left.get() - 1);
            if left.get() == 0 {
                handle.stop();
            }
            sender.write_all(b"x")?;
            Ok(Progress::Drained)
        })
        .unwrap();
    reactor.run().unwrap();
}

/// Calls from the reactor's own thread, which need no waking.
fn calls(turns: u32) {
    let reactor = Reactor::new().unwrap();
    fn again(handle: &Handle, left: u32) {
        if left == 0 {
            return handle.stop();
        }
        handle.remote().call_from_thread(move |handle| again(handle, left - 1)).unwrap();
    }
    let handle = (*reactor).clone();
    reactor.call_when_running(move || again(&handle, turns));
    reactor.run().unwrap();
}

/// Zero-delay calls.
fn timers(turns: u32) {
    let reactor = Reactor::new().unwrap();
    fn again(handle: Handle, left: Rc<Cell<u32>>) {
        left.set(left.get() - 1);
        if left.get() == 0 {
            return handle.stop();
        }
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || again(next, left));
    }
    again((*reactor).clone(), Rc::new(Cell::new(turns)));
    reactor.run().unwrap();
}

/// Not a test by itself: what the other one traces.
#[test]
fn traced() {
    let Ok(turns) = std::env::var(TURNS) else { return };
    let turns = turns.parse().unwrap();
    match &*std::env::var(KIND).unwrap() {
        "bytes" => bytes(turns),
        "calls" => calls(turns),
        _ => timers(turns),
    }
}

fn count(kind: &str, turns: u32) -> Result<BTreeMap<String, i64>, String> {
    let summary = std::env::temp_dir().join(format!("twistor-strace-{}-{kind}-{turns}", std::process::id()));
    let output = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "traced", "--test-threads=1"])
        .env(TURNS, turns.to_string())
        .env(KIND, kind)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = std::fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    let _ = std::fs::remove_file(&summary);
    // % time, seconds, usecs/call, calls, [errors,] name
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let counts = lines.filter_map(|columns| {
        let calls = columns.get(3)?.parse().ok()?;
        Some(((*columns.last()?).to_owned(), calls))
    });
    Ok(counts.filter(|(name, _)| name != "total").collect())
}

#[test]
fn a_turn_is_one_system_call_beside_the_users_own() {
    // R13
    for (kind, own) in [("bytes", &["read", "write"][..]), ("calls", &[]), ("timers", &[])] {
        let (few, many) = match (count(kind, 1000), count(kind, 3000)) {
            (Ok(few), Ok(many)) => (few, many),
            (Err(reason), _) | (_, Err(reason)) => return println!("not counted, strace says: {reason}"),
        };
        let more: BTreeMap<&str, i64> = many
            .iter()
            .map(|(name, calls)| (&**name, calls - few.get(name).unwrap_or(&0)))
            // Memory, and the test harness's own threads.
            .filter(|(name, more)| *more > 20 || own.contains(name) || *name == "epoll_wait")
            .collect();
        let expected = ["epoll_wait"].iter().chain(own).map(|name| (*name, 2000)).collect();
        assert_eq!(more, expected, "{kind}: what 2000 more turns cost");
    }
}
