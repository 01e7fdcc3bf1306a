//! Delayed Deferreds and time limits.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{
    Cancelled, Deferred, DeferredList, Failure, Trigger, fail, gather_results, join, race, succeed,
};
use twistor_reactor::{AddTimeout, ManualClock, TimedOut, defer_later};

use crate::support::{Drops, Record, keep_log, logged};

const S: Duration = Duration::from_secs(1);

/// Records the result of the Deferred.
fn watch<T: 'static>(
    deferred: Deferred<T>,
    describe: impl Fn(Result<T, Failure>) -> String + 'static,
) -> Record<String> {
    let record = Record::new();
    let seen = record.clone();
    drop(deferred.add_both(move |result| seen.add(describe(result))));
    record
}

fn text(result: Result<u32, Failure>) -> String {
    result.map_or_else(|failure| failure.to_string(), |value| value.to_string())
}

#[test]
fn defer_later_fires_with_what_the_function_returns() {
    let clock = ManualClock::new();
    let value = watch(defer_later(&clock, S, || Ok(42)), text);
    let failure = watch(defer_later(&clock, S, || fail::<u32>(Cancelled)), text);
    clock.advance(S / 2);
    assert_eq!(value.len() + failure.len(), 0);
    clock.advance(S / 2);
    assert_eq!((value.take(), failure.take()), (vec!["42".to_owned()], vec!["cancelled".to_owned()]));
}

#[test]
fn cancelling_defer_later_cancels_the_call() {
    let clock = ManualClock::new();
    let drops = Drops::default();
    let token = drops.token();
    let deferred = defer_later(&clock, S, move || {
        drop(token);
        Ok(0)
    });
    let canceller = deferred.canceller();
    let seen = watch(deferred, text);
    canceller.cancel();
    assert_eq!((seen.take(), clock.pending()), (vec!["cancelled".to_owned()], 0));
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_timeout_fails_a_pending_deferred_once() {
    // C6
    let clock = ManualClock::new();
    let (deferred, trigger) = Deferred::<u32>::new();
    let seen = watch(deferred.add_timeout(10 * S, &clock), text);
    clock.advance(10 * S);
    assert_eq!(seen.take(), ["timed out after 10s"]);
    assert!(!trigger.is_live());
    trigger.callback(1);
    assert_eq!(seen.len(), 0);
}

#[test]
fn a_result_in_time_cancels_the_timer() {
    // C6
    keep_log();
    let clock = ManualClock::new();
    let (deferred, trigger) = Deferred::<u32>::new();
    let seen = watch(deferred.add_timeout(S, &clock), text);
    assert_eq!(clock.pending(), 1);
    trigger.callback(1);
    assert_eq!((seen.take(), clock.pending()), (vec!["1".to_owned()], 0));

    let (deferred, trigger) = Deferred::<u32>::new();
    let seen = watch(deferred.add_timeout(S, &clock), text);
    trigger.errback(TimedOut::after(5 * S));
    assert_eq!((seen.take(), clock.pending()), (vec!["timed out after 5s".to_owned()], 0));

    let seen = watch(succeed(2).add_timeout(S, &clock), text);
    assert_eq!((seen.take(), clock.pending()), (vec!["2".to_owned()], 0));
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_result_of_the_canceller_replaces_timed_out() {
    // C6
    let clock = ManualClock::new();
    let (deferred, _trigger) = Deferred::<u32>::with_canceller(|trigger| trigger.callback(7));
    let value = watch(deferred.add_timeout(S, &clock), text);
    let (deferred, _trigger) =
        Deferred::<u32>::with_canceller(|trigger| trigger.errback(TimedOut::after(9 * S)));
    let failure = watch(deferred.add_timeout(S, &clock), text);
    clock.advance(S);
    assert_eq!((value.take(), failure.take()), (vec!["7".to_owned()], vec!["timed out after 9s".to_owned()]));
}

#[test]
fn cancelling_a_timed_deferred_is_not_a_timeout() {
    // C6
    let clock = ManualClock::new();
    let (deferred, _trigger) = Deferred::<u32>::new();
    let deferred = deferred.add_timeout(S, &clock);
    let canceller = deferred.canceller();
    let seen = watch(deferred, text);
    canceller.cancel();
    assert_eq!((seen.take(), clock.pending()), (vec!["cancelled".to_owned()], 0));
}

#[test]
fn a_timeout_cancels_the_inner_deferred() {
    // C6, C4
    let clock = ManualClock::new();
    let inner_clock = clock.clone();
    let deferred = succeed(1).add_callback(move |n| defer_later(&inner_clock, 10 * S, move || Ok(n)));
    let seen = watch(deferred.add_timeout(S, &clock), text);
    clock.advance(S);
    assert_eq!((seen.take(), clock.pending()), (vec!["timed out after 1s".to_owned()], 0));
}

#[test]
fn callbacks_added_after_the_timeout_are_not_timed() {
    // C6
    let clock = ManualClock::new();
    let (deferred, trigger) = Deferred::<u32>::new();
    let later = clock.clone();
    let deferred =
        deferred.add_timeout(S, &clock).add_callback(move |n| defer_later(&later, 5 * S, move || Ok(n)));
    let seen = watch(deferred, text);
    trigger.callback(3);
    clock.advance(5 * S);
    assert_eq!(seen.take(), ["3"]);
}

#[test]
fn a_late_aggregate_times_out() {
    // C6, L3.1
    let clock = ManualClock::new();
    let held: Rc<RefCell<Vec<Trigger<u64>>>> = Rc::default();
    let pending = || {
        let (deferred, trigger) = Deferred::<u64>::new();
        held.borrow_mut().push(trigger);
        deferred
    };
    let aggregates: Vec<Deferred<()>> = vec![
        gather_results([pending(), succeed(1)]).add_timeout(S, &clock).add_callback(|_| ()),
        join((pending(), succeed('x'))).add_timeout(S, &clock).add_callback(|_| ()),
        race([pending(), pending()]).add_timeout(S, &clock).add_callback(|_| ()),
        DeferredList::new([pending(), succeed(1)])
            .into_deferred()
            .add_timeout(S, &clock)
            .add_callback(|_| ()),
    ];
    clock.advance(S);
    for aggregate in aggregates {
        let failure = aggregate.try_result().unwrap().unwrap_err();
        assert!(failure.is::<TimedOut>(), "{failure:?}");
    }
}
