//! The thread that watches the selector for a host that cannot.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use mio::Interest;
use twistor_deferred::Deferred;
use twistor_reactor::{Progress, Reactor};

use crate::support::reactor;

const LONG: Duration = Duration::from_secs(30);

/// Creates a reactor with a watcher, and the event queue of its host.
fn watched() -> (Reactor, Receiver<()>) {
    let (queue, events) = channel();
    let reactor = Reactor::builder().host_hook(move || _ = queue.send(())).watcher(true).build().unwrap();
    (reactor, events)
}

#[test]
fn a_sleeping_host_learns_of_every_ready_source() {
    // R11.1: two threads wait for each other at every step.
    const ROUNDS: u32 = 500;
    let (reactor, events) = watched();
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let (handle, left) = (reactor.handle(), Cell::new(ROUNDS));
    let source = mio::net::UnixStream::from_std(here);
    let echo = move |stream: &mut mio::net::UnixStream, _| {
        stream.read_exact(&mut [0])?;
        stream.write_all(b"x")?;
        left.set(left.get() - 1);
        if left.get() == 0 {
            handle.stop();
        }
        Ok(Progress::Drained)
    };
    reactor.add_source(source, Interest::READABLE, echo).unwrap();
    let peer = thread::spawn(move || {
        for _ in 0..ROUNDS {
            there.write_all(b"x").unwrap();
            there.read_exact(&mut [0]).unwrap();
        }
    });
    let (mut turns, mut calls) = (1, 0);
    while reactor.turn(Some(Duration::ZERO)).unwrap() {
        if reactor.next_deadline().is_none() {
            events.recv_timeout(LONG).expect("the host was not notified of the source");
            calls += 1;
        }
        turns += 1;
    }
    peer.join().unwrap();
    // R11.2
    calls += events.try_iter().count();
    assert!(calls <= turns, "{calls} calls of the hook in {turns} turns");
}

#[test]
fn a_source_that_is_ready_before_the_first_turn_is_reported() {
    // R11.1
    let (reactor, events) = watched();
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    drop(reactor.readable(here).add_both(|_| ()));
    assert_eq!(events.recv_timeout(LONG), Ok(()));
}

#[test]
fn a_source_that_becomes_ready_in_a_turn_is_reported_after_it() {
    // R11.1
    let (reactor, events) = watched();
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let source = mio::net::UnixStream::from_std(here);
    let read = |stream: &mut mio::net::UnixStream, _| {
        stream.read_exact(&mut [0])?;
        Ok(Progress::Drained)
    };
    reactor.add_source(source, Interest::READABLE, read).unwrap();
    let there = Rc::new(there);
    // The watcher thread is at a different point each time.
    for round in 0..200 {
        let peer = there.clone();
        reactor.call_later(Duration::ZERO, move || (&*peer).write_all(b"x").unwrap());
        events.try_iter().for_each(drop);
        if round % 2 == 0 {
            thread::yield_now();
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(events.recv_timeout(LONG), Ok(()));
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn the_watcher_ends_with_its_reactor() {
    // R11.3
    let (reactor, events) = watched();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    while events
        .recv_timeout(LONG)
        .inspect_err(|error| assert_eq!(*error, RecvTimeoutError::Disconnected))
        .is_ok()
    {}
}

#[test]
fn a_watcher_without_a_hook_is_an_error() {
    assert_eq!(Reactor::builder().watcher(true).build().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_handle_reports_whether_a_turn_is_under_way() {
    // R11.4
    let reactor = reactor();
    let seen: Rc<Cell<Option<bool>>> = Rc::default();
    let (slot, handle) = (seen.clone(), reactor.handle());
    let (deferred, trigger) = Deferred::<()>::new();
    drop(deferred.add_callback(move |()| slot.set(Some(handle.is_in_turn()))));
    reactor.call_later(Duration::ZERO, move || trigger.callback(()));
    assert!(!reactor.is_in_turn());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((seen.get(), reactor.is_in_turn()), (Some(true), false));
    let handle = reactor.handle();
    drop(reactor);
    assert!(!handle.is_in_turn());
}
