//! Semaphores and locks: S2 and S3, and the hand-overs of D7.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use support::{Diary, MANY, failure_of, logged, on_a_small_stack, value_of};
use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredLock, DeferredSemaphore, Failure, NoSlots, Panicked, Permit,
};

#[allow(clippy::unwrap_used, reason = "the tests ask for one or more")]
fn semaphore(limit: usize) -> DeferredSemaphore {
    DeferredSemaphore::new(limit).unwrap()
}

// S2
#[test]
fn a_free_slot_is_acquired_immediately() {
    let two = semaphore(2);
    let (a, b) = (value_of(two.acquire()), value_of(two.acquire()));
    assert_eq!((two.available(), two.limit()), (0, 2));
    assert!(!two.acquire().is_fired());
    drop((a, b));
    assert_eq!(two.available(), 2);
}

// S2
#[test]
fn a_semaphore_of_zero_is_an_error() {
    let error: NoSlots = DeferredSemaphore::new(0).unwrap_err();
    assert_eq!(error.to_string(), "a semaphore needs at least one slot");
}

// S2
#[test]
fn waiters_are_served_first_in_first_out() {
    let lock = DeferredLock::new();
    let diary = Diary::default();
    let held = value_of(lock.acquire());
    let (a, b) = (diary.clone(), diary.clone());
    let first = lock.acquire().add_callback(move |permit| {
        a.note("first");
        Ok(permit)
    });
    let _second = lock.acquire().add_callback(move |permit| {
        b.note("second");
        Ok(permit)
    });
    assert_eq!((lock.is_locked(), lock.waiting()), (true, 2));
    drop(held);
    assert_eq!(diary.read(), "first");
    drop(value_of(first));
    assert_eq!(diary.read(), "second");
    assert!(lock.is_locked());
}

// S2
#[test]
fn a_released_slot_goes_to_the_next_waiter_not_to_a_newcomer() {
    let lock = DeferredLock::new();
    let diary = Diary::default();
    let held = value_of(lock.acquire());
    let asker = lock.clone();
    let (a, b, c) = (diary.clone(), diary.clone(), diary.clone());
    drop(lock.acquire().add_callback(move |permit| {
        drop(permit);
        // The lock is already on its way to the first waiter.
        drop(asker.acquire().add_callback(move |_permit| c.note("newcomer")));
        a.note("first");
    }));
    drop(lock.acquire().add_callback(move |_permit| b.note("second")));
    drop(held);
    assert_eq!(diary.read(), "first second newcomer");
    assert!(!lock.is_locked());
}

// S2
#[test]
fn a_cancelled_wait_leaves_the_queue_of_waiters() {
    let lock = DeferredLock::new();
    let held = value_of(lock.acquire());
    let (given_up, next) = (lock.acquire(), lock.acquire());
    given_up.cancel();
    assert!(failure_of(given_up).is::<Cancelled>());
    assert_eq!(lock.waiting(), 1);
    drop(held);
    assert!(lock.is_locked());
    drop(next);
    assert!(!lock.is_locked());
}

// S2
#[test]
fn cancelling_a_fired_acquire_keeps_its_permit() {
    let lock = DeferredLock::new();
    let served = lock.acquire();
    served.cancel();
    assert!(lock.is_locked());
    drop(served);
    assert!(!lock.is_locked());
}

// S2
#[test]
fn a_permit_dropped_by_a_panic_releases() {
    let lock = DeferredLock::new();
    let panicked = lock.acquire().add_callback(|_permit| -> Result<(), Failure> { panic!("holding it") });
    assert!(!lock.is_locked());
    assert!(failure_of(panicked).is::<Panicked>());

    let permit = value_of(lock.acquire());
    let next = lock.acquire();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _permit = permit;
        panic!("outside of any chain");
    }));
    assert!(unwound.is_err());
    assert!(next.is_fired());
}

// S2, D3
#[test]
fn a_waiter_may_panic_after_a_panic_released_its_slot() {
    let lock = DeferredLock::new();
    let first = lock.acquire();
    let second = lock.acquire().add_callback(|_permit| -> Result<(), Failure> { panic!("second") });
    let third = lock.acquire();
    drop(first.add_callback(|_permit| -> Result<(), Failure> { panic!("first") }).add_errback(|_| Ok(())));
    assert!(failure_of(second).is::<Panicked>());
    assert!(third.is_fired());
}

// S2, D12
#[test]
fn a_permit_in_a_dropped_result_releases() {
    let lock = DeferredLock::new();
    drop(lock.acquire());
    assert!(!lock.is_locked());
    let held = value_of(lock.acquire());
    drop(lock.acquire());
    drop(held);
    assert!(!lock.is_locked());
}

// S2
#[test]
fn permits_outlive_the_handles() {
    let lock = DeferredLock::new();
    let held = value_of(lock.acquire());
    let next = lock.acquire();
    drop(lock);
    assert!(!next.is_fired());
    drop(held);
    drop(value_of(next));
}

// S3
#[test]
fn run_holds_the_slot_until_the_deferred_fires() {
    let lock = DeferredLock::new();
    let (work, trigger) = Deferred::<u64>::new();
    let done = lock.run(move || work);
    assert!(lock.is_locked());
    let next = lock.run(|| Ok(2));
    assert!(!next.is_fired());
    trigger.callback(1);
    assert_eq!(value_of(done), 1);
    assert_eq!(value_of(next), 2);
    assert!(!lock.is_locked());
}

// S3
#[test]
fn run_releases_after_a_failure_and_after_a_panic() {
    let one = semaphore(1);
    let failed = one.run(|| -> Result<u64, Failure> { Err(Cancelled.into()) });
    assert_eq!(one.available(), 1);
    assert!(failure_of(failed).is::<Cancelled>());

    let panicked = one.run(|| -> Result<u64, Failure> { panic!("inside") });
    assert_eq!(one.available(), 1);
    assert!(failure_of(panicked).is::<Panicked>());

    let (work, trigger) = Deferred::<u64>::new();
    let failing = one.run(move || work);
    assert_eq!(one.available(), 0);
    trigger.errback(Cancelled);
    assert_eq!(one.available(), 1);
    assert!(failure_of(failing).is::<Cancelled>());
}

// S3, D9
#[test]
fn the_next_waiter_after_a_panic_runs_when_it_is_caught() {
    let lock = DeferredLock::new();
    let (abandoned, trigger) = Deferred::<u64>::new();
    let again = lock.clone();
    let panicked = lock.run(move || -> Result<u64, Failure> {
        drop(again.run(move || drop(trigger)));
        panic!("inside")
    });
    assert!(failure_of(panicked).is::<Panicked>());
    assert!(failure_of(abandoned).is::<Abandoned>());
}

// S3, C4
#[test]
fn cancelling_a_run_cancels_its_work_or_its_wait() {
    let lock = DeferredLock::new();
    let (work, trigger) = Deferred::<u64>::new();
    let running = lock.run(move || work);
    let ran = Rc::new(Cell::new(false));
    let ran_here = ran.clone();
    let waiting = lock.run(move || ran_here.set(true));
    waiting.cancel();
    running.cancel();
    assert!(!trigger.is_live());
    assert!(!lock.is_locked());
    assert!(!ran.get());
    assert!(failure_of(waiting).is::<Cancelled>() && failure_of(running).is::<Cancelled>());
}

// S2, S3
#[test]
fn never_more_than_the_limit_run_at_once() {
    let three = semaphore(3);
    let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut triggers = Vec::new();
    let all: Vec<_> = (0..10)
        .map(|_| {
            let (work, trigger) = Deferred::<()>::new();
            triggers.push(trigger);
            let (now, most) = (now.clone(), most.clone());
            three.run(move || {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                work.add_callback(move |()| now.set(now.get() - 1))
            })
        })
        .collect();
    assert_eq!((three.waiting(), now.get()), (7, 3));
    triggers.into_iter().for_each(|trigger| trigger.callback(()));
    assert_eq!((most.get(), now.get(), three.available()), (3, 0, 3));
    assert!(all.iter().all(Deferred::is_fired));
}

// D7
#[test]
fn a_million_hand_overs_take_constant_stack() {
    on_a_small_stack(|| {
        let lock = DeferredLock::new();
        let count = Rc::new(Cell::new(0));
        let held = value_of(lock.acquire());
        for n in 0..MANY {
            let count = count.clone();
            let one_more = move || count.set(count.get() + 1);
            match n % 2 {
                0 => drop(lock.run(one_more)),
                _ => drop(lock.acquire().add_callback(move |_permit| one_more())),
            }
        }
        drop(held);
        assert_eq!(count.get(), MANY);

        let few = semaphore(3);
        let held: Vec<Permit> = (0..3).map(|_| value_of(few.acquire())).collect();
        let waiting: Vec<_> = (0..MANY).map(|_| few.run(|| ())).collect();
        drop(held);
        assert_eq!((few.available(), few.waiting()), (3, 0));
        assert!(waiting.iter().all(Deferred::is_fired));
    });
}

// D7
#[test]
fn a_million_waiters_are_cancelled_or_dropped_with_the_lock() {
    on_a_small_stack(|| {
        let lock = DeferredLock::new();
        let held = value_of(lock.acquire());
        let waiting: Vec<_> = (0..MANY).map(|_| lock.acquire()).collect();
        waiting.iter().for_each(Deferred::cancel);
        assert_eq!(lock.waiting(), 0);
        logged(|| drop(waiting));
        let waiting: Vec<_> = (0..MANY).map(|_| lock.acquire()).collect();
        drop(lock);
        // Each fires with the lock as its result, and releases it when its handle is dropped.
        drop(held);
        drop(waiting);
    });
}
