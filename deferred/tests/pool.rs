//! Pools: S4, S6.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use support::{Diary, failure_of, logged, value_of};
use twistor_deferred::{Abandoned, Cancelled, Deferred, DeferredPool, Panicked, Trigger, guarded, succeed};

fn member(pool: &DeferredPool) -> (Deferred<u64>, Trigger<u64>) {
    let (deferred, trigger) = Deferred::new();
    (pool.add(deferred), trigger)
}

// S4
#[test]
fn a_member_of_a_pool_keeps_its_result() {
    let pool = DeferredPool::new();
    let (good, trigger) = member(&pool);
    trigger.callback(1);
    assert_eq!(value_of(good), 1);
    let (bad, trigger) = member(&pool);
    trigger.errback(Abandoned);
    assert!(failure_of(bad).is::<Abandoned>());
    let (given_up, trigger) = member(&pool);
    given_up.cancel();
    assert!(!trigger.is_live());
    assert!(failure_of(given_up).is::<Cancelled>());
    assert_eq!(value_of(pool.add(succeed(3))), 3);
    assert!(pool.is_empty());
}

// S4
#[test]
fn a_pool_fires_when_its_last_member_has_fired() {
    let pool = DeferredPool::new();
    let (_a, trigger_a) = member(&pool);
    let (_b, trigger_b) = member(&pool);
    let empty = pool.defer_until_empty(true);
    assert_eq!(pool.len(), 2);
    trigger_a.callback(1);
    assert!(!empty.is_fired());
    trigger_b.callback(1);
    value_of(empty);
}

// S4
#[test]
fn an_empty_pool_fires_immediately_or_the_next_time() {
    let pool = DeferredPool::new();
    assert!(pool.defer_until_empty(true).is_fired());
    let next_time = pool.defer_until_empty(false);
    assert!(!next_time.is_fired());
    drop(pool.add(succeed(())));
    value_of(next_time);
}

// S4
#[test]
fn a_pool_has_many_waiters_and_can_fill_again() {
    let pool = DeferredPool::new();
    for _round in 0..3 {
        let (_member, trigger) = member(&pool);
        let waiting: Vec<_> = (0..5).map(|_| pool.defer_until_empty(true)).collect();
        assert!(!waiting.iter().any(Deferred::is_fired));
        trigger.callback(1);
        assert!(waiting.iter().all(Deferred::is_fired));
    }
}

// S4
#[test]
fn waiters_fire_before_the_chain_of_the_member_continues() {
    let pool = DeferredPool::new();
    let diary = Diary::default();
    let (a, b, c, d) = (diary.clone(), diary.clone(), diary.clone(), diary.clone());
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| a.note("before"));
    let _member = pool.add(deferred).add_callback(move |()| b.note("after"));
    let _first = pool.defer_until_empty(true).add_callback(move |()| c.note("first"));
    let _second = pool.defer_until_empty(true).add_callback(move |()| d.note("second"));
    trigger.callback(1);
    assert_eq!(diary.read(), "before first second after");
}

// S4
#[test]
fn a_predicate_is_called_each_time_a_member_leaves() {
    let pool = DeferredPool::new();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let (triggers, members): (Vec<_>, Vec<_>) = (0..5).map(|_| member(&pool)).map(|(m, t)| (t, m)).unzip();
    let asked_here = asked.clone();
    let few = pool.defer_until(move |left| {
        asked_here.borrow_mut().push(left);
        left < 3
    });
    let mut triggers = triggers.into_iter();
    assert!(asked.borrow().is_empty());
    triggers.next().unwrap().callback(1);
    triggers.next().unwrap().errback(Cancelled);
    assert!(!few.is_fired());
    triggers.next().unwrap().callback(1);
    value_of(few);
    triggers.for_each(|trigger| trigger.callback(1));
    assert_eq!(*asked.borrow(), [4, 3, 2]);
    logged(|| drop(members));
}

// S4
#[test]
fn a_panicking_predicate_fails_only_its_own_deferred() {
    let pool = DeferredPool::new();
    let (member, trigger) = member(&pool);
    let bad = pool.defer_until(|_| panic!("cannot say"));
    let good = pool.defer_until_empty(true);
    trigger.callback(1);
    assert_eq!(failure_of(bad).downcast_ref::<Panicked>().unwrap().message(), "cannot say");
    value_of(good);
    assert_eq!(value_of(member), 1);
}

// S4
#[test]
fn the_predicate_of_a_cancelled_wait_is_not_called() {
    let pool = DeferredPool::new();
    let (_member, trigger) = member(&pool);
    let asked = Rc::new(Cell::new(0));
    let asked_here = asked.clone();
    let waiting = pool.defer_until(move |_| {
        asked_here.set(asked_here.get() + 1);
        true
    });
    waiting.cancel();
    trigger.callback(1);
    assert_eq!(asked.get(), 0);
    assert!(failure_of(waiting).is::<Cancelled>());
}

// S4, D6
#[test]
fn a_predicate_may_cancel_its_own_wait() {
    let pool = DeferredPool::new();
    let (_member, trigger) = member(&pool);
    let own: Rc<RefCell<Option<twistor_deferred::Canceller>>> = Rc::default();
    let (canceller, diary) = (own.clone(), Diary::default());
    let asked = diary.clone();
    let waiting = pool.defer_until(move |left| {
        asked.note(format!("asked with {left}"));
        canceller.borrow().as_ref().unwrap().cancel();
        false
    });
    own.replace(Some(waiting.canceller()));
    trigger.callback(1);
    assert!(failure_of(waiting).is::<Cancelled>());
    drop(pool.add(succeed(1)));
    assert_eq!(diary.read(), "asked with 0");
}

// S4
#[test]
fn all_waiters_fire_although_the_first_refills_the_pool() {
    let pool = DeferredPool::new();
    let (_member, trigger) = member(&pool);
    let again = pool.clone();
    let first = pool.defer_until_empty(true).add_callback(move |()| Ok(member(&again)));
    let second = pool.defer_until_empty(true);
    trigger.callback(1);
    value_of(second);
    assert_eq!(pool.len(), 1);
    let (_member, trigger) = value_of(first);
    trigger.callback(1);
    assert!(pool.is_empty());
}

// S4, D6
#[test]
fn a_waiter_may_add_to_the_pool_and_fire_its_members() {
    let pool = DeferredPool::new();
    let (_a, trigger_a) = member(&pool);
    let (_b, trigger_b) = member(&pool);
    let again = pool.clone();
    let refilled = pool.defer_until(|left| left == 1).add_callback(move |()| {
        trigger_b.callback(1);
        let (more, trigger) = Deferred::<u64>::new();
        drop(again.add(more));
        Ok(trigger)
    });
    // The pool was empty for a moment, but not when the first firing was over.
    let empty = pool.defer_until_empty(true);
    trigger_a.callback(1);
    assert!(empty.is_fired());
    assert_eq!(pool.len(), 1);
    value_of(refilled).callback(1);
    assert!(pool.is_empty());
}

// S4, D9
#[test]
fn a_member_dropped_unfired_leaves_the_pool() {
    let pool = DeferredPool::new();
    let (member, trigger) = member(&pool);
    drop(member);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _trigger = trigger;
        resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
    // D9.2
    drop(guarded(|| ()));
    assert!(pool.is_empty());
}

// S4, D9
#[test]
fn waiters_of_a_dropped_pool_are_abandoned() {
    let pool = DeferredPool::new();
    let waiting = pool.defer_until_empty(false);
    drop(pool);
    assert!(failure_of(waiting).is::<Abandoned>());
}
