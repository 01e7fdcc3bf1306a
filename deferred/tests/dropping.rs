//! Each value and each closure is dropped exactly once, on every path: D12, D15.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use support::{Item, Ledger, failure_of, value_of};
use twistor_deferred::{
    Cancelled, Canceller, Deferred, DeferredList, DeferredPool, DeferredQueue, Failure, Trigger, fail,
    gather_results, guarded, join, race, succeed,
};

// D12.1
#[test]
fn a_value_that_is_not_taken() {
    let ledger = Ledger::default();
    let (deferred, trigger) = Deferred::<Item>::new();
    trigger.callback(ledger.item());
    assert_eq!(ledger.alive(), 1);
    drop(deferred);
    drop(succeed(ledger.item()));
    let (deferred, trigger) = Deferred::<Item>::new();
    drop(deferred);
    trigger.callback(ledger.item());
    ledger.settle(3);
}

// D12.1
#[test]
fn a_value_that_passes_through_a_chain() {
    let ledger = Ledger::default();
    let (deferred, trigger) = Deferred::<Item>::new();
    let deferred = deferred.add_callback(Ok).add_errback(Err).add_both(|result| result);
    trigger.callback(ledger.item());
    assert_eq!(ledger.alive(), 1);
    drop(value_of(deferred.add_callback(Ok)));
    ledger.settle(1);
}

// D12.1, D15.1
#[test]
fn closures_that_run_and_closures_that_are_skipped() {
    let ledger = Ledger::default();
    let capture = || {
        let item = ledger.item();
        move |n: u64| {
            let _captured = &item;
            Ok(n)
        }
    };
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(capture()).add_callback(capture());
    let item = ledger.item();
    let deferred = deferred.add_errback(move |_| {
        let _captured = &item;
        Ok(0)
    });
    trigger.callback(1);
    ledger.settle(3);
    let late = deferred.add_callback(capture());
    ledger.settle(4);
    assert_eq!(value_of(late), 1);
    drop(fail::<u64>(Cancelled).add_callback(capture()).add_errback(|_| Ok(0)));
    ledger.settle(5);
}

// D12.1, D15.1
#[test]
fn closures_of_a_chain_that_never_fires() {
    let ledger = Ledger::default();
    let chain = || {
        let (deferred, trigger) = Deferred::<u64>::new();
        let (a, b) = (ledger.item(), ledger.item());
        let deferred = deferred.add_callback(move |n| Ok((n, a))).add_callback(move |(n, _)| {
            let _captured = &b;
            Ok(n)
        });
        (deferred, trigger)
    };
    let unwind = |trigger| {
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _trigger = trigger;
            resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
    };
    // D9.1: a trigger dropped by a panic fires in the next frame.
    let settle = || guarded(|| ()).unwrap();
    let (deferred, trigger) = chain();
    unwind(trigger);
    drop(deferred);
    settle();
    ledger.settle(2);
    let (deferred, trigger) = chain();
    drop(deferred);
    unwind(trigger);
    settle();
    ledger.settle(4);
    let (deferred, trigger) = chain();
    drop(trigger);
    assert!(failure_of(deferred).to_string().contains("abandoned"));
    ledger.settle(6);
}

// D12.1
#[test]
fn a_value_in_a_callback_that_panics() {
    let ledger = Ledger::default();
    let item = ledger.item();
    let (deferred, trigger) = Deferred::<Item>::new();
    let deferred = deferred.add_callback(move |_value| -> Result<u64, Failure> {
        let _captured = &item;
        panic!("with both in hand")
    });
    trigger.callback(ledger.item());
    ledger.settle(2);
    drop(deferred.add_errback(|_| Ok(0)));
}

// D12.1, D14.1
#[test]
fn a_value_that_arrives_after_the_cancel() {
    let ledger = Ledger::default();
    let (deferred, trigger) = Deferred::<Item>::new();
    deferred.cancel();
    trigger.callback(ledger.item());
    ledger.settle(1);
    drop(failure_of(deferred));
}

// D12.1
#[test]
fn a_value_from_an_inner_deferred() {
    let ledger = Ledger::default();
    let (inner, inner_trigger) = Deferred::<Item>::new();
    let (deferred, trigger) = Deferred::<Item>::new();
    let deferred = deferred.add_callback(move |_outer| inner);
    trigger.callback(ledger.item());
    ledger.settle(1);
    inner_trigger.callback(ledger.item());
    assert_eq!(ledger.alive(), 1);
    drop(deferred);
    ledger.settle(2);
}

// D12.1
#[test]
fn the_error_inside_a_failure() {
    struct Noticed(Arc<()>);
    impl std::fmt::Display for Noticed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "noticed {} times", Arc::strong_count(&self.0))
        }
    }
    impl std::fmt::Debug for Noticed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self}")
        }
    }
    impl std::error::Error for Noticed {}
    let alive = Arc::new(());
    let noticed = || Noticed(alive.clone());
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.errback(noticed());
    drop(deferred.add_errback(Err).add_errback(|failure| failure.trap::<Noticed>().map(|_| 0)));
    drop(fail::<u64>(noticed()));
    drop(fail::<u64>(noticed()).add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0)));
    assert_eq!(Arc::strong_count(&alive), 1);
}

// D12.1
#[test]
fn the_values_of_members() {
    let ledger = Ledger::default();
    let pair = || [succeed(ledger.item()), fail(Cancelled), succeed(ledger.item())];
    drop(DeferredList::new(pair()).into_deferred());
    drop(DeferredList::new(pair()));
    drop(gather_results(pair()).add_errback(|_| Ok(vec![])));
    drop(race(pair()));
    drop(join((succeed(ledger.item()), succeed(ledger.item()))));
    let (late, trigger) = Deferred::<Item>::new();
    drop(race([late, succeed(ledger.item())]));
    trigger.callback(ledger.item());
    ledger.settle(12);
}

// D12.1
#[test]
fn a_cancelled_list_frees_its_members() {
    let ledger = Ledger::default();
    let (member, trigger) = Deferred::<Item>::new();
    let list = gather_results([member]);
    let canceller = list.canceller();
    trigger.callback(ledger.item());
    assert_eq!(ledger.alive(), 1);
    drop(list);
    ledger.settle(1);
    canceller.cancel();
}

// D15.2
#[test]
fn a_reference_cycle_ends_by_firing_or_cancelling() {
    type Ring = fn(Item) -> (Deferred<()>, Box<dyn FnOnce()>);
    /// An object that a callback and the source that fires it both own.
    fn shared<T>() -> [Rc<RefCell<Option<T>>>; 3] {
        let shared = Rc::new(RefCell::new(None));
        [shared.clone(), shared.clone(), shared]
    }
    let with_trigger: Ring = |item| {
        let [kept, own, outside] = shared::<Trigger<()>>();
        let (deferred, trigger) = Deferred::new();
        kept.replace(Some(trigger));
        let outside = Rc::downgrade(&outside);
        let fire = move || outside.upgrade().unwrap().take().unwrap().callback(());
        (deferred.add_both(move |_| drop((item, own))), Box::new(fire))
    };
    let in_queue: Ring = |item| {
        let queue = DeferredQueue::new();
        let own = queue.clone();
        let waiting = queue.get().add_both(move |_| drop((item, own)));
        (waiting, Box::new(move || queue.put(()).unwrap()))
    };
    let in_pool: Ring = |item| {
        let pool = DeferredPool::new();
        let own = pool.clone();
        let waiting = pool.defer_until_empty(false).add_both(move |_| drop((item, own)));
        (waiting, Box::new(move || drop(pool.add(succeed(())))))
    };
    for ring in [with_trigger, in_queue, in_pool] {
        let ledger = Ledger::default();
        let (fired, fire) = ring(ledger.item());
        drop(fired);
        assert_eq!(ledger.alive(), 1);
        fire();
        ledger.settle(1);
        let (given_up, fire) = ring(ledger.item());
        let canceller = given_up.canceller();
        drop((given_up, fire));
        assert_eq!(ledger.alive(), 1);
        canceller.cancel();
        ledger.settle(2);
    }
}

// D15.3
#[test]
fn a_callback_may_own_its_handle_or_canceller() {
    let ledger = Ledger::default();
    let handle: Rc<RefCell<Option<Deferred<()>>>> = Rc::default();
    let (own, item) = (handle.clone(), ledger.item());
    let (deferred, trigger) = Deferred::<u64>::new();
    handle.replace(Some(deferred.add_both(move |_| drop((item, own)))));
    drop((handle, trigger));
    ledger.settle(1);

    let canceller: Rc<RefCell<Option<Canceller>>> = Rc::default();
    let (own, item) = (canceller.clone(), ledger.item());
    let (deferred, trigger) = Deferred::<u64>::new();
    canceller.replace(Some(deferred.canceller()));
    drop(deferred.add_both(move |_| drop((item, own))));
    drop((canceller, trigger));
    ledger.settle(2);
}
