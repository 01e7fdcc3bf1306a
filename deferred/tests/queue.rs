//! Queues: S1.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use support::{Diary, MANY, failure_of, on_a_small_stack, outcome, value_of};
use twistor_deferred::{Abandoned, Cancelled, DeferredQueue, QueueOverflow, QueueUnderflow};

// S1
#[test]
fn items_and_waiters_are_served_first_in_first_out() {
    let queue = DeferredQueue::new();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(value_of(queue.get()), 1);
    assert_eq!(value_of(queue.get()), 2);
    let (first, second) = (outcome(queue.get()), outcome(queue.get()));
    assert_eq!(queue.waiting(), 2);
    queue.put(3).unwrap();
    assert_eq!((first.take(), second.take()), (Some(Ok("3".into())), None));
    queue.put(4).unwrap();
    assert_eq!(second.take(), Some(Ok("4".into())));
    assert!(queue.is_empty());
}

// S1
#[test]
fn put_beyond_the_size_returns_the_item() {
    let queue = DeferredQueue::new().size(1);
    queue.put("kept".to_owned()).unwrap();
    let QueueOverflow(item) = queue.put("too much".to_owned()).unwrap_err();
    assert_eq!(item, "too much");
    assert_eq!(queue.len(), 1);
    assert_eq!(value_of(queue.get()), "kept");
    queue.put("again".to_owned()).unwrap();
}

// S1
#[test]
fn get_beyond_the_backlog_is_underflow() {
    let queue = DeferredQueue::<u64>::new().backlog(1);
    let waiting = queue.get();
    assert!(failure_of(queue.get()).is::<QueueUnderflow>());
    queue.put(1).unwrap();
    assert_eq!(value_of(waiting), 1);
}

// S1
#[test]
fn zero_is_a_valid_limit_on_either_side() {
    let nothing_kept = DeferredQueue::new().size(0);
    assert_eq!(nothing_kept.put(1), Err(QueueOverflow(1)));
    let waiting = nothing_kept.get();
    nothing_kept.put(2).unwrap();
    assert_eq!(value_of(waiting), 2);

    let nobody_waits = DeferredQueue::new().backlog(0);
    assert!(failure_of(nobody_waits.get()).is::<QueueUnderflow>());
    nobody_waits.put(3).unwrap();
    assert_eq!(value_of(nobody_waits.get()), 3);
}

// S1
#[test]
fn a_cancelled_get_loses_no_item() {
    let queue = DeferredQueue::new().backlog(2);
    let (given_up, next) = (queue.get(), queue.get());
    given_up.cancel();
    assert!(failure_of(given_up).is::<Cancelled>());
    assert_eq!(queue.waiting(), 1);
    let last = queue.get();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!((value_of(next), value_of(last)), (1, 2));
}

// S1, C3
#[test]
fn cancelling_a_fired_get_keeps_its_item() {
    let queue = DeferredQueue::new();
    let got = queue.get();
    queue.put(1).unwrap();
    got.cancel();
    assert_eq!(value_of(got), 1);
}

// S1, D6
#[test]
fn a_callback_may_put_and_get_on_its_own_queue() {
    let queue = DeferredQueue::new();
    let diary = Diary::default();
    let (again, first, second) = (queue.clone(), diary.clone(), diary.clone());
    drop(queue.get().add_callback(move |n: u64| {
        first.note(format!("got {n}"));
        again.put(n + 1).unwrap();
        let next = again.get();
        first.note("put");
        next
    }));
    drop(queue.get().add_callback(move |n| second.note(format!("second got {n}"))));
    queue.put(1).unwrap();
    assert_eq!(diary.read(), "got 1 second got 2 put");
    assert_eq!(queue.waiting(), 1);
}

// S1, D9
#[test]
fn waiters_of_a_dropped_queue_are_abandoned() {
    let queue = DeferredQueue::<u64>::new();
    let waiting = queue.get();
    drop(queue.clone());
    assert!(!waiting.is_fired());
    drop(queue);
    assert!(failure_of(waiting).is::<Abandoned>());
}

// S5.3
#[test]
fn a_consumer_that_owns_a_clone_keeps_its_queue_open() {
    let queue = DeferredQueue::new();
    let own = queue.clone();
    let consumer = queue.get().add_callback(move |item: u64| {
        drop(own);
        Ok(item)
    });
    let waiting = queue.get();
    let producer = queue.clone();
    drop(queue);
    assert!(!waiting.is_fired());
    producer.put(1).unwrap();
    drop(producer);
    assert_eq!(value_of(consumer), 1);
    assert!(failure_of(waiting).is::<Abandoned>());
}

// S1
#[test]
fn a_million_waiters_receive_items_or_are_cancelled() {
    on_a_small_stack(|| {
        let queue = DeferredQueue::new();
        let sum = Rc::new(RefCell::new(0_u64));
        let mut waiting = Vec::new();
        for n in 0..MANY {
            let sum = sum.clone();
            let get = queue.get().add_both(move |item| {
                if let Ok(item) = item {
                    *sum.borrow_mut() += item;
                }
            });
            if n % 2 == 0 {
                waiting.push(get);
            }
        }
        waiting.iter().for_each(|get| get.cancel());
        assert_eq!(queue.waiting(), MANY / 2);
        for _ in 0..MANY / 2 {
            queue.put(2).unwrap();
        }
        assert_eq!(*sum.borrow(), MANY as u64);
        assert!(queue.is_empty());
    });
}

#[test]
fn the_error_texts_of_a_queue() {
    assert_eq!(QueueOverflow(()).to_string(), "the queue is full");
    let underflow = failure_of(DeferredQueue::<()>::new().backlog(0).get());
    assert_eq!(underflow.to_string(), "the queue is empty and its waiter limit is reached");
    assert_eq!(format!("{:?}", DeferredQueue::<()>::new()), "DeferredQueue(0 items, 0 waiting)");
}
