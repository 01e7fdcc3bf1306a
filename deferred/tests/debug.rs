//! The `Debug` texts.

mod support;

use support::{failure_of, logged, value_of};
use twistor_deferred::{
    Cancelled, Deferred, DeferredList, DeferredLock, DeferredPool, DeferredQueue, DeferredSemaphore,
    QueueOverflow, fail, succeed,
};

#[test]
fn the_debug_text_of_a_deferred() {
    let (deferred, trigger) = Deferred::<u64>::new();
    assert_eq!(format!("{deferred:?}"), "Deferred(pending)");
    trigger.callback(1);
    assert_eq!(format!("{deferred:?}"), "Deferred(result)");
    assert_eq!(value_of(deferred), 1);
    assert_eq!(format!("{:?}", succeed(1)), "Deferred(value)");
    let failed = fail::<u64>(Cancelled);
    assert_eq!(format!("{failed:?}"), "Deferred(failure)");
    assert!(failure_of(failed).is::<Cancelled>());
}

#[test]
fn the_debug_text_of_a_trigger_and_a_canceller() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    assert_eq!(format!("{trigger:?} {canceller:?}"), "Trigger(live) Canceller");
    canceller.cancel();
    assert_eq!(format!("{trigger:?}"), "Trigger(cancelled)");
    drop((failure_of(deferred), trigger));
    assert_eq!(format!("{canceller:?}"), "Canceller(gone)");
    assert_eq!(format!("{:?}", succeed(1).canceller()), "Canceller(gone)");
}

#[test]
fn the_debug_text_of_a_list() {
    let (waiting, _trigger) = Deferred::<u64>::new();
    let list = DeferredList::new([succeed(1), waiting]);
    assert_eq!(format!("{list:?}"), "DeferredList([Deferred(value), Deferred(pending)])");
}

#[test]
fn the_debug_text_of_a_lock_and_a_semaphore() {
    let lock = DeferredLock::new();
    assert_eq!(format!("{lock:?}"), "DeferredLock(free, 0 waiting)");
    let permit = value_of(lock.acquire());
    let _waiting = lock.acquire();
    assert_eq!(format!("{lock:?} {permit:?}"), "DeferredLock(locked, 1 waiting) Permit");
    let two = DeferredSemaphore::new(2);
    let _permit = two.as_ref().map(DeferredSemaphore::acquire);
    assert_eq!(format!("{two:?}"), "Ok(DeferredSemaphore(1 of 2 free, 0 waiting))");
}

#[test]
fn the_debug_text_of_a_pool_a_queue_and_an_overflow() {
    let pool = DeferredPool::new();
    let (member, _trigger) = Deferred::<u64>::new();
    let member = pool.add(member);
    assert_eq!(format!("{pool:?}"), "DeferredPool(1 in flight)");
    let queue = DeferredQueue::new();
    queue.put("a secret").ok();
    assert_eq!(format!("{queue:?}"), "DeferredQueue(1 items, 0 waiting)");
    assert_eq!(format!("{:?}", QueueOverflow("a secret")), "QueueOverflow(..)");
    logged(|| drop(member));
}
