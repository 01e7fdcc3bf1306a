//! Cancelling by dropping an awaited Deferred: D10.1 to D10.5, S1.1, S2.1.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use support::{Diary, Ledger, failure_of, logged, value_of};
use twistor_deferred::{
    Abandoned, Cancelled, Canceller, Deferred, DeferredEvent, DeferredLock, DeferredPool, DeferredQueue,
    Failure, Trigger, gather_results, guarded, join, race, succeed,
};

fn poll<T: 'static>(deferred: &mut Deferred<T>) -> Poll<Result<T, Failure>> {
    Pin::new(deferred).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls the Deferred once, and drops it.
fn give_up<T: 'static>(mut deferred: Deferred<T>) {
    assert!(poll(&mut deferred).is_pending());
    drop(deferred);
}

// D10.1
#[test]
fn a_polled_deferred_that_is_dropped_is_cancelled() {
    let diary = Diary::default();
    let here = diary.clone();
    let (deferred, trigger) = Deferred::<u64>::with_canceller(move |_| here.note("stopped"));
    let lines = logged(|| give_up(deferred.add_callback(|n| Ok(n + 1))));
    assert_eq!(diary.read(), "stopped");
    assert!(!trigger.is_live());
    assert_eq!(lines, Vec::<String>::new());
}

// D10.1, C4
#[test]
fn dropping_a_task_cancels_a_returned_deferred() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| inner);
    trigger.callback(0);
    give_up(deferred);
    assert!(!inner_trigger.is_live());
}

// D10.1, C8
#[test]
fn dropping_a_task_cancels_a_deferred_returned_late() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let _canceller = deferred.canceller();
    trigger.callback(1);
    give_up(deferred.add_callback(move |_| inner));
    assert!(!inner_trigger.is_live());
}

/// Creates a waker and the count of its wake-ups.
fn counting() -> (Waker, Arc<Count>) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (count.clone().into(), count)
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns a fired Deferred with a late callback that returned `inner`, and its canceller.
fn extended_late(inner: Deferred<u64>) -> (Deferred<u64>, Canceller) {
    let (deferred, trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    trigger.callback(1);
    (deferred.add_callback(move |_| inner), canceller)
}

// D10.5, C8
#[test]
fn a_deferred_returned_late_wakes_the_task() {
    let (inner, trigger) = Deferred::new();
    let (mut deferred, _canceller) = extended_late(inner);
    let (waker, count) = counting();
    assert!(Pin::new(&mut deferred).poll(&mut Context::from_waker(&waker)).is_pending());
    trigger.callback(2);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(matches!(poll(&mut deferred), Poll::Ready(Ok(2))));
}

// D10.1, C8
#[test]
fn dropping_a_task_with_a_late_callback_logs_nothing() {
    let (inner, _trigger) = Deferred::new();
    let (deferred, _canceller) = extended_late(inner);
    assert_eq!(logged(|| give_up(deferred)), Vec::<String>::new());
}

// D10.2
#[test]
fn a_polled_deferred_that_is_returned_is_not_cancelled() {
    let (mut inner, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut inner).is_pending());
    drop(succeed(()).add_callback(move |()| inner));
    assert!(trigger.is_live());
}

// D10.2, D11, D13
#[test]
fn a_circular_wait_does_not_cancel_a_polled_deferred() {
    let own = Rc::new(RefCell::new(None::<Deferred<u64>>));
    let here = own.clone();
    let (deferred, trigger) = Deferred::<u64>::new();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| here.take().unwrap());
    let mut deferred = deferred.add_errback(move |failure| inner.add_callback(|_| Err::<u64, _>(failure)));
    assert!(poll(&mut deferred).is_pending());
    own.replace(Some(deferred));
    trigger.callback(1);
    assert!(inner_trigger.is_live());
    let lines = logged(|| inner_trigger.callback(1));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("circular wait"), "{lines:?}");
}

// D10.1, D12
#[test]
fn an_awaited_chain_is_freed_when_it_fires_or_is_dropped() {
    let ledger = Ledger::default();
    for fires in [true, false] {
        let item = ledger.item();
        let (deferred, trigger) = Deferred::<u64>::new();
        let mut deferred = deferred.add_callback(move |n| {
            drop(item);
            Ok(n)
        });
        assert!(poll(&mut deferred).is_pending());
        if fires {
            trigger.callback(1);
            assert!(poll(&mut deferred).is_ready());
        } else {
            drop(deferred);
            drop(trigger);
        }
    }
    ledger.settle(2);
}

// D10.1
#[test]
fn an_async_block_that_is_dropped_cancels_what_it_awaits() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let mut task = Box::pin(async move { deferred.await.map(|n| n + 1) });
    assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(trigger.is_live());
    drop(task);
    assert!(!trigger.is_live());
}

// D10.2
#[test]
fn an_unpolled_deferred_continues_after_its_drop() {
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(deferred);
    assert!(trigger.is_live());

    // Adding a callback makes a new handle, which was not polled.
    let seen = Rc::new(Cell::new(0));
    let here = seen.clone();
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred).is_pending());
    drop(deferred.add_callback(move |n| here.set(n)));
    trigger.callback(3);
    assert_eq!(seen.get(), 3);
}

// D10.2
#[test]
fn a_detached_deferred_continues_although_it_was_polled() {
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred).is_pending());
    deferred.detach();
    assert!(trigger.is_live());
    assert_eq!(logged(|| trigger.errback(Abandoned)).len(), 1);
    succeed(1).detach();
}

// D10.1, D11
#[test]
fn an_unread_failure_is_logged() {
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred).is_pending());
    trigger.errback(Abandoned);
    assert_eq!(logged(|| drop(deferred)).len(), 1);
}

// D10.3
#[test]
fn a_deferred_dropped_by_a_panic_is_cancelled_later() {
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred).is_pending());
    drop(guarded(move || {
        let _awaited = deferred;
        resume_unwind(Box::new(()));
    }));
    assert!(!trigger.is_live());
}

// D10.1, L3
#[test]
fn dropping_a_polled_aggregate_cancels_its_members() {
    type Start = fn(Vec<Deferred<u64>>) -> Deferred<()>;
    let starts: [Start; 3] = [
        |members| gather_results(members).add_callback(|_| ()),
        |members| race(members).add_callback(|_| ()),
        |members| {
            let [a, b] = <[_; 2]>::try_from(members).unwrap();
            join((a, b)).add_callback(|_| ())
        },
    ];
    for start in starts {
        let (members, triggers): (Vec<_>, Vec<Trigger<u64>>) = (0..2).map(|_| Deferred::new()).unzip();
        assert_eq!(logged(|| give_up(start(members))), Vec::<String>::new());
        assert!(triggers.iter().all(|trigger| !trigger.is_live()));
    }
}

// D10.1, S1, S2, S4, S7
#[test]
fn a_dropped_wait_leaves_the_queue_of_waiters() {
    let queue = DeferredQueue::<u64>::new();
    give_up(queue.get());
    assert_eq!(queue.waiting(), 0);

    let lock = DeferredLock::new();
    let held = value_of(lock.acquire());
    give_up(lock.acquire());
    give_up(lock.run(|| Ok(())));
    assert_eq!(lock.waiting(), 0);
    drop(held);
    assert!(!lock.is_locked());

    let pool = DeferredPool::new();
    let (member, _trigger) = Deferred::<u64>::new();
    let _member = pool.add(member);
    give_up(pool.defer_until_empty(false));

    let event = DeferredEvent::<u64>::new();
    give_up(event.wait());
    assert_eq!(event.waiting(), 0);
}

// S2.1
#[test]
fn an_unread_permit_goes_to_the_next_waiter() {
    let lock = DeferredLock::new();
    let held = value_of(lock.acquire());
    let mut unread = lock.acquire();
    let next = lock.acquire();
    assert!(poll(&mut unread).is_pending());
    drop(held);
    assert!(unread.is_fired() && !next.is_fired());
    drop(unread);
    assert!(next.is_fired());
}

/// Takes all items of the queue, in order.
fn all(queue: &DeferredQueue<u64>) -> Vec<u64> {
    (0..queue.len()).map(|_| value_of(queue.get())).collect()
}

// S1.1
#[test]
fn an_unread_item_returns_to_the_front() {
    let queue = DeferredQueue::new();
    let mut polled = queue.get();
    assert!(poll(&mut polled).is_pending());
    let unpolled = queue.get();
    (1..=5).for_each(|n| queue.put(n).unwrap());
    let there = queue.get();
    assert_eq!(queue.len(), 2);
    drop(unpolled);
    drop(there);
    drop(polled);
    assert_eq!(all(&queue), [1, 2, 3, 4, 5]);
}

// S1.1
#[test]
fn an_unread_item_goes_to_the_next_waiter() {
    let queue = DeferredQueue::new();
    let (unread, next) = (queue.get(), queue.get());
    queue.put(1).unwrap();
    assert!(unread.is_fired() && !next.is_fired());
    drop(unread);
    assert_eq!(value_of(next), 1);
    assert!(queue.is_empty());

    // The handle was dropped before the item arrived.
    drop(queue.get());
    let next = queue.get();
    queue.put(2).unwrap();
    assert_eq!(value_of(next), 2);
}

// S1.1
#[test]
fn an_item_is_read_by_a_callback_try_result_or_await() {
    let queue = DeferredQueue::new();
    (1..=5).for_each(|n| queue.put(n).unwrap());
    assert!(matches!(queue.get().try_result(), Ok(Ok(1))));
    assert!(matches!(poll(&mut queue.get()), Poll::Ready(Ok(2))));
    drop(queue.get().add_callback(|n| Ok(n + 1)));
    let get = queue.clone();
    drop(succeed(()).add_callback(move |()| get.get()).add_callback(Ok));
    assert_eq!(all(&queue), [5]);
    let mut waiting = queue.get();
    assert!(poll(&mut waiting).is_pending());
    queue.put(6).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(6))));
    drop(waiting);
    assert!(queue.is_empty());
}

// S1.1
#[test]
fn an_unread_item_of_a_returned_get_goes_back() {
    let queue = DeferredQueue::new();
    let get = queue.clone();
    let mut outer = succeed(()).add_callback(move |()| get.get());
    assert!(poll(&mut outer).is_pending());
    queue.put(1).unwrap();
    drop(outer);
    assert_eq!(all(&queue), [1]);
}

// S1.1, L4
#[test]
fn a_race_of_two_queues_takes_one_item() {
    let (left, right) = (DeferredQueue::new(), DeferredQueue::new());
    left.put(1).unwrap();
    right.put(2).unwrap();
    assert_eq!(value_of(race([left.get(), right.get()])), (0, 1));
    assert_eq!((left.len(), right.len()), (0, 1));
    let race = race([left.get(), left.get()]);
    left.put(3).unwrap();
    assert_eq!(value_of(race), (0, 3));
    assert_eq!(left.waiting(), 0);
}

// S1.1
#[test]
fn an_unread_item_of_a_dropped_queue_is_dropped() {
    let queue = DeferredQueue::new();
    let (item, waiting) = (Rc::new(()), queue.get());
    queue.put(item.clone()).unwrap();
    queue.put(item.clone()).unwrap();
    let there = queue.get();
    drop(queue);
    assert_eq!(Rc::strong_count(&item), 3);
    drop((waiting, there));
    assert_eq!(Rc::strong_count(&item), 1);
}

// S1.1, D9.1
#[test]
fn an_unread_item_dropped_by_a_panic_goes_back() {
    let queue = DeferredQueue::new();
    queue.put(1).unwrap();
    let unread = queue.get();
    drop(guarded(move || {
        let _unread = unread;
        resume_unwind(Box::new(()));
    }));
    assert_eq!(all(&queue), [1]);
}

// D10.4
#[test]
fn a_lent_value_goes_back_unless_it_is_read() {
    let back = Rc::new(RefCell::new(Vec::new()));
    let lend = |n: u64| {
        let (deferred, trigger) = Deferred::new();
        let back = back.clone();
        (deferred, move || trigger.lend(n, move |n| back.borrow_mut().push(n)))
    };
    let (read, fire) = lend(1);
    fire();
    assert_eq!(value_of(read), 1);
    let (callback, fire) = lend(2);
    let callback = callback.add_callback(|n| Ok(n + 1)).add_callback(Ok);
    fire();
    assert_eq!(value_of(callback), 3);
    assert_eq!(*back.borrow(), []);

    let (unread, fire) = lend(3);
    fire();
    drop(unread);
    let (gone, fire) = lend(4);
    drop(gone);
    fire();
    let (cancelled, fire) = lend(5);
    cancelled.cancel();
    fire();
    assert!(failure_of(cancelled).is::<Cancelled>());
    assert_eq!(*back.borrow(), [3, 4, 5]);
}

// D10.4
#[test]
fn a_panic_in_giving_back_is_logged() {
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.lend(1, |_| panic!("no room"));
    let lines = logged(|| drop(deferred));
    assert!(lines.len() == 1 && lines[0].contains("no room"), "{lines:?}");
}
