//! The clock for tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twistor_reactor::{Clock, Cooperator, DelayedCall, LoopingCall, ManualClock, NotPending};

use crate::support::{Record, keep_log, logged};

const S: Duration = Duration::from_secs(1);

fn noting(
    clock: &ManualClock,
    record: &Record<(&'static str, u64)>,
    after: u64,
    name: &'static str,
) -> DelayedCall {
    let (clock_inside, record, start) = (clock.clone(), record.clone(), clock.now());
    clock.call_later(after as u32 * S, move || record.add((name, (clock_inside.now() - start).as_secs())))
}

#[test]
fn advancing_stops_at_each_deadline_on_the_way() {
    // T2
    let (clock, record) = (ManualClock::new(), Record::new());
    for (after, name) in [(3, "c"), (1, "a"), (2, "b"), (5, "e")] {
        noting(&clock, &record, after, name);
    }
    let start = clock.now();
    clock.advance(4 * S);
    assert_eq!(record.take(), [("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!((clock.now() - start, clock.pending()), (4 * S, 1));
    clock.advance(S / 2);
    clock.advance(S / 2);
    assert_eq!(record.take(), [("e", 5)]);
}

#[test]
fn calls_scheduled_in_an_advance_run_in_it_if_due() {
    // T2
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen) = (clock.clone(), record.clone());
    clock.call_later(S, move || {
        seen.add("outer");
        inner.call_later(Duration::ZERO, seen.adder("at once"));
        inner.call_later(S, seen.adder("a second later"));
        inner.call_later(2 * S, seen.adder("too late"));
        seen.add("end of outer");
    });
    clock.call_later(S, record.adder("tie"));
    clock.advance(2 * S);
    assert_eq!(record.take(), ["outer", "end of outer", "tie", "at once", "a second later"]);
}

/// A call that keeps rescheduling itself without a delay.
fn again(clock: &ManualClock, record: &Record<u64>, start: Instant) {
    let (inside, seen) = (clock.clone(), record.clone());
    clock.call_later(Duration::ZERO, move || {
        seen.add((inside.now() - start).as_secs());
        again(&inside, &seen, start);
    });
}

#[test]
fn an_advance_returns_from_endless_zero_delays() {
    // T2.1
    let (clock, record) = (ManualClock::new(), Record::new());
    again(&clock, &record, clock.now());
    for _ in 0..3 {
        clock.advance(Duration::ZERO);
        assert_eq!(record.take(), [0]);
    }
    let timers = Record::new();
    noting(&clock, &timers, 1, "a");
    noting(&clock, &timers, 2, "b");
    clock.advance(3 * S);
    assert_eq!(timers.take(), [("a", 1), ("b", 2)]);
    let moments = record.take();
    assert!(moments.is_sorted() && (0..=3).all(|moment| moments.contains(&moment)));
    assert_eq!(moments.iter().filter(|&&moment| moment == 3).count(), 1);
}

#[test]
fn an_endless_loop_on_a_manual_clock_runs_once_a_turn() {
    // T2.1
    let (clock, record) = (ManualClock::new(), Record::new());
    let tick = LoopingCall::new(&clock, {
        let record = record.clone();
        move || record.add("tick")
    });
    drop(tick.start(Duration::ZERO));
    assert_eq!(record.take(), ["tick"]);
    clock.advance(Duration::ZERO);
    assert_eq!(record.take(), ["tick"]);
    let steps = record.clone();
    let cooperator = Cooperator::with_slice(&clock, S, 2);
    let endless = cooperator.cooperate(std::iter::repeat_with(move || steps.add("step")));
    tick.stop();
    clock.advance(Duration::ZERO);
    assert_eq!(record.take(), ["step", "step"]);
    endless.stop().unwrap();
    assert_eq!(clock.pending(), 0);
}

#[test]
fn zero_delays_on_the_way_run_at_their_own_time() {
    // T2.2
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen) = (clock.clone(), record.clone());
    clock.call_later(S, move || {
        let (innermost, seen) = (inner.clone(), seen.clone());
        inner.call_later(Duration::ZERO, move || _ = noting(&innermost, &seen, 1, "hop"));
    });
    clock.advance(S);
    assert_eq!(clock.pending(), 1);
    clock.advance(5 * S);
    assert_eq!(record.take(), [("hop", 1)]);
}

#[test]
fn a_call_may_advance_the_clock_itself() {
    let (clock, record) = (ManualClock::new(), Record::new());
    let (inner, seen) = (clock.clone(), record.clone());
    clock.call_later(S, move || {
        inner.advance(5 * S);
        seen.add("first");
    });
    clock.call_later(2 * S, record.adder("second"));
    let start = clock.now();
    clock.advance(S);
    assert_eq!(record.take(), ["second", "first"]);
    assert_eq!(clock.now() - start, 6 * S);
}

#[test]
fn calls_on_a_manual_clock_can_be_moved_and_cancelled() {
    // T3
    let (clock, record) = (ManualClock::new(), Record::new());
    let (a, b, c) =
        (noting(&clock, &record, 1, "a"), noting(&clock, &record, 2, "b"), noting(&clock, &record, 3, "c"));
    a.delay(3 * S).unwrap();
    b.cancel().unwrap();
    clock.advance(2 * S);
    c.reset(S + S / 2).unwrap();
    clock.advance(2 * S);
    assert_eq!(record.take(), [("c", 3), ("a", 4)]);
    assert_eq!(b.cancel(), Err(NotPending));
    drop(clock);
    assert_eq!(a.reset(S), Err(NotPending));
}

#[test]
fn a_panic_in_a_call_reaches_the_test() {
    keep_log();
    let clock = ManualClock::new();
    clock.call_later(S, || panic!("out of cheese"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clock.advance(S))).is_err());
    assert_eq!((clock.pending(), logged().len()), (0, 0));
}

/// Returns a delay of any magnitude, from nanoseconds to centuries.
fn any_delay(random: &mut impl FnMut(u64) -> u64) -> u64 {
    let magnitude = random(62);
    random(2 << magnitude)
}

#[test]
fn calls_nanoseconds_and_centuries_apart_run_in_order() {
    // T1: compared with a plain map. Calls are scheduled, moved and cancelled between the steps of the clock.
    for seed in 0..50_u64 {
        let (clock, record) = (ManualClock::new(), Record::new());
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 1) % below
        };
        let (mut now, mut order) = (0_u64, 0_u64);
        let mut model: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        let mut calls: Vec<DelayedCall> = Vec::new();
        for _ in 0..2_000 {
            order += 1;
            match random(10) {
                0..5 => {
                    let delay = any_delay(&mut random);
                    model.insert((now.saturating_add(delay), order), calls.len());
                    calls.push(clock.call_later(Duration::from_nanos(delay), record.adder(calls.len())));
                }
                5..9 if !calls.is_empty() => {
                    let name = random(calls.len() as u64) as usize;
                    let place = model.iter().find(|(_, waiting)| **waiting == name).map(|(place, _)| *place);
                    if let Some(place) = place {
                        model.remove(&place);
                    }
                    if random(2) == 0 {
                        assert_eq!(calls[name].cancel().is_ok(), place.is_some());
                    } else {
                        let delay = any_delay(&mut random);
                        assert_eq!(calls[name].reset(Duration::from_nanos(delay)).is_ok(), place.is_some());
                        if place.is_some() {
                            model.insert((now.saturating_add(delay), order), name);
                        }
                    }
                }
                _ => {
                    let step = any_delay(&mut random) >> 4;
                    now = now.saturating_add(step);
                    clock.advance(Duration::from_nanos(step));
                    let later = model.split_off(&(now, u64::MAX));
                    let due: Vec<usize> = std::mem::replace(&mut model, later).into_values().collect();
                    assert_eq!(record.take(), due, "seed {seed}, at {now}");
                }
            }
            assert_eq!(clock.pending(), model.len());
        }
    }
}
