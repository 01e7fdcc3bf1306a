//! R5, R6, R13, R14, R16: sources.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::unix::pipe::{self, Receiver, Sender};
use twistor_reactor::{EventHandler, Handle, Progress, Reactor, Ready, Registration};

use crate::support::{Drops, PanicsInDrop, Record, check_panics, keep_log, logged, reactor, run};

/// A handler made of a closure.
struct Calls<F>(RefCell<F>);

impl<F: FnMut(Ready) -> Progress> EventHandler for Calls<F> {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        (self.0.borrow_mut())(ready)
    }
}

fn handler(f: impl FnMut(Ready) -> Progress + 'static) -> Rc<dyn EventHandler> {
    Rc::new(Calls(RefCell::new(f)))
}

type Watched = Option<(Receiver, Registration)>;

fn watched_pipe(
    handle: &Handle,
    f: impl FnMut(Ready) -> Progress + 'static,
) -> (Sender, Receiver, Registration) {
    let (sender, mut receiver) = pipe::new().unwrap();
    let registration = handle.register(&mut receiver, Interest::READABLE, handler(f)).unwrap();
    (sender, receiver, registration)
}

fn turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::from_secs(5))).unwrap();
    check_panics();
}

#[test]
fn a_handler_is_called_with_its_sources_readiness() {
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    let (mut sender, _receiver, _registration) = watched_pipe(&reactor, move |ready| {
        seen.add((ready.readable(), ready.is_read_closed()));
        Progress::Drained
    });
    sender.write_all(b"x").unwrap();
    turn(&reactor);
    drop(sender);
    turn(&reactor);
    assert_eq!(record.take(), [(true, false), (true, true)]);
}

#[test]
fn a_fetched_event_of_a_removed_source_is_not_delivered() {
    // R5.1: whichever handler is called first removes the other.
    let reactor = reactor();
    let record = Record::new();
    let slots: Rc<RefCell<Vec<Watched>>> = Rc::default();
    let mut senders = Vec::new();
    for n in 0..2 {
        let (seen, others) = (record.clone(), slots.clone());
        let (sender, receiver, registration) = watched_pipe(&reactor, move |_| {
            seen.add(n);
            let (mut receiver, registration) = others.borrow_mut()[1 - n].take().unwrap();
            registration.deregister(&mut receiver).unwrap();
            Progress::Drained
        });
        slots.borrow_mut().push(Some((receiver, registration)));
        senders.push(sender);
    }
    senders.iter_mut().for_each(|sender| sender.write_all(b"x").unwrap());
    turn(&reactor);
    turn_without_waiting(&reactor);
    assert_eq!(record.len(), 1);
}

fn turn_without_waiting(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
    check_panics();
}

#[test]
fn a_source_may_remove_itself_in_its_own_callback() {
    // R5.1
    let reactor = reactor();
    let drops = Drops::default();
    let own: Rc<RefCell<Option<(Receiver, Registration)>>> = Rc::default();
    let (slot, token) = (own.clone(), drops.token());
    let (mut sender, receiver, registration) = watched_pipe(&reactor, move |_| {
        let _alive = &token;
        let (mut receiver, registration) = slot.take().unwrap();
        registration.deregister(&mut receiver).unwrap();
        assert!(!registration.is_active());
        Progress::More
    });
    own.replace(Some((receiver, registration)));
    sender.write_all(b"x").unwrap();
    turn(&reactor);
    assert_eq!(drops.count(), 1);
    turn_without_waiting(&reactor);
    assert_eq!(reactor.stats().events, 1);
}

#[test]
fn a_source_in_a_reused_slot_gets_no_stale_event() {
    // R5.1
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.handle(), record.clone());
    let victims: Rc<RefCell<Vec<Registration>>> = Rc::default();
    let kept: Rc<RefCell<Vec<Registration>>> = Rc::default();
    let list = victims.clone();
    // The first handler that is called removes all others, and adds new ones in their slots.
    let act = Rc::new(move || {
        for registration in list.take() {
            drop(registration);
            let seen = seen.clone();
            let new = handle
                .attach(handler(move |_| {
                    seen.add("the new one");
                    Progress::Drained
                }))
                .unwrap();
            kept.borrow_mut().push(new);
        }
    });
    for _ in 0..4 {
        let act = act.clone();
        let registration = reactor
            .attach(handler(move |_| {
                act();
                Progress::Drained
            }))
            .unwrap();
        registration.wake(Ready::READABLE);
        victims.borrow_mut().push(registration);
    }
    turn(&reactor);
    turn_without_waiting(&reactor);
    assert_eq!(record.len(), 0);
    assert_eq!(reactor.stats().events, 1);
}

#[test]
fn a_source_with_more_to_do_is_called_once_a_turn() {
    // R6.1
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    let (mut sender, _receiver, _registration) = watched_pipe(&reactor, move |ready| {
        assert!(ready.readable());
        seen.add("source");
        Progress::More
    });
    sender.write_all(b"x").unwrap();
    fn again(handle: Handle, record: Record<&'static str>, left: usize) {
        record.add("timer");
        let next = handle.clone();
        if left > 0 {
            handle.call_later(Duration::ZERO, move || again(next, record, left - 1));
        } else {
            handle.stop();
        }
    }
    turn(&reactor);
    again((*reactor).clone(), record.clone(), 5);
    run(&reactor);
    let order = record.take();
    assert_eq!(order[..6], ["source", "timer", "source", "timer", "source", "timer"]);
}

#[test]
fn a_drained_source_is_not_called_until_ready_again() {
    let reactor = reactor();
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let (mut sender, mut receiver, _registration) = watched_pipe(&reactor, move |_| {
        count.set(count.get() + 1);
        Progress::Drained
    });
    sender.write_all(b"x").unwrap();
    turn(&reactor);
    turn_without_waiting(&reactor);
    assert_eq!(calls.get(), 1);
    receiver.read_exact(&mut [0]).unwrap();
    sender.write_all(b"y").unwrap();
    turn(&reactor);
    assert_eq!(calls.get(), 2);
}

#[test]
fn waking_a_source_calls_it_next_turn_with_that_readiness() {
    // R13.3
    let reactor = reactor();
    let record = Record::new();
    let slot: Rc<RefCell<Option<Registration>>> = Rc::default();
    let (seen, own) = (record.clone(), slot.clone());
    let registration = reactor
        .attach(handler(move |ready| {
            seen.add(ready);
            if !ready.writable() {
                own.borrow().as_ref().unwrap().wake(Ready::WRITABLE);
            }
            Progress::Drained
        }))
        .unwrap();
    registration.wake(Ready::READABLE);
    slot.replace(Some(registration));
    turn(&reactor);
    assert_eq!(record.take(), [Ready::READABLE]);
    turn(&reactor);
    assert_eq!(record.take(), [Ready::WRITABLE]);
    turn_without_waiting(&reactor);
    assert_eq!(record.len(), 0);
}

#[test]
fn handing_over_a_source_calls_only_the_new_handler() {
    // R16.1
    let reactor = reactor();
    let (record, drops) = (Record::new(), Drops::default());
    let slot: Rc<RefCell<Option<Registration>>> = Rc::default();
    let (first, second) = (record.clone(), record.clone());
    let (token, own) = (drops.token(), slot.clone());
    let (mut sender, mut receiver, registration) = watched_pipe(&reactor, move |_| {
        let _ = &token;
        first.add("first");
        let second = second.clone();
        let next = handler(move |_| {
            second.add("second");
            Progress::Drained
        });
        own.borrow().as_ref().unwrap().hand_over(next);
        Progress::Drained
    });
    slot.replace(Some(registration));

    sender.write_all(b"x").unwrap();
    turn(&reactor);
    assert_eq!((record.take(), drops.count()), (vec!["first"], 1));
    turn_without_waiting(&reactor);
    assert_eq!(record.len(), 0, "readiness that the first handler has seen is not repeated");
    receiver.read_exact(&mut [0]).unwrap();
    sender.write_all(b"x").unwrap();
    turn(&reactor);
    assert_eq!(record.take(), ["second"]);
    slot.borrow().as_ref().unwrap().wake(Ready::READABLE);
    turn_without_waiting(&reactor);
    assert_eq!(record.take(), ["second"]);
}

#[test]
fn a_handler_for_a_removed_source_is_dropped() {
    // R16
    let reactor = reactor();
    let (mut sender, mut receiver, registration) = watched_pipe(&reactor, |_| Progress::Drained);
    registration.deregister(&mut receiver).unwrap();
    let drops = Drops::default();
    let token = drops.token();
    registration.hand_over(handler(move |_| {
        let _ = &token;
        panic!("its source was removed");
    }));
    assert_eq!((drops.count(), registration.is_active()), (1, false));
    sender.write_all(b"x").unwrap();
    turn_without_waiting(&reactor);
}

#[test]
fn many_wakes_before_a_turn_are_one_call() {
    // R13.2
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    let registration = reactor
        .attach(handler(move |ready| {
            seen.add(ready);
            Progress::Drained
        }))
        .unwrap();
    let waker = registration.waker();
    registration.wake(Ready::READABLE);
    waker.wake(Ready::WRITABLE);
    registration.wake(Ready::READABLE);
    turn(&reactor);
    turn_without_waiting(&reactor);
    assert_eq!(record.take(), [Ready::READABLE | Ready::WRITABLE]);
    drop(registration);
    waker.wake(Ready::READABLE);
    turn_without_waiting(&reactor);
    assert_eq!(record.len(), 0);
}

#[test]
fn a_panic_in_a_handler_ends_only_its_source() {
    // R13.5
    keep_log();
    let reactor = reactor();
    let record = Record::new();
    let (bad, good) = (
        reactor.attach(handler(|_| panic!("out of cheese"))).unwrap(),
        reactor
            .attach(handler({
                let seen = record.clone();
                move |_| {
                    seen.add("called");
                    Progress::Drained
                }
            }))
            .unwrap(),
    );
    for _ in 0..2 {
        bad.wake(Ready::READABLE);
        good.wake(Ready::READABLE);
        turn_without_waiting(&reactor);
    }
    assert_eq!(record.take(), ["called", "called"]);
    assert!(!bad.is_active() && good.is_active());
    assert_eq!(logged().len(), 1);

    // It panics again when it is dropped.
    let held = PanicsInDrop;
    let worse = reactor.attach(handler(move |_| {
        let _held = &held;
        panic!("out of crackers");
    }));
    let worse = worse.unwrap();
    worse.wake(Ready::READABLE);
    good.wake(Ready::READABLE);
    turn_without_waiting(&reactor);
    assert_eq!((record.take(), worse.is_active(), logged().len()), (vec!["called"], false, 2));
}

#[test]
fn a_registration_that_fails_leaves_nothing_behind() {
    let reactor = reactor();
    let drops = Drops::default();
    let token = drops.token();
    let (_sender, mut receiver) = pipe::new().unwrap();
    let quiet = || handler(|_| Progress::Drained);
    let first = reactor.register(&mut receiver, Interest::READABLE, quiet()).unwrap();
    let keeps = handler(move |_| {
        let _alive = &token;
        Progress::Drained
    });
    assert!(reactor.register(&mut receiver, Interest::READABLE, keeps).is_err());
    assert_eq!(drops.count(), 1);
    first.deregister(&mut receiver).unwrap();
    reactor.register(&mut receiver, Interest::READABLE, quiet()).unwrap();
}

#[test]
fn a_registration_is_two_words() {
    assert!(size_of::<Registration>() <= 2 * size_of::<usize>());
}

/// Wakes three sources at the same moment, twice, of which the first always has more to do. Returns the calls.
fn order(seed: u64) -> String {
    let reactor = Reactor::simulated(seed);
    let record = Record::new();
    let bells: Vec<Registration> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|name| {
            let seen = record.clone();
            let bell = handler(move |_| {
                seen.add(name);
                if name == "a" { Progress::More } else { Progress::Drained }
            });
            reactor.attach(bell).unwrap()
        })
        .collect();
    bells[0].wake(Ready::READABLE);
    turn(&reactor);
    for _ in 0..2 {
        bells[1..].iter().for_each(|bell| bell.wake(Ready::READABLE));
        turn(&reactor);
    }
    record.take().concat()
}

#[test]
fn a_simulation_draws_the_order_of_sources_that_are_ready() {
    // R15.5
    let orders: std::collections::BTreeSet<String> = (0..200).map(order).collect();
    // "a" was ready before.
    assert!(orders.iter().all(|order| order.len() == 9 && order.starts_with("aa") && &order[5..6] == "a"));
    assert_eq!(orders.len(), 36);
    assert!((0..200).all(|seed| order(seed) == order(seed)));
}

#[test]
fn a_simulated_reactor_refuses_sources_of_the_operating_system() {
    // R15
    let reactor = Reactor::simulated(0);
    let (_sender, mut receiver) = pipe::new().unwrap();
    let quiet = handler(|_| Progress::Drained);
    let error = reactor.register(&mut receiver, Interest::READABLE, quiet).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}
