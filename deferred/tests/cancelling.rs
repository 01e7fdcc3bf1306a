//! Cancelling: C1 to C5, C7, C8.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::{Diary, failure_of, logged, outcome, value_of};
use twistor_deferred::{Abandoned, Cancelled, Canceller, Deferred, Failure, Panicked, Trigger, succeed};

// C1
#[test]
fn without_a_canceller_the_chain_fails_with_cancelled() {
    let (deferred, _trigger) = Deferred::<u64>::new();
    deferred.cancel();
    assert!(deferred.is_fired());
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C1
#[test]
fn a_trigger_does_nothing_after_a_cancel() {
    for last_act in [
        |trigger: Trigger<u64>| trigger.callback(1),
        |trigger: Trigger<u64>| trigger.errback(Abandoned),
        |trigger: Trigger<u64>| trigger.fire(Ok(2)),
        |trigger: Trigger<u64>| drop(trigger),
    ] {
        let (deferred, trigger) = Deferred::<u64>::new();
        assert!(trigger.is_live());
        deferred.cancel();
        assert!(!trigger.is_live());
        let lines = logged(|| last_act(trigger));
        assert_eq!(lines, Vec::<String>::new());
        assert!(failure_of(deferred).is::<Cancelled>());
    }
}

// C1
#[test]
fn a_cancel_at_any_stage_reaches_the_source() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred
        .add_callback(|n| Ok(n.to_string()))
        .add_errback(|failure| failure.trap::<Cancelled>().map(|_| "given up".to_owned()))
        .add_callback(|text| Ok(text.len()));
    deferred.cancel();
    assert!(!trigger.is_live());
    assert_eq!(value_of(deferred), 8);
}

// C2
#[test]
fn the_canceller_runs_once_and_cancelled_follows() {
    let diary = Diary::default();
    let here = diary.clone();
    let (deferred, trigger) = Deferred::<u64>::with_canceller(move |_| here.note("cancelling"));
    deferred.cancel();
    deferred.cancel();
    assert_eq!(diary.read(), "cancelling");
    assert!(!trigger.is_live());
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C2
#[test]
fn the_canceller_may_fire_a_value_or_a_failure_of_its_own() {
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(|trigger| trigger.callback(7));
    deferred.cancel();
    assert_eq!(value_of(deferred), 7);
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(|trigger| trigger.errback(Abandoned));
    deferred.cancel();
    assert!(failure_of(deferred).is::<Abandoned>());
}

// C2
#[test]
fn the_canceller_may_fire_the_original_trigger() {
    let held: Rc<Cell<Option<Trigger<u64>>>> = Rc::default();
    let taken = held.clone();
    let (deferred, trigger) = Deferred::<u64>::with_canceller(move |_| taken.take().unwrap().callback(3));
    held.set(Some(trigger));
    deferred.cancel();
    assert_eq!(value_of(deferred), 3);
}

// C2
#[test]
fn a_canceller_may_drop_the_original_trigger() {
    let held: Rc<Cell<Option<Trigger<u64>>>> = Rc::default();
    let taken = held.clone();
    let (deferred, trigger) = Deferred::<u64>::with_canceller(move |_| drop(taken.take()));
    held.set(Some(trigger));
    deferred.cancel();
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C2
#[test]
fn a_trigger_kept_by_the_canceller_does_nothing() {
    let kept: Rc<Cell<Option<Trigger<u64>>>> = Rc::default();
    let keep = kept.clone();
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(move |trigger| keep.set(Some(trigger)));
    deferred.cancel();
    let late = kept.take().unwrap();
    assert!(!late.is_live());
    late.callback(1);
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C2, C3
#[test]
fn a_cancel_inside_the_canceller_does_nothing() {
    let own: Rc<RefCell<Option<Canceller>>> = Rc::default();
    let diary = Diary::default();
    let (here, again) = (diary.clone(), own.clone());
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(move |trigger| {
        here.note("once");
        let own = again.borrow().clone();
        own.unwrap().cancel();
        here.note(trigger.is_live());
        trigger.callback(1);
    });
    own.replace(Some(deferred.canceller()));
    deferred.cancel();
    assert_eq!(diary.read(), "once true");
    assert_eq!(value_of(deferred), 1);
}

// C3
#[test]
fn a_cancel_after_firing_does_nothing() {
    let alive = Rc::new(());
    let in_canceller = alive.clone();
    let (deferred, trigger) = Deferred::<u64>::with_canceller(move |_| {
        let _captured = &in_canceller;
        unreachable!("the Deferred has fired");
    });
    let canceller = deferred.canceller();
    trigger.callback(1);
    assert_eq!(Rc::strong_count(&alive), 1);
    deferred.cancel();
    canceller.cancel();
    assert_eq!(value_of(deferred), 1);
    canceller.cancel();
    let fired = succeed(2);
    fired.cancel();
    fired.canceller().cancel();
    assert_eq!(value_of(fired), 2);
}

// C3, C7
#[test]
fn a_canceller_outlives_its_deferred_and_owns_nothing() {
    let (deferred, trigger) = Deferred::<Rc<()>>::new();
    let canceller = deferred.canceller();
    let value = Rc::new(());
    trigger.callback(value.clone());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(deferred);
    assert_eq!(Rc::strong_count(&value), 1);
    canceller.cancel();
}

// C4
#[test]
fn a_cancel_of_a_waiting_chain_cancels_the_inner_one() {
    let (inner, inner_trigger) = Deferred::<u64>::with_canceller(|trigger| trigger.callback(5));
    let (deferred, trigger) = Deferred::<u64>::new();
    let inner = inner.add_callback(|n| Ok(n + 1));
    let deferred = deferred.add_callback(move |_| inner).add_callback(|n| Ok(n * 10));
    trigger.callback(0);
    deferred.cancel();
    assert!(!inner_trigger.is_live());
    assert_eq!(value_of(deferred), 60);
}

// C4
#[test]
fn a_cancel_reaches_the_innermost_of_nested_chains() {
    let (innermost, innermost_trigger) = Deferred::<u64>::new();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (outer, outer_trigger) = Deferred::<u64>::new();
    let inner = inner.add_callback(move |_| innermost);
    let outer = outer.add_callback(move |_| inner);
    outer_trigger.callback(0);
    inner_trigger.callback(0);
    outer.cancel();
    assert!(!innermost_trigger.is_live());
    assert!(failure_of(outer).is::<Cancelled>());
}

// C4
#[test]
fn after_an_inner_wait_is_over_the_next_one_is_cancelled() {
    let (first, first_trigger) = Deferred::<u64>::new();
    let (second, second_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| first).add_callback(move |_| second);
    let canceller = deferred.canceller();
    trigger.callback(0);
    first_trigger.callback(0);
    assert!(second_trigger.is_live());
    canceller.cancel();
    assert!(!second_trigger.is_live());
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C4
#[test]
fn a_canceller_reaches_a_waiting_chain_without_a_handle() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    let seen = outcome(deferred.add_callback(move |_| inner));
    trigger.callback(0);
    canceller.cancel();
    assert!(!inner_trigger.is_live());
    assert_eq!(seen.take(), Some(Err("cancelled".into())));
}

// C4, C7
#[test]
fn an_inner_canceller_works_after_the_chain_was_returned() {
    let (second, second_trigger) = Deferred::<u64>::new();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let inner = inner.add_callback(move |_| second);
    let canceller = inner.canceller();
    let outer = succeed(()).add_callback(move |()| inner);
    inner_trigger.callback(0);
    assert!(!outer.is_fired());
    canceller.cancel();
    assert!(!second_trigger.is_live());
    assert!(failure_of(outer).is::<Cancelled>());
}

// C3, C7
#[test]
fn an_inner_canceller_does_not_affect_the_outer_chain() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (after, after_trigger) = Deferred::<u64>::new();
    let (outer, outer_trigger) = Deferred::<u64>::new();
    let canceller = inner.canceller();
    let outer = outer.add_callback(move |_| inner).add_callback(move |_| after);
    let outer_canceller = outer.canceller();
    outer_trigger.callback(0);
    inner_trigger.callback(0);
    canceller.cancel();
    assert!(after_trigger.is_live());
    outer_canceller.cancel();
    assert!(!after_trigger.is_live());
    assert!(failure_of(outer).is::<Cancelled>());
}

// C4, C8
#[test]
fn an_early_canceller_reaches_a_later_wait() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    trigger.callback(0);
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| inner).add_errback(|_| Ok(4));
    canceller.cancel();
    assert!(!inner_trigger.is_live());
    assert_eq!(value_of(deferred), 4);
}

// C8.3
#[test]
fn a_canceller_made_after_firing_reaches_late_callbacks() {
    for lent in [false, true] {
        let (deferred, trigger) = Deferred::<u64>::new();
        if lent {
            trigger.lend(1, |_| ())
        } else {
            trigger.callback(1)
        }
        let canceller = deferred.canceller();
        let (inner, _trigger) = Deferred::<u64>::new();
        let end = deferred.add_callback(move |_| inner);
        canceller.cancel();
        assert!(matches!(end.try_result(), Ok(Err(failure)) if failure.is::<Cancelled>()));
    }
}

// C8
#[test]
fn a_late_canceller_needs_a_source() {
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.callback(0);
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    let deferred = deferred.add_callback(move |_| inner);
    canceller.cancel();
    assert!(!inner_trigger.is_live());
    assert!(failure_of(deferred).is::<Cancelled>());

    let (inner, inner_trigger) = Deferred::<u64>::new();
    let deferred = succeed(0);
    let canceller = deferred.canceller();
    let deferred = deferred.add_callback(move |_| inner);
    canceller.cancel();
    assert!(inner_trigger.is_live());
    inner_trigger.callback(1);
    assert_eq!(value_of(deferred), 1);
}

// C4
#[test]
fn a_late_callback_may_return_a_fired_deferred() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let _canceller = deferred.canceller();
    trigger.callback(1);
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |n| {
        inner_trigger.callback(n + 1);
        inner
    });
    assert_eq!(value_of(deferred), 2);
}

// C4
#[test]
fn a_chain_may_recover_from_the_cancel_and_wait_again() {
    let (second, second_trigger) = Deferred::<u64>::new();
    let (deferred, _trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_errback(move |_| second);
    deferred.cancel();
    assert!(!deferred.is_fired());
    deferred.cancel();
    assert!(!second_trigger.is_live());
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C5
#[test]
fn a_panicking_canceller_is_logged_and_cancelled_follows() {
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(|_| panic!("no way to stop it"));
    let made_at = line!() - 1;
    let lines = logged(|| deferred.cancel());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(&format!("{}:{made_at}:", file!())), "{lines:?}");
    assert!(lines[0].contains("no way to stop it"), "{lines:?}");
    assert!(failure_of(deferred).is::<Cancelled>());
}

// C2, C5
#[test]
fn a_result_fired_before_the_canceller_panics_counts() {
    let (deferred, _trigger) = Deferred::<u64>::with_canceller(|trigger| {
        trigger.callback(1);
        panic!("afterwards");
    });
    assert_eq!(logged(|| deferred.cancel()).len(), 1);
    assert_eq!(value_of(deferred), 1);
}

// C1, D6
#[test]
fn a_callback_may_cancel_another_chain() {
    let (other, _other_trigger) = Deferred::<u64>::new();
    let other = other.add_errback(|failure| -> Result<u64, Failure> { panic!("on {failure}") });
    let seen = Rc::new(Cell::new(false));
    let seen_here = seen.clone();
    drop(succeed(()).add_callback(move |()| {
        other.cancel();
        seen_here.set(failure_of(other).is::<Panicked>());
    }));
    assert!(seen.get());
}

// C3, C7
#[test]
fn a_late_inner_canceller_does_not_reach_later_stages() {
    for made_before_firing in [true, false] {
        let (inner, inner_trigger) = Deferred::<u64>::new();
        let canceller = inner.canceller();
        let (after, after_trigger) = Deferred::<u64>::new();
        let (outer, outer_trigger) = Deferred::<()>::new();
        let outer = if made_before_firing { outer } else { succeed(()) };
        outer_trigger.callback(());
        let outer = outer.add_callback(move |()| inner).add_callback(move |_| after);
        inner_trigger.callback(1);
        canceller.cancel();
        assert!(after_trigger.is_live());
        outer.cancel();
        assert!(!after_trigger.is_live());
        assert!(failure_of(outer).is::<Cancelled>());
    }
}
