//! The reactor in somebody else's loop.

use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use twistor_deferred::Deferred;
use twistor_reactor::{EventHandler, Phase, Progress, Reactor, Ready};

use crate::support::{Record, reactor};

const HOUR: Duration = Duration::from_secs(3600);

/// Whether the reactor's descriptor is readable now.
fn is_readable(reactor: &Reactor) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(reactor.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

/// A reactor whose hook counts.
fn hooked() -> (Reactor, impl Fn() -> usize) {
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let hook = move || _ = count.fetch_add(1, Ordering::Relaxed);
    let reactor = Reactor::builder().host_hook(hook).build().unwrap();
    (reactor, move || told.swap(0, Ordering::Relaxed))
}

fn idle_turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_host_that_watches_the_descriptor_and_the_deadline_carries_the_reactor() {
    // R11
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
    // R11
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
fn the_descriptor_is_readable_when_another_thread_has_called_and_not_after_the_turn() {
    // R11
    let reactor = reactor();
    idle_turn(&reactor);
    assert!(!is_readable(&reactor));
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| ())).join().unwrap().unwrap();
    assert!(is_readable(&reactor));
    idle_turn(&reactor);
    assert!(!is_readable(&reactor));
}

#[test]
fn the_host_is_told_of_an_earlier_deadline_and_of_no_other() {
    // R11
    let (reactor, told) = hooked();
    idle_turn(&reactor);
    let first = reactor.call_later(2 * HOUR, || ());
    assert_eq!(told(), 1);
    let second = reactor.call_later(3 * HOUR, || ());
    first.delay(HOUR / 2).unwrap();
    assert_eq!(told(), 0, "later ones");
    second.reset(HOUR).unwrap();
    assert_eq!(told(), 1);
    second.cancel().unwrap();
    assert_eq!(told(), 0);
}

struct Nothing;

impl EventHandler for Nothing {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

#[test]
fn the_host_is_told_of_work_that_comes_about_outside_a_turn() {
    // R11
    let (reactor, told) = hooked();
    let registration = reactor.attach(Rc::new(Nothing)).unwrap();
    idle_turn(&reactor);
    registration.wake(Ready::READABLE);
    assert_eq!(told(), 1, "a source");
    idle_turn(&reactor);
    reactor.remote().call_from_thread(|_| ()).unwrap();
    assert_eq!(told(), 1, "a call from this thread");
    idle_turn(&reactor);
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| ())).join().unwrap().unwrap();
    assert_eq!(told(), 1, "a call from another");
    idle_turn(&reactor);

    let (deferred, trigger) = Deferred::<()>::new();
    reactor.on_shutdown(Phase::Before, move || deferred);
    reactor.stop();
    assert_eq!(told(), 1, "a stop");
    idle_turn(&reactor);
    trigger.callback(());
    assert_eq!(told(), 1, "the end of what the shutdown waits for");
    assert!(!reactor.turn(None).unwrap());
}

#[test]
fn the_host_is_told_of_nothing_that_comes_about_in_a_turn() {
    // R11
    let (reactor, told) = hooked();
    let inside = |handle: &twistor_reactor::Handle| {
        handle.call_later(Duration::ZERO, || ());
        handle.remote().call_from_thread(|_| ()).unwrap();
        drop(handle.spawn(async {}));
        let registration = handle.attach(Rc::new(Nothing)).unwrap();
        registration.wake(Ready::READABLE);
        drop(registration);
    };
    let handle = reactor.clone();
    reactor.call_when_running(move || inside(&handle));
    let handle = reactor.clone();
    reactor.call_later(Duration::ZERO, move || inside(&handle));
    let handle = reactor.clone();
    drop(reactor.spawn(async move { inside(&handle) }));
    let handle = reactor.clone();
    reactor.on_shutdown(Phase::After, move || inside(&handle));
    told();
    idle_turn(&reactor);
    idle_turn(&reactor);
    let handle = reactor.clone();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    assert_eq!(told(), 1);
    while reactor.turn(None).unwrap() {}
    assert_eq!(told(), 0);
}

#[test]
fn a_host_may_stop_carrying_the_reactor_and_begin_again() {
    // R4, R11
    let reactor = reactor();
    for _ in 0..3 {
        let record = Record::new();
        reactor.on_shutdown(Phase::During, record.adder("stopped"));
        idle_turn(&reactor);
        reactor.stop();
        assert!(!reactor.turn(None).unwrap());
        assert_eq!(record.take(), ["stopped"]);
    }
}

#[test]
fn a_share_of_time_ends_when_there_is_nothing_to_do() {
    // R11
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.clone(), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        let (again, then) = (handle.clone(), seen.clone());
        handle
            .call_later(Duration::ZERO, move || drop(again.spawn(async move { then.add("three turns on") })));
    });
    assert!(reactor.turns(HOUR).unwrap());
    assert_eq!(record.take(), ["three turns on"]);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_share_of_time_ends_when_it_is_used_up_although_there_is_more_to_do() {
    // R11
    let reactor = reactor();
    fn again(handle: twistor_reactor::Handle) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || again(next));
    }
    again((*reactor).clone());
    assert!(reactor.turns(Duration::from_millis(1)).unwrap());
    let turns = reactor.stats().turns;
    assert!(reactor.turns(Duration::ZERO).unwrap());
    assert_eq!(reactor.stats().turns, turns + 1);
    reactor.stop();
    assert!(!reactor.turns(HOUR).unwrap());
}

#[test]
fn a_turn_waits_no_longer_than_it_may() {
    // R11
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
