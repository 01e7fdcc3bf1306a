//! T4: calls at regular intervals.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::{Abandoned, Cancelled, Deferred, Trigger, fail, succeed};
use twistor_reactor::{AlreadyLooping, Clock, LoopingCall, ManualClock, Reactor};

use crate::support::{Record, keep_log, logged, run};

/// Advances the clock by this many equal steps.
fn pump(clock: &ManualClock, steps: u32, step: Duration) {
    for _ in 0..steps {
        clock.advance(step);
    }
}

const S: Duration = Duration::from_secs(1);

fn seconds(start: Instant, now: Instant) -> u64 {
    (now - start).as_secs()
}

/// A loop that records the second of each call and its count.
fn noting(clock: &ManualClock, record: &Record<(u64, u64)>) -> LoopingCall {
    let (inner, record, start) = (clock.clone(), record.clone(), clock.now());
    LoopingCall::with_count(clock, move |count| record.add((seconds(start, inner.now()), count)))
}

/// Records how the loop ended.
fn ended(deferred: Deferred<()>) -> Record<String> {
    let record = Record::new();
    let seen = record.clone();
    drop(deferred.add_both(move |result| {
        seen.add(result.map_or_else(|failure| failure.to_string(), |()| "stopped".to_owned()));
    }));
    record
}

#[test]
fn calls_run_at_once_and_then_at_every_interval() {
    // T4.1
    let (clock, record) = (ManualClock::new(), Record::new());
    let looping = noting(&clock, &record);
    let end = ended(looping.start(2 * S));
    assert_eq!(record.take(), [(0, 1)]);
    pump(&clock, 6, S);
    assert_eq!(record.take(), [(2, 1), (4, 1), (6, 1)]);
    looping.stop();
    assert_eq!((end.take(), clock.pending()), (vec!["stopped".to_owned()], 0));
    assert!(!looping.is_running());
    clock.advance(10 * S);
    assert_eq!(record.len(), 0);
}

#[test]
fn the_first_call_can_wait_for_the_first_interval() {
    let (clock, record) = (ManualClock::new(), Record::new());
    let looping = noting(&clock, &record);
    drop(looping.start_later(2 * S));
    assert_eq!(record.len(), 0);
    pump(&clock, 4, S);
    assert_eq!(record.take(), [(2, 1), (4, 1)]);
    looping.stop();
}

#[test]
fn a_function_stops_its_own_loop() {
    // T4.7
    let (clock, record) = (ManualClock::new(), Record::new());
    let (seen, mut left) = (record.clone(), 5);
    let owned = Rc::new(());
    let kept = owned.clone();
    let countdown = LoopingCall::with_self(&clock, move |countdown| {
        let _ = &kept;
        seen.add(left);
        left -= 1;
        if left == 0 {
            countdown.stop();
        }
    });
    let end = ended(countdown.start(S));
    pump(&clock, 10, S);
    assert_eq!(record.take(), [5, 4, 3, 2, 1]);
    assert_eq!((end.take(), clock.pending()), (vec!["stopped".to_owned()], 0));
    drop(countdown);
    assert_eq!(Rc::strong_count(&owned), 1);
}

#[test]
fn missed_intervals_are_skipped_and_the_counts_add_up() {
    // T4.2
    // The function itself advances the clock, as slow work would.
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen, start) = (clock.clone(), record.clone(), clock.now());
    let work = Rc::new(RefCell::new(vec![0, 5, 0, 7, 3, 2, 0]));
    let looping = LoopingCall::with_count(&clock, move |count| {
        seen.add((seconds(start, inner.now()), count));
        let takes = work.borrow_mut().pop().unwrap_or(0);
        inner.advance(takes * S);
    });
    drop(looping.start(2 * S));
    pump(&clock, 30, S);
    looping.stop();
    let calls = record.take();
    assert_eq!(calls[..6], [(0, 1), (2, 1), (6, 2), (10, 2), (18, 4), (20, 1)]);
    let (last, _) = *calls.last().unwrap();
    assert_eq!(calls.iter().map(|(_, count)| count).sum::<u64>(), last / 2 + 1);
}

#[test]
fn a_billion_missed_intervals_are_skipped_in_one_step() {
    // T4.1
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen) = (clock.clone(), record.clone());
    let looping = LoopingCall::with_count(&clock, move |count| {
        seen.add(count);
        if count == 1 {
            inner.advance(Duration::from_secs(1_000_000));
        }
    });
    drop(looping.start(Duration::from_micros(1)));
    clock.advance(Duration::from_micros(1));
    assert_eq!(record.take(), [1, 1_000_000_000_001]);
    looping.stop();
}

#[test]
fn a_zero_interval_calls_once_a_turn() {
    let reactor = Reactor::simulated(0);
    let calls = Rc::new(Cell::new(0));
    let (count, handle) = (calls.clone(), reactor.handle());
    let looping = LoopingCall::with_count(&reactor, move |slots| {
        assert_eq!(slots, 1);
        count.set(count.get() + 1);
        if count.get() == 100 {
            handle.stop();
        }
    });
    drop(looping.start(Duration::ZERO));
    run(&reactor);
    assert_eq!((calls.get(), reactor.stats().timers), (100, 99));
}

#[test]
fn the_next_call_waits_for_the_functions_deferred() {
    // T4.3, T4.4
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen, start) = (clock.clone(), record.clone(), clock.now());
    let under_way: Rc<RefCell<Option<Trigger<()>>>> = Rc::default();
    let slot = under_way.clone();
    let looping = LoopingCall::with_count(&clock, move |count| {
        seen.add((seconds(start, inner.now()), count));
        let (deferred, trigger) = Deferred::new();
        slot.replace(Some(trigger));
        deferred
    });
    let end = ended(looping.start(2 * S));
    pump(&clock, 5, S);
    assert_eq!((record.take(), clock.pending()), (vec![(0, 1)], 0));
    under_way.take().unwrap().callback(());
    pump(&clock, 2, S);
    assert_eq!(record.take(), [(6, 3)]);
    looping.stop();
    assert_eq!(end.len(), 0, "a call is under way");
    under_way.take().unwrap().callback(());
    assert_eq!((end.take(), clock.pending()), (vec!["stopped".to_owned()], 0));
}

#[test]
fn a_failure_stops_the_loop_and_fails_its_deferred() {
    // T4.3
    keep_log();
    let clock = ManualClock::new();
    for how in ["error", "deferred", "panic"] {
        let calls = Rc::new(Cell::new(0));
        let count = calls.clone();
        let looping = LoopingCall::new(&clock, move || {
            count.set(count.get() + 1);
            match (count.get(), how) {
                (1, _) => succeed(()),
                (_, "error") => fail("x".parse::<u32>().unwrap_err()),
                (_, "deferred") => fail(Cancelled),
                _ => panic!("out of cheese"),
            }
        });
        let end = ended(looping.start(S));
        pump(&clock, 5, S);
        assert_eq!((calls.get(), end.len(), looping.is_running(), clock.pending()), (2, 1, false, 0));
        // It can be started again.
        drop(looping.start_later(S));
        looping.stop();
    }
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn reset_restarts_the_schedule() {
    // T4.5
    let (clock, record) = (ManualClock::new(), Record::new());
    let looping = noting(&clock, &record);
    drop(looping.start(3 * S));
    clock.advance(2 * S);
    looping.reset();
    pump(&clock, 6, S);
    assert_eq!(record.take(), [(0, 1), (5, 1), (8, 1)]);
    looping.stop();
    looping.reset();
    assert_eq!(clock.pending(), 0);
}

#[test]
fn the_function_may_stop_reset_and_start_its_own_loop() {
    let (clock, record) = (ManualClock::new(), Record::new());
    let own: Rc<RefCell<Option<LoopingCall>>> = Rc::default();
    let (slot, inner, seen, start) = (own.clone(), clock.clone(), record.clone(), clock.now());
    let looping = LoopingCall::new(&clock, move || {
        seen.add(seconds(start, inner.now()));
        let looping = slot.borrow().clone().unwrap();
        match seen.len() {
            2 => {
                looping.stop();
                drop(looping.start(5 * S));
            }
            4 => looping.stop(),
            _ => looping.reset(),
        }
    });
    own.replace(Some(looping.clone()));
    let end = ended(looping.start(2 * S));
    pump(&clock, 20, S);
    assert_eq!((record.take(), end.take()), (vec![0, 2, 2, 7], vec!["stopped".to_owned()]));
    own.take();
}

#[test]
fn starting_twice_fails_and_cancelling_stops() {
    let clock = ManualClock::new();
    let looping = LoopingCall::new(&clock, || ());
    let first = looping.start(S);
    assert_eq!(ended(looping.start(S)).take(), [AlreadyLooping.to_string()]);
    let canceller = first.canceller();
    let end = ended(first);
    canceller.cancel();
    assert_eq!((end.take(), looping.is_running(), clock.pending()), (vec!["cancelled".to_owned()], false, 0));
}

#[test]
fn a_simulated_day_of_calls_runs_to_its_end() {
    // R15
    let reactor = Reactor::simulated(0);
    let calls = Rc::new(Cell::new(0_u32));
    let count = calls.clone();
    let looping = LoopingCall::new(&reactor, move || count.set(count.get() + 1));
    drop(looping.start(S));
    let handle = reactor.handle();
    reactor.call_later(86_400 * S - S / 2, move || handle.stop());
    reactor.run().unwrap();
    assert_eq!(calls.get(), 86_400);
}

#[test]
fn after_a_reset_the_counts_follow_the_new_schedule() {
    // T4
    let clock = ManualClock::new();
    let record = Record::new();
    let counts = record.clone();
    let looping = LoopingCall::with_count(&clock, move |count| counts.add(count));
    drop(looping.start_later(Duration::from_secs(1)));
    pump(&clock, 3, Duration::from_secs(1));
    clock.advance(Duration::from_millis(500));
    looping.reset();
    pump(&clock, 4, Duration::from_millis(500));
    assert_eq!(record.take(), [1, 1, 1, 1, 1]);
}

#[test]
fn a_loop_ends_with_the_run_and_can_be_started_in_the_next() {
    // T4.6, R4, R16
    keep_log();
    let reactor = Reactor::simulated(0);
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let looping = LoopingCall::new(&reactor, move || count.set(count.get() + 1));
    for round in 1..=3 {
        let started = looping.start(S);
        let handle = reactor.handle();
        reactor.call_later(9 * S + S / 2, move || handle.stop());
        if round == 2 {
            // No callback waits for it, and a handle to the loop is held.
            drop(started);
            reactor.run().unwrap();
        } else {
            let end = ended(started);
            reactor.run().unwrap();
            assert_eq!(end.take(), ["the reactor stopped first"]);
        }
        assert_eq!((calls.get(), looping.is_running()), (10 * round, false));
    }
    drop((looping, reactor));
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_loop_on_a_reactor_that_is_gone_ends_at_once() {
    // T4, R8
    let handle = Reactor::simulated(0).handle();
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let looping = LoopingCall::new(&handle, move || count.set(count.get() + 1));
    assert_eq!(ended(looping.start(S)).take(), [Abandoned.to_string()]);
    assert_eq!(ended(looping.start_later(S)).take(), [Abandoned.to_string()]);
    assert_eq!((calls.get(), looping.is_running()), (1, false));
}
