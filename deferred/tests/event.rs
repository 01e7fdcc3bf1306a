//! Events with any number of waiters: S7.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::{Diary, Ledger, failure_of, value_of};
use twistor_deferred::{Abandoned, Cancelled, Canceller, DeferredEvent};

// S7.1
#[test]
fn one_call_fires_all_waiters_in_order() {
    let (event, diary) = (DeferredEvent::new(), Diary::default());
    for n in 0..3 {
        let diary = diary.clone();
        drop(event.wait().add_callback(move |value: u64| diary.note(value + n)));
    }
    assert_eq!(event.waiting(), 3);
    event.fire(10);
    assert_eq!(diary.read(), "10 11 12");
    assert_eq!(event.waiting(), 0);
}

// S7.1
#[test]
fn an_error_fails_all_waiters_and_later_ones() {
    let event = DeferredEvent::<u64>::new();
    let waiters = [event.wait(), event.wait()];
    event.fail(Abandoned);
    assert!(waiters.into_iter().all(|waiter| failure_of(waiter).is::<Abandoned>()));
    assert!(failure_of(event.wait()).is::<Abandoned>());
}

// S7.2
#[test]
fn a_cancelled_waiter_leaves_and_the_others_stay() {
    let event = DeferredEvent::new();
    let kept = event.wait();
    for _ in 0..100 {
        let given_up = event.wait();
        given_up.cancel();
        assert!(failure_of(given_up).is::<Cancelled>());
    }
    assert_eq!(event.waiting(), 1);
    event.fire(1);
    assert_eq!(value_of(kept), 1);
}

// S7.2
#[test]
fn a_callback_that_cancels_a_later_waiter_spares_it_the_value() {
    let event = DeferredEvent::new();
    let next: Rc<RefCell<Option<Canceller>>> = Rc::default();
    let here = next.clone();
    drop(event.wait().add_callback(move |_: u64| here.borrow().as_ref().unwrap().cancel()));
    let second = event.wait();
    next.replace(Some(second.canceller()));
    let third = event.wait();
    event.fire(1);
    assert!(failure_of(second).is::<Cancelled>());
    assert_eq!(value_of(third), 1);
}

// S7.3
#[test]
fn a_late_waiter_gets_the_value_of_the_first_call() {
    let event = DeferredEvent::new();
    event.fire("first");
    event.fire("second");
    event.fail(Abandoned);
    assert!(event.is_fired());
    assert_eq!(value_of(event.wait()), "first");
    assert_eq!(value_of(event.clone().wait()), "first");
}

// S7.3
#[test]
fn a_callback_that_waits_again_gets_the_value() {
    let event = DeferredEvent::new();
    let (again, seen) = (event.clone(), Rc::new(Cell::new(0)));
    let here = seen.clone();
    drop(event.wait().add_callback(move |n: u64| here.set(n + value_of(again.wait()))));
    event.fire(2);
    assert_eq!(seen.get(), 4);
}

// S7.4
#[test]
fn after_a_reset_waiters_wait_for_the_next_value() {
    let event = DeferredEvent::new();
    event.fire(1);
    event.reset();
    let second = event.wait();
    assert!(!event.is_fired() && !second.is_fired());
    event.fire(2);
    assert_eq!(value_of(second), 2);
}

// S7.4
#[test]
fn a_waiter_added_after_a_reset_in_a_callback_waits() {
    let event = DeferredEvent::new();
    let (again, next) = (event.clone(), Rc::new(Cell::new(None)));
    let here = next.clone();
    drop(event.wait().add_callback(move |_: u64| {
        again.reset();
        here.set(Some(again.wait()));
    }));
    let other = event.wait();
    event.fire(1);
    assert_eq!(value_of(other), 1);
    let next = next.take().unwrap();
    assert!(!next.is_fired());
    event.fire(2);
    assert_eq!(value_of(next), 2);
}

// S5, S7.5
#[test]
fn waiters_of_an_event_that_is_dropped_are_abandoned() {
    let event = DeferredEvent::<u64>::new();
    let waiter = event.wait();
    drop(event.clone());
    assert!(!waiter.is_fired());
    drop(event);
    assert!(failure_of(waiter).is::<Abandoned>());
}

// S7.5
#[test]
fn a_callback_may_drop_the_last_handle() {
    let event = Rc::new(Cell::new(Some(DeferredEvent::new())));
    let taken = event.take().unwrap();
    let own = Rc::new(Cell::new(Some(taken.clone())));
    let here = own.clone();
    drop(taken.wait().add_callback(move |_: u64| drop(here.take())));
    let last = taken.wait();
    taken.fire(3);
    drop(taken);
    assert_eq!(value_of(last), 3);
}

// S7.5, D12
#[test]
fn each_clone_of_the_value_is_dropped_once() {
    #[derive(Clone)]
    struct Value(Rc<()>);
    let (ledger, alive) = (Ledger::default(), Rc::new(()));
    let event = DeferredEvent::new();
    let item = ledger.item();
    drop(event.wait().add_both(move |_| drop(item)));
    drop(event.wait());
    event.fire(Value(alive.clone()));
    assert_eq!(Rc::strong_count(&value_of(event.wait()).0), 3);
    drop(event);
    assert_eq!(Rc::strong_count(&alive), 1);
    ledger.settle(1);
}
