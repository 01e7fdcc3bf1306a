//! The system calls of a turn and of a wait, counted by strace. If strace is missing or may not trace, the test
//! reports that and passes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "support/child.rs"]
mod child;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use child::output;
use mio::Interest;
use twistor_reactor::{Handle, Progress, Reactor};

const TURNS: &str = "TWISTOR_TURNS";
const KIND: &str = "TWISTOR_KIND";

/// A byte that travels through a pipe, once per turn, with a timeout that is postponed at each step.
fn bytes(turns: u32, limit: Duration) {
    let reactor = Reactor::new().unwrap();
    let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
    let timeout = reactor.call_later(limit, || panic!("it is pushed back"));
    sender.write_all(b"x").unwrap();
    let (handle, left) = ((*reactor).clone(), Cell::new(turns));
    reactor
        .add_source(receiver, Interest::READABLE, move |receiver, _| {
            receiver.read_exact(&mut [0])?;
            timeout.reset(limit).unwrap();
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

/// Calls from the reactor's own thread, which need no wake-up.
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

/// Calls by a host from the reactor's own thread, each before a turn: no thread sleeps, so none is woken.
fn host(turns: u32) {
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    for _ in 0..turns {
        remote.call_from_thread(|_| ()).unwrap();
        reactor.turn(None).unwrap();
    }
}

/// Waits that another thread ends, with nothing else to do for an hour.
fn waits(turns: u32) {
    let reactor = Reactor::new().unwrap();
    reactor.call_later(Duration::from_secs(3600), || panic!("an hour has passed"));
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        for _ in 0..turns {
            let (done, wait) = mpsc::channel();
            remote.call_from_thread(move |_| done.send(()).unwrap()).unwrap();
            wait.recv().unwrap();
        }
        remote.stop().unwrap();
    });
    reactor.run().unwrap();
    thread.join().unwrap();
}

/// Calls without a delay.
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

/// Not a test by itself: the program that the other tests trace.
#[test]
fn traced() {
    let Ok(turns) = std::env::var(TURNS) else { return };
    let turns = turns.parse().unwrap();
    match &*std::env::var(KIND).unwrap() {
        "bytes" => bytes(turns, Duration::from_secs(30)),
        "near" => bytes(turns, Duration::from_millis(49)),
        "calls" => calls(turns),
        "host" => host(turns),
        "waits" => waits(turns),
        _ => timers(turns),
    }
}

/// Returns strace's output for this many turns of this kind.
fn strace(options: &[&str], kind: &str, turns: u32) -> Result<String, String> {
    let summary = std::env::temp_dir().join(format!("twistor-strace-{}-{kind}-{turns}", std::process::id()));
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o"])
        .arg(&summary)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "traced", "--test-threads=1"])
        .env(TURNS, turns.to_string())
        .env(KIND, kind);
    let output = output(&mut command).map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = std::fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    let _ = std::fs::remove_file(&summary);
    Ok(text)
}

fn count(kind: &str, turns: u32) -> Result<BTreeMap<String, i64>, String> {
    let text = strace(&["-c"], kind, turns)?;
    // % time, seconds, usecs/call, calls, [errors,] name
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let counts = lines.filter_map(|columns| {
        let calls = columns.get(3)?.parse().ok()?;
        Some(((*columns.last()?).to_owned(), calls))
    });
    Ok(counts.filter(|(name, _)| name != "total").collect())
}

#[test]
fn a_turn_costs_one_system_call_of_its_own() {
    // R13.4
    for (kind, own) in [("bytes", &["read", "write"][..]), ("calls", &[]), ("host", &[]), ("timers", &[])] {
        let (few, many) = match (count(kind, 1000), count(kind, 3000)) {
            (Ok(few), Ok(many)) => (few, many),
            (Err(reason), _) | (_, Err(reason)) => return println!("not counted, strace says: {reason}"),
        };
        let more: BTreeMap<&str, i64> = many
            .iter()
            .map(|(name, calls)| (&**name, calls - few.get(name).unwrap_or(&0)))
            // Memory, and the threads of the test harness.
            .filter(|(name, more)| *more > 20 || own.contains(name) || *name == "epoll_wait")
            .collect();
        let expected = ["epoll_wait"].iter().chain(own).map(|name| (*name, 2000)).collect();
        assert_eq!(more, expected, "{kind}: what 2000 more turns cost");
    }
}

#[test]
#[cfg(feature = "precise-timers")]
fn a_deadline_postponed_each_turn_rarely_sets_the_timer() {
    // R13.4
    const TURNS: u32 = 3000;
    let counts = match count("near", TURNS) {
        Ok(counts) => counts,
        Err(reason) => return println!("not counted, strace says: {reason}"),
    };
    let set = counts.get("timerfd_settime").copied().unwrap_or(0);
    assert!((1..i64::from(TURNS / 2)).contains(&set), "{set} times in {TURNS} turns");
}

#[test]
fn waiting_an_hour_is_one_system_call() {
    // R13.4: neither a timerfd nor an occasional check.
    let text = match strace(&["-e", "trace=epoll_wait,timerfd_settime"], "waits", 500) {
        Ok(text) => text,
        Err(reason) => return println!("not counted, strace says: {reason}"),
    };
    assert!(!text.contains("timerfd_settime("), "{text}");
    let timeouts: Vec<i64> = text
        .lines()
        .filter(|line| line.contains("epoll_wait("))
        // epoll_wait(3, [...], 1024, 3596399) = 1, or the same before " <unfinished ...>"
        .filter_map(|line| line.split(", ").last()?.split([' ', ')']).next()?.parse().ok())
        .collect();
    let waits = timeouts.iter().filter(|timeout| **timeout != 0).count();
    assert!(waits > 0 && timeouts.iter().all(|&timeout| timeout == 0 || timeout > 3_500_000), "{text}");
}
