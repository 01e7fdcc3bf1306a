//! The reactor in somebody else's loop.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use twistor_reactor::Reactor;

use crate::support::{Record, reactor};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_host_that_watches_the_descriptor_and_the_deadline_carries_the_reactor() {
    let reactor = reactor();
    let mut host = Poll::new().unwrap();
    host.registry()
        .register(&mut SourceFd(&reactor.as_fd().as_raw_fd()), Token(0), Interest::READABLE)
        .unwrap();
    let handle = reactor.clone();
    let done = reactor.defer_to_thread(|| Ok(()));
    let record = Record::new();
    let (seen, timer) = (record.clone(), record.clone());
    drop(done.add_callback(move |()| {
        seen.add("thread");
        handle.clone().call_later(Duration::from_millis(2), move || {
            timer.add("timer");
            handle.stop();
        });
    }));
    let mut events = Events::with_capacity(8);
    while reactor.turn(Some(Duration::ZERO)).unwrap() {
        // Never asleep past the deadline, and not polling: there would be thousands of turns.
        let wait = reactor.next_deadline().map(|deadline| deadline.saturating_duration_since(reactor.now()));
        host.poll(&mut events, wait).unwrap();
    }
    assert_eq!(record.take(), ["thread", "timer"]);
    assert!(reactor.stats().turns < 20, "{:?}", reactor.stats());
}

#[test]
fn the_next_deadline_is_now_when_there_is_work_and_none_when_there_is_nothing() {
    let reactor = Reactor::simulated(0);
    assert_eq!(reactor.next_deadline(), Some(reactor.now()), "it has not started yet");
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), None);
    let call = reactor.call_later(HOUR, || ());
    assert_eq!(reactor.next_deadline(), call.time());
    reactor.remote().call_from_thread(|_| ()).unwrap();
    assert_eq!(reactor.next_deadline(), Some(reactor.now()));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), call.time());
    call.cancel().unwrap();
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn the_host_hook_is_called_when_the_deadline_moves_earlier_or_a_thread_calls() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let hook = move || _ = count.fetch_add(1, Ordering::SeqCst);
    let taken = move || calls.swap(0, Ordering::SeqCst);
    let reactor = Reactor::builder().host_hook(hook).build().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    taken();

    let call = reactor.call_later(HOUR, || ());
    assert_eq!(taken(), 1, "the first deadline");
    reactor.call_later(2 * HOUR, || ());
    assert_eq!(taken(), 0, "a later one");
    let earlier = reactor.call_later(HOUR / 2, || ());
    assert_eq!(taken(), 1, "an earlier one");
    call.reset(HOUR / 4).unwrap();
    assert_eq!(taken(), 1, "one that moves forward");
    earlier.delay(HOUR).unwrap();
    assert_eq!(taken(), 0, "one that moves back");

    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| ()).unwrap()).join().unwrap();
    assert_eq!(taken(), 1, "a thread");
    let handle = reactor.clone();
    reactor.call_later(Duration::ZERO, move || drop(handle.call_later(Duration::ZERO, || ())));
    taken();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(taken(), 0, "within a turn the host asks afterwards");
}

#[test]
fn a_turn_waits_no_longer_than_it_may() {
    let reactor = reactor();
    reactor.call_later(HOUR, || ());
    for wait in [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(1)] {
        assert!(reactor.turn(Some(wait)).unwrap());
    }
    let simulated = Reactor::simulated(0);
    let start = simulated.now();
    simulated.call_later(HOUR, || ());
    simulated.turn(Some(Duration::ZERO)).unwrap();
    simulated.turn(Some(HOUR / 4)).unwrap();
    assert_eq!(simulated.now() - start, HOUR / 4);
}
