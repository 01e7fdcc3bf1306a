//! A million stages, Deferreds or members on a stack of 256 KiB: D7.1. With the feature `trace`, fewer: see `MANY`.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use support::{MANY, failure_of, logged, on_a_small_stack, value_of};
use twistor_deferred::{Abandoned, Cancelled, Canceller, Deferred, Trigger, gather_results, race, succeed};

/// Creates an unfired chain of a million callbacks.
fn long_chain() -> (Deferred<usize>, Trigger<usize>) {
    let (mut deferred, trigger) = Deferred::new();
    for _ in 0..MANY {
        deferred = deferred.add_callback(|n| Ok(n + 1));
    }
    (deferred, trigger)
}

/// Creates a million Deferreds, each of which waits for the next after it has fired. Returns the first and all triggers.
fn ladder() -> (Deferred<usize>, Vec<Trigger<usize>>) {
    ladder_with(|_| ())
}

fn ladder_with(mut look: impl FnMut(&Deferred<usize>)) -> (Deferred<usize>, Vec<Trigger<usize>>) {
    let mut triggers = Vec::with_capacity(MANY);
    let (mut next, trigger) = Deferred::new();
    triggers.push(trigger);
    for _ in 1..MANY {
        look(&next);
        let (deferred, trigger) = Deferred::new();
        let waited_for = next;
        next = deferred.add_callback(move |_| waited_for).add_callback(|n| Ok(n + 1));
        triggers.push(trigger);
    }
    (next, triggers)
}

/// Creates a chain of a million callbacks that each return a fired Deferred.
fn fired_returns() -> (Deferred<usize>, Trigger<usize>) {
    let (mut deferred, trigger) = Deferred::new();
    for _ in 0..MANY / 2 {
        let (inner, inner_trigger) = Deferred::new();
        inner_trigger.callback(1);
        deferred = deferred.add_callback(move |n| inner.add_callback(move |m| Ok(n + m)));
        deferred = deferred.add_callback(|n| succeed(n + 1));
    }
    (deferred, trigger)
}

/// Drops triggers by a panic.
fn drop_unwinding<T>(triggers: T) {
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _triggers = triggers;
        resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
}

// D7
#[test]
fn a_chain_of_a_million_callbacks_runs() {
    on_a_small_stack(|| {
        let (deferred, trigger) = long_chain();
        trigger.callback(0);
        assert_eq!(value_of(deferred), MANY);

        let (deferred, trigger) = long_chain();
        let end = Rc::new(Cell::new(0));
        let seen = end.clone();
        drop(deferred.add_callback(move |n| seen.set(n)));
        trigger.callback(0);
        assert_eq!(end.get(), MANY);

        let (deferred, _trigger) = long_chain();
        deferred.cancel();
        assert!(failure_of(deferred).is::<Cancelled>());
    });
}

// D7
#[test]
fn an_unfired_chain_of_a_million_callbacks_is_dropped() {
    on_a_small_stack(|| {
        let (deferred, trigger) = long_chain();
        drop(trigger);
        assert!(failure_of(deferred).is::<Abandoned>());

        let (deferred, trigger) = long_chain();
        drop(deferred);
        assert_eq!(logged(|| drop(trigger)).len(), 1);

        let (deferred, trigger) = long_chain();
        drop_unwinding(trigger);
        drop(deferred);

        let (deferred, trigger) = long_chain();
        drop(deferred);
        drop_unwinding(trigger);
    });
}

// D7
#[test]
fn a_million_waiting_deferreds_fire_from_the_first() {
    on_a_small_stack(|| {
        let (deferred, triggers) = ladder();
        for trigger in triggers.into_iter().rev() {
            trigger.callback(0);
        }
        assert_eq!(value_of(deferred), MANY - 1);
    });
}

// D7
#[test]
fn a_million_waiting_deferreds_fire_from_the_last() {
    on_a_small_stack(|| {
        let (deferred, triggers) = ladder();
        for trigger in triggers {
            trigger.callback(0);
        }
        assert_eq!(value_of(deferred), MANY - 1);
    });
}

// D7: the last callback of each Deferred returns the next one.
#[test]
fn a_million_deferreds_that_wait_at_their_end_fire() {
    fn tail_ladder() -> (Deferred<usize>, Vec<Trigger<usize>>) {
        let mut triggers = Vec::with_capacity(MANY);
        let (mut next, trigger) = Deferred::new();
        triggers.push(trigger);
        for _ in 1..MANY {
            let (deferred, trigger) = Deferred::<usize>::new();
            let waited_for = next;
            next = deferred.add_callback(move |_| waited_for);
            triggers.push(trigger);
        }
        (next, triggers)
    }
    on_a_small_stack(|| {
        let (deferred, triggers) = tail_ladder();
        triggers.into_iter().for_each(|trigger| trigger.callback(1));
        assert_eq!(value_of(deferred), 1);

        let (deferred, triggers) = tail_ladder();
        triggers.into_iter().rev().for_each(|trigger| trigger.callback(1));
        assert_eq!(value_of(deferred), 1);

        // All wait for the last, whose trigger is then dropped.
        let (deferred, mut triggers) = tail_ladder();
        triggers.drain(1..).for_each(|trigger| trigger.callback(1));
        deferred.cancel();
        assert!(failure_of(deferred).is::<Cancelled>());

        let (deferred, mut triggers) = tail_ladder();
        triggers.drain(1..).rev().for_each(|trigger| trigger.callback(1));
        drop_unwinding(triggers);
        drop(deferred);

        let (deferred, mut triggers) = tail_ladder();
        triggers.drain(1..).for_each(|trigger| trigger.callback(1));
        drop(deferred);
        drop_unwinding(triggers);
    });
}

// D7
#[test]
fn a_million_waiting_deferreds_are_cancelled_one_by_one() {
    fn watched_ladder() -> (Deferred<usize>, Vec<Trigger<usize>>, Vec<Canceller>) {
        let mut cancellers = Vec::with_capacity(MANY);
        let (deferred, triggers) = ladder_with(|deferred| cancellers.push(deferred.canceller()));
        (deferred, triggers, cancellers)
    }
    on_a_small_stack(|| {
        // The cancellers keep the million chains separate.
        let (deferred, triggers, cancellers) = watched_ladder();
        triggers.into_iter().rev().for_each(|trigger| trigger.callback(0));
        assert_eq!(value_of(deferred), MANY - 1);
        drop(cancellers);

        let (deferred, triggers, cancellers) = watched_ladder();
        triggers.into_iter().for_each(|trigger| trigger.callback(0));
        assert_eq!(value_of(deferred), MANY - 1);
        drop(cancellers);

        // Cancelled in the middle: the failure passes through all chains that wait.
        let (deferred, mut triggers, cancellers) = watched_ladder();
        triggers.drain(1..).rev().for_each(|trigger| trigger.callback(0));
        cancellers[MANY / 2].cancel();
        assert!(!triggers[0].is_live());
        assert!(failure_of(deferred).is::<Cancelled>());

        let (deferred, mut triggers, _cancellers) = watched_ladder();
        triggers.drain(1..).rev().for_each(|trigger| trigger.callback(0));
        drop(deferred);
        drop_unwinding(triggers);
    });
}

// D7
#[test]
fn a_million_waiting_deferreds_are_dropped_unfired() {
    on_a_small_stack(|| {
        let (deferred, triggers) = ladder();
        drop(deferred);
        logged(|| drop(triggers));

        let (deferred, mut triggers) = ladder();
        logged(|| {
            triggers.reverse();
            drop(triggers);
        });
        assert!(failure_of(deferred).is::<Abandoned>());

        // All wait for the last, which is dropped.
        let (deferred, mut triggers) = ladder();
        triggers.drain(1..).rev().for_each(|trigger| trigger.callback(0));
        drop(triggers);
        assert!(failure_of(deferred).is::<Abandoned>());

        let (deferred, mut triggers) = ladder();
        triggers.drain(1..).rev().for_each(|trigger| trigger.callback(0));
        drop_unwinding(triggers);
        drop(deferred);
    });
}

// D7
#[test]
fn a_million_callbacks_that_return_fired_deferreds() {
    on_a_small_stack(|| {
        let (deferred, trigger) = fired_returns();
        trigger.callback(0);
        assert_eq!(value_of(deferred), MANY);

        let (deferred, trigger) = fired_returns();
        drop(deferred);
        logged(|| drop(trigger));

        let (deferred, trigger) = fired_returns();
        drop_unwinding(trigger);
        drop(deferred);
    });
}

// D7, D8
#[test]
fn a_loop_of_a_million_returned_deferreds() {
    fn step(n: usize) -> Deferred<usize> {
        if n == MANY { succeed(n) } else { succeed(n + 1).add_callback(step) }
    }
    // With fired Deferreds, `step` itself would recurse. With pending ones it does not.
    fn waiting_step(n: usize, triggers: &Rc<Cell<Option<Trigger<usize>>>>) -> Deferred<usize> {
        if n == MANY {
            return succeed(n);
        }
        let (deferred, trigger) = Deferred::new();
        triggers.set(Some(trigger));
        let triggers = triggers.clone();
        deferred.add_callback(move |n| waiting_step(n, &triggers))
    }
    on_a_small_stack(|| {
        assert_eq!(value_of(step(MANY - 100)), MANY);
        let triggers = Rc::new(Cell::new(None));
        let end = waiting_step(0, &triggers);
        let mut n = 0;
        while let Some(trigger) = triggers.take() {
            n += 1;
            trigger.callback(n);
        }
        assert_eq!(value_of(end), MANY);
    });
}

// D7
#[test]
fn a_million_members_fire_in_either_order_and_lose_a_race() {
    fn members() -> (Vec<Deferred<usize>>, Vec<Trigger<usize>>) {
        (0..MANY).map(|_| Deferred::new()).unzip()
    }
    on_a_small_stack(|| {
        let (deferreds, triggers) = members();
        let all = gather_results(deferreds);
        triggers.into_iter().rev().for_each(|trigger| trigger.callback(1));
        assert_eq!(value_of(all).len(), MANY);

        let (deferreds, mut triggers) = members();
        let first = race(deferreds);
        triggers.pop().unwrap().callback(1);
        assert!(!triggers[0].is_live());
        assert_eq!(value_of(first), (MANY - 1, 1));
    });
}
