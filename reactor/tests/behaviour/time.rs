//! T1 to T3: delayed calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twistor_reactor::{Clock, DelayedCall, ManualClock, NotPending, Reactor};

use crate::support::{Drops, Record, reactor, run};

const MS: Duration = Duration::from_millis(1);

#[test]
fn calls_run_by_deadline_and_ties_in_order() {
    // T1.5
    let reactor = Reactor::simulated(0);
    let record = Record::new();
    for (delay, name) in [(3, "c1"), (1, "a1"), (2, "b1"), (1, "a2"), (3, "c2"), (2, "b2"), (1, "a3")] {
        reactor.call_later(delay * MS, record.adder(name));
    }
    let handle = reactor.handle();
    reactor.call_later(4 * MS, move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), ["a1", "a2", "a3", "b1", "b2", "c1", "c2"]);
}

#[test]
fn simulated_days_begin_in_1970_and_real_ones_today() {
    // R15.2
    let simulated = Reactor::simulated(1);
    assert_eq!(simulated.system_time(), UNIX_EPOCH);
    let start = simulated.now();
    let handle = simulated.handle();
    simulated.call_later(86_400_000 * MS, move || handle.stop());
    run(&simulated);
    let passed = Duration::from_secs(86_400);
    assert_eq!((simulated.now() - start, simulated.system_time()), (passed, UNIX_EPOCH + passed));
    assert_eq!(simulated.remote().now(), simulated.now());
    let before = SystemTime::now();
    // The system's time may be set back at any moment, so only the era is certain.
    assert!(before > UNIX_EPOCH + passed && reactor().system_time() > UNIX_EPOCH + passed);
}

#[test]
fn a_call_never_runs_before_its_deadline() {
    // T1.6
    let reactor = reactor();
    let record = Record::new();
    for micros in [0, 50, 100, 999, 1000, 1001, 5300] {
        let delay = Duration::from_micros(micros);
        let (due, handle, record) = (reactor.now() + delay, reactor.handle(), record.clone());
        reactor.call_later(delay, move || record.add(handle.now() >= due));
    }
    let handle = reactor.handle();
    reactor.call_later(6 * MS, move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), [true; 7]);
}

#[test]
fn delays_of_centuries_do_not_overflow() {
    // T1.6
    let reactor = reactor();
    let century = Duration::from_secs(100 * 365 * 86_400);
    let calls: Vec<DelayedCall> = [century, 10 * century, Duration::from_secs(u64::MAX), Duration::MAX]
        .into_iter()
        .map(|delay| reactor.call_later(delay, || panic!("it is not due yet")))
        .collect();
    for call in &calls {
        call.delay(Duration::MAX).unwrap();
        call.reset(Duration::MAX).unwrap();
        assert!(call.time().unwrap() > reactor.now());
    }
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    reactor.run().unwrap();
    assert!(calls.iter().all(|call| !call.active()));
}

#[test]
fn the_last_moment_of_a_clock_does_not_overflow() {
    // T1.6
    let clock = ManualClock::new();
    clock.advance(Duration::MAX);
    let call = clock.call_later(Duration::from_secs(86_400), || ());
    call.reset(Duration::MAX).unwrap();
    assert!(call.active());
}

#[test]
fn a_zero_delay_call_made_in_a_call_runs_in_the_next_turn() {
    // T2.3, R13.3
    let reactor = reactor();
    let record = Record::new();
    let (handle, inner) = (reactor.handle(), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        inner.add("first");
        handle.call_later(Duration::ZERO, inner.adder("second"));
    });
    reactor.turn(Some(MS)).unwrap();
    assert_eq!(record.take(), ["first"]);
    reactor.turn(Some(MS)).unwrap();
    assert_eq!(record.take(), ["second"]);
}

#[test]
fn reset_counts_from_now_and_delay_from_the_deadline() {
    // T3.3
    let reactor = Reactor::simulated(0);
    let start = reactor.now();
    let (reset, delayed) = (reactor.call_later(10 * MS, || ()), reactor.call_later(10 * MS, || ()));
    let (handle, calls) = (reactor.handle(), (reset.clone(), delayed.clone()));
    reactor.call_later(4 * MS, move || {
        calls.0.reset(10 * MS).unwrap();
        calls.1.delay(10 * MS).unwrap();
        assert_eq!(calls.0.time().unwrap() - start, 14 * MS);
        assert_eq!(calls.1.time().unwrap() - start, 20 * MS);
        calls.0.reset(MS).unwrap();
        assert_eq!(calls.0.time().unwrap() - start, 5 * MS);
        handle.stop();
    });
    run(&reactor);
    assert!(reactor.now() - start == 4 * MS && !reset.active() && !delayed.active());
}

#[test]
fn a_moved_call_runs_after_others_with_its_deadline() {
    // T1
    let reactor = Reactor::simulated(0);
    let record = Record::new();
    let first = reactor.call_later(MS, record.adder("moved"));
    reactor.call_later(2 * MS, record.adder("stayed"));
    first.delay(MS).unwrap();
    let handle = reactor.handle();
    reactor.call_later(2 * MS, move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), ["stayed", "moved"]);
}

#[test]
fn changing_a_call_that_is_not_pending_is_an_error() {
    // T3.2
    let reactor = reactor();
    let cancelled = reactor.call_later(MS, || panic!("it was cancelled"));
    cancelled.cancel().unwrap();
    let own = Rc::new(RefCell::new(None::<DelayedCall>));
    let from_within = Rc::new(Cell::new(false));
    let (slot, seen) = (own.clone(), from_within.clone());
    let called = reactor.call_later(Duration::ZERO, move || {
        let call = slot.take().unwrap();
        assert!(!call.active() && call.time().is_none());
        assert_eq!(call.cancel(), Err(NotPending));
        assert_eq!(call.reset(MS), Err(NotPending));
        assert_eq!(call.delay(MS), Err(NotPending));
        seen.set(true);
    });
    own.replace(Some(called.clone()));
    reactor.turn(Some(MS)).unwrap();
    assert!(from_within.get());
    for call in [&cancelled, &called] {
        assert!(!call.active());
        assert_eq!(call.cancel(), Err(NotPending));
        assert_eq!(call.reset(MS), Err(NotPending));
        assert_eq!(call.delay(MS), Err(NotPending));
    }
}

#[test]
fn a_stale_call_never_touches_the_one_that_took_its_place() {
    // T3
    let reactor = reactor();
    let old = reactor.call_later(MS, || ());
    old.cancel().unwrap();
    let new = reactor.call_later(MS, || ());
    assert_eq!(old.cancel(), Err(NotPending));
    assert!(new.active());
}

#[test]
fn cancelling_drops_the_callback_before_it_returns() {
    let reactor = reactor();
    let drops = Drops::default();
    struct CancelsAnother(Option<DelayedCall>);
    impl Drop for CancelsAnother {
        fn drop(&mut self) {
            if let Some(call) = self.0.take() {
                call.cancel().unwrap();
            }
        }
    }
    let token = drops.token();
    let inner = reactor.call_later(MS, move || drop(token));
    let dropped_with_it = CancelsAnother(Some(inner));
    let outer = reactor.call_later(MS, move || drop(dropped_with_it));
    outer.cancel().unwrap();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_call_due_in_this_turn_can_be_cancelled_by_another() {
    // T3
    let reactor = reactor();
    let slot = Rc::new(RefCell::new(None::<DelayedCall>));
    let cell = slot.clone();
    reactor.call_later(Duration::ZERO, move || cell.take().unwrap().cancel().unwrap());
    slot.replace(Some(reactor.call_later(Duration::ZERO, || panic!("it was cancelled"))));
    let record = Record::new();
    reactor.call_later(Duration::ZERO, record.adder("others run"));
    reactor.turn(Some(MS)).unwrap();
    assert_eq!(record.take(), ["others run"]);
}

#[test]
fn random_calls_with_random_changes_run_in_exact_order() {
    // T1: compared with a plain sorted list.
    let reactor = Reactor::simulated(0);
    let record = Record::new();
    let mut random = 12345_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    // (deadline, order of scheduling, name)
    let mut model: Vec<(u64, usize, u64)> = Vec::new();
    let mut calls = Vec::new();
    for name in 0..5000 {
        let delay = next(500) + 1;
        calls.push(reactor.call_later(delay as u32 * MS, record.adder(name)));
        model.push((delay, model.len(), name));
    }
    for order in 5000..15_000 {
        let name = next(5000);
        let call = &calls[name as usize];
        match next(4) {
            0 => {
                if call.cancel().is_ok() {
                    model.retain(|entry| entry.2 != name);
                }
            }
            kind => {
                let by = next(300) + 1;
                if let Some(entry) = model.iter_mut().find(|entry| entry.2 == name) {
                    if kind == 1 {
                        call.reset(by as u32 * MS).unwrap();
                        *entry = (by, order, name);
                    } else {
                        call.delay(by as u32 * MS).unwrap();
                        *entry = (entry.0 + by, order, name);
                    }
                } else {
                    assert_eq!(call.reset(MS), Err(NotPending));
                }
            }
        }
    }
    model.sort();
    let handle = reactor.handle();
    reactor.call_later(Duration::from_secs(3600), move || handle.stop());
    reactor.run().unwrap();
    assert_eq!(record.take(), model.iter().map(|entry| entry.2).collect::<Vec<_>>());
}

#[test]
fn more_calls_than_a_turn_runs_all_run_in_order() {
    // T1
    let reactor = reactor();
    let record = Record::new();
    for n in 0..5000 {
        reactor.call_later(Duration::ZERO, record.adder(n));
    }
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    run(&reactor);
    assert!(record.take().into_iter().eq(0..5000));
}

#[test]
fn calls_among_many_cancelled_ones_run_in_exact_order() {
    // T1: past the point where the queue sweeps out cancelled calls.
    let reactor = Reactor::simulated(0);
    let record = Record::new();
    let calls: Vec<DelayedCall> =
        (0..20_000_u32).map(|n| reactor.call_later((n * 7919 % 20_011) * MS, record.adder(n))).collect();
    for (n, call) in calls.iter().enumerate() {
        if n % 100 != 0 {
            call.cancel().unwrap();
        }
    }
    for _ in 0..100 {
        for call in calls.iter().step_by(500) {
            call.delay(MS).unwrap();
        }
    }
    let mut left: Vec<(u32, bool, u32)> = (0..20_000)
        .step_by(100)
        .map(|n| (n * 7919 % 20_011 + if n % 500 == 0 { 100 } else { 0 }, n % 500 == 0, n))
        .collect();
    left.sort_unstable();
    let handle = reactor.handle();
    reactor.call_later(30_000 * MS, move || handle.stop());
    reactor.run().unwrap();
    assert_eq!(record.take(), left.iter().map(|entry| entry.2).collect::<Vec<_>>());
}

#[test]
#[cfg(unix)]
fn a_nearer_deadline_set_during_a_wait_ends_it() {
    use std::io::Write;

    // T1: the wait does not continue until the earlier alarm. The system may be late for both, so this holds in
    // some rounds.
    let in_time = || {
        let reactor = reactor();
        let turns = Record::new();
        let far = turns.clone();
        let handle = reactor.handle();
        reactor.call_later(Duration::from_millis(40), move || {
            far.add(handle.stats().turns);
            handle.stop();
        });
        let (near, handle) = (turns.clone(), reactor.handle());
        // Ready before the first wait, which would end at 40 ms.
        let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
        sender.write_all(b"x").unwrap();
        let nearer = move |_: &mut mio::unix::pipe::Receiver, _| {
            let (near, inner) = (near.clone(), handle.clone());
            handle.call_later(Duration::from_micros(100), move || near.add(inner.stats().turns));
            Ok(twistor_reactor::Progress::Drained)
        };
        reactor.add_source(receiver, mio::Interest::READABLE, nearer).unwrap();
        run(&reactor);
        let turns = turns.take();
        assert_eq!(turns.len(), 2);
        turns[0] < turns[1]
    };
    assert!((0..100).any(|_| in_time()));
}

#[test]
fn dense_calls_run_in_batches() {
    // T1.1: alarms ring at least 50 µs apart, however dense the calls are, and the host learns the exact deadline.
    let reactor = reactor();
    let left = Rc::new(Cell::new(10_000_u32));
    let begin = reactor.now();
    for n in 0..left.get() {
        let (left, handle) = (left.clone(), reactor.handle());
        reactor.call_later(10 * MS + n * Duration::from_micros(1), move || {
            left.set(left.get() - 1);
            if left.get() == 0 {
                handle.stop();
            }
        });
    }
    let last = reactor.call_later(30 * MS, || ());
    while reactor.turn(None).unwrap() {
        let next = reactor.next_deadline();
        assert!(left.get() == 0 || next < last.time(), "not the earliest");
    }
    let most = (reactor.now() - begin).as_micros() / 50 + 20;
    assert!(u128::from(reactor.stats().turns) < most, "{} turns, not {most}", reactor.stats().turns);
}

#[test]
fn a_simulated_reactor_runs_dense_calls_at_their_times() {
    // T1.2
    let reactor = Reactor::simulated(0);
    let (begin, record) = (reactor.now(), Record::new());
    for n in 0..1000_u32 {
        let (handle, record) = (reactor.handle(), record.clone());
        reactor.call_later(Duration::from_nanos(n.into()), move || record.add(handle.now() - begin));
    }
    let handle = reactor.handle();
    reactor.call_later(MS, move || handle.stop());
    run(&reactor);
    assert!(record.take().into_iter().eq((0..1000).map(Duration::from_nanos)));
    assert_eq!(reactor.stats().turns, 1001);
}
