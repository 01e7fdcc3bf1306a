//! Recursion through callbacks takes constant stack: D2.1, D6.1, D7.2.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::{Diary, failure_of, on_a_small_stack, value_of};
use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredLock, DeferredPool, DeferredQueue, Failure, Trigger, fail,
    gather_results, succeed,
};

/// A million; fewer with the feature `trace`.
const MOST: u32 = support::MANY as u32;
const MANY: u32 = if MOST < 100_000 { MOST } else { 100_000 };

fn consume(queue: DeferredQueue<u32>, left: u32) -> Deferred<u32> {
    if left == 0 {
        return succeed(0);
    }
    let again = queue.clone();
    queue.get().add_callback(move |_| consume(again, left - 1))
}

// D7.2
#[test]
fn a_consumer_that_calls_itself_empties_a_long_queue() {
    on_a_small_stack(|| {
        let queue = DeferredQueue::new();
        (0..MOST).for_each(|n| queue.put(n).unwrap());
        assert_eq!(value_of(consume(queue.clone(), MOST)), 0);
        assert!(queue.is_empty());

        // The same with items that arrive later.
        let consumed = consume(queue.clone(), MOST);
        (0..MOST).for_each(|n| queue.put(n).unwrap());
        assert_eq!(value_of(consumed), 0);
    });
}

// D7.2
#[test]
fn a_retry_in_an_errback_may_fail_many_times() {
    fn attempt(left: u32) -> Deferred<u32> {
        if left == 0 { succeed(1) } else { fail(Abandoned).add_errback(move |_| attempt(left - 1)) }
    }
    on_a_small_stack(|| assert_eq!(value_of(attempt(MANY)), 1));
}

// D7.2
#[test]
fn two_queues_feed_each_other_many_times() {
    fn pump(from: DeferredQueue<u32>, to: DeferredQueue<u32>, seen: Rc<Cell<u32>>) {
        let (again, there) = (from.clone(), to.clone());
        drop(from.get().add_callback(move |n| {
            seen.set(n);
            if n < MANY {
                pump(again, there, seen);
                let _ = to.put(n + 1);
            }
        }));
    }
    on_a_small_stack(|| {
        let (here, there, seen) = (DeferredQueue::new(), DeferredQueue::new(), Rc::new(Cell::new(0)));
        pump(here.clone(), there.clone(), seen.clone());
        pump(there.clone(), here.clone(), seen.clone());
        here.put(0).unwrap();
        assert_eq!(seen.get(), MANY);
    });
}

/// A million Deferreds, each of which fires the next.
fn domino(link: fn(Deferred<u32>, Trigger<u32>)) -> (Trigger<u32>, Deferred<u32>) {
    let (mut deferred, first) = Deferred::new();
    for _ in 0..MANY {
        let (next, trigger) = Deferred::new();
        link(deferred, trigger);
        deferred = next;
    }
    (first, deferred)
}

// D7.2
#[test]
fn many_deferreds_that_fire_one_another() {
    on_a_small_stack(|| {
        let (first, last) = domino(|deferred, next| drop(deferred.add_both(move |result| next.fire(result))));
        first.callback(7);
        assert_eq!(value_of(last), 7);

        // A skipped closure drops the trigger that it owns.
        let (first, last) = domino(|deferred, next| {
            drop(deferred.add_callback(move |n| next.callback(n)).add_errback(|_| ()))
        });
        first.errback(Abandoned);
        assert!(failure_of(last).is::<Abandoned>());

        let (first, last) = domino(|deferred, next| {
            let passed = deferred.add_errback(Err).add_callback(Ok).add_callback(Ok).add_callback(Ok);
            drop(passed.add_both(move |result| next.fire(result)));
        });
        drop(first);
        assert!(failure_of(last).is::<Abandoned>());
    });
}

// D7.2
#[test]
fn many_deferreds_that_cancel_one_another() {
    on_a_small_stack(|| {
        let (mut deferred, trigger) = Deferred::<u32>::new();
        for _ in 0..MANY {
            let canceller = deferred.canceller();
            let inner = deferred;
            let (next, own) = Deferred::with_canceller(move |_| canceller.cancel());
            drop(inner.add_both(move |result| own.fire(result)));
            deferred = next;
        }
        deferred.cancel();
        assert!(!trigger.is_live());
        assert!(failure_of(deferred).is::<Cancelled>());
    });
}

// D7.2
#[test]
fn lists_nested_many_deep_fire_and_are_cancelled() {
    fn nested() -> (Deferred<()>, Trigger<()>) {
        let (mut deferred, trigger) = Deferred::<()>::new();
        for _ in 0..MANY {
            deferred = gather_results([deferred]).add_callback(|_| ());
        }
        (deferred, trigger)
    }
    on_a_small_stack(|| {
        let (deferred, trigger) = nested();
        trigger.callback(());
        value_of(deferred);
        let (deferred, trigger) = nested();
        deferred.cancel();
        assert!(!trigger.is_live());
        drop(failure_of(deferred));
    });
}

// D7.2
#[test]
fn a_lock_taken_again_in_its_callback_many_times() {
    fn round(lock: DeferredLock, left: u32) -> Deferred<u32> {
        if left == 0 {
            return succeed(0);
        }
        let again = lock.clone();
        lock.run(|| Ok(())).add_callback(move |()| round(again, left - 1))
    }
    on_a_small_stack(|| assert_eq!(value_of(round(DeferredLock::new(), MANY)), 0));
}

// D7.2
#[test]
fn predicates_of_a_pool_that_end_its_next_member() {
    const WAITERS: usize = 2_000;
    on_a_small_stack(|| {
        let pool = DeferredPool::new();
        let (members, triggers): (Vec<_>, Vec<_>) = (0..=WAITERS).map(|_| Deferred::<()>::new()).unzip();
        members.into_iter().for_each(|member| drop(pool.add(member)));
        let triggers = Rc::new(RefCell::new(triggers));
        let end_one = |triggers: &RefCell<Vec<Trigger<()>>>| {
            let trigger = triggers.borrow_mut().pop();
            if let Some(trigger) = trigger {
                trigger.callback(());
            }
        };
        for _ in 0..WAITERS {
            let triggers = triggers.clone();
            drop(pool.defer_until(move |_| {
                end_one(&triggers);
                true
            }));
        }
        end_one(&triggers);
        assert!(pool.is_empty());
    });
}

// D2.1, D6.1
#[test]
fn callbacks_beyond_the_depth_run_in_order_later() {
    fn nest(left: u32, diary: &Diary) {
        let here = diary.clone();
        drop(succeed(left).add_callback(move |left| {
            here.note(left);
            if left > 0 {
                nest(left - 1, &here);
                nest(0, &here);
            }
            here.note("-");
        }));
    }
    let diary = Diary::default();
    nest(40, &diary);
    let said = diary.read();
    assert_eq!(said.matches('-').count(), 81);
    // The first parked callback runs after all others have returned. Its own nested calls run inside it again.
    let nested: Vec<&str> = said.split(' ').collect();
    assert_eq!(nested.iter().position(|&word| word == "-"), Some(32), "{said}");
    assert_eq!(nested.iter().position(|&word| word == "8"), Some(32 + 32 + 31 * 2), "{said}");
}

// D6.1
#[test]
fn a_deferred_without_callbacks_fires_at_any_depth() {
    fn nest(left: u32) -> Deferred<()> {
        succeed(()).add_callback(move |()| -> Result<(), Failure> {
            let (deferred, trigger) = Deferred::new();
            trigger.callback(left);
            assert_eq!(deferred.try_result().unwrap().unwrap(), left);
            if left > 0 {
                drop(nest(left - 1));
            }
            Ok(())
        })
    }
    value_of(nest(100));
}

// D6.1
#[test]
fn a_returned_deferred_that_fires_beyond_the_depth_completes_its_chain() {
    fn fire_below(levels: u32, trigger: Trigger<u32>) {
        drop(succeed(()).add_callback(move |()| match levels {
            0 => trigger.callback(42),
            _ => fire_below(levels - 1, trigger),
        }));
    }
    for levels in [0, 30, 31, 32, 33, 100] {
        let (inner, trigger) = Deferred::new();
        let (start, begin) = Deferred::new();
        let outer = start.add_callback(move |()| inner);
        begin.callback(());
        fire_below(levels, trigger);
        assert_eq!(value_of(outer), 42, "{levels}");
    }
}

// D1, D2.1
#[test]
fn callbacks_added_to_a_parked_chain_run_after_it() {
    let diary = Diary::default();
    fn nest(left: u32, diary: Diary) -> Deferred<()> {
        succeed(()).add_callback(move |()| {
            if left > 0 {
                return nest(left - 1, diary);
            }
            let [first, second] = [diary.clone(), diary.clone()];
            let parked = succeed(1)
                .add_callback(move |n| {
                    first.note(n);
                    Ok(n + 1)
                })
                .add_callback(move |n| second.note(n));
            assert!(!parked.is_fired());
            diary.note(0);
            parked
        })
    }
    value_of(nest(31, diary.clone()));
    assert_eq!(diary.read(), "0 1 2");
}
