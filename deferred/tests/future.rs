//! Awaiting Deferreds: D10.5, D18.

mod support;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use support::value_of;
use twistor_deferred::{Abandoned, Cancelled, Deferred, Failure, succeed, with_budget};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}

#[test]
fn a_fired_deferred_is_ready() {
    let woken = Arc::default();
    let Poll::Ready(Ok(n)) = poll(&mut succeed(1), &woken) else { panic!("not ready") };
    assert_eq!(n, 1);
}

#[test]
fn a_poll_takes_no_more_results_than_its_budget() {
    // D18.1
    let woken = Arc::<Woken>::default();
    let mut taken = 0;
    let (mut fired, mut waiting) = (succeed(7), Deferred::<u64>::new());
    with_budget(3, || {
        while let Poll::Ready(Ok(_)) = poll(&mut succeed(1), &woken) {
            taken += 1;
        }
        assert!(poll(&mut fired, &woken).is_pending());
        assert!(poll(&mut waiting.0, &woken).is_pending());
    });
    // A pending Deferred does not wake its task.
    assert_eq!((taken, woken.times()), (3, 2));
    assert!(matches!(poll(&mut fired, &woken), Poll::Ready(Ok(7))));
    waiting.1.callback(8);
    assert!(matches!(poll(&mut waiting.0, &woken), Poll::Ready(Ok(8))));
}

#[test]
fn a_nested_budget_is_separate() {
    // D18.2
    let woken = Arc::<Woken>::default();
    let take = || poll(&mut succeed(1), &woken).is_ready();
    with_budget(1, || {
        assert!(with_budget(2, || take() && take() && !take()));
        let panicked = std::panic::catch_unwind(|| with_budget(5, || panic!("out of cheese")));
        assert!(panicked.is_err() && take() && !take());
    });
    assert!((0..1000).all(|_| take()));
}

#[test]
fn firing_wakes_the_awaiting_task_once() {
    let woken = Arc::default();
    let (deferred, trigger) = Deferred::<u64>::new();
    let mut deferred = deferred.add_callback(|n| Ok(n + 1));
    assert!(poll(&mut deferred, &woken).is_pending());
    assert!(poll(&mut deferred, &woken).is_pending());
    assert_eq!(woken.times(), 0);
    trigger.callback(1);
    assert_eq!(woken.times(), 1);
    assert!(matches!(poll(&mut deferred, &woken), Poll::Ready(Ok(2))));
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    let (first, last) = (Arc::default(), Arc::default());
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred, &first).is_pending());
    assert!(poll(&mut deferred, &last).is_pending());
    trigger.errback(Cancelled);
    assert_eq!((first.times(), last.times()), (0, 1));
    assert!(matches!(poll(&mut deferred, &last), Poll::Ready(Err(failure)) if failure.is::<Cancelled>()));
}

#[test]
fn a_waker_that_polls_as_it_is_woken_finds_the_result() {
    thread_local! {
        static AWAITED: Cell<Option<Deferred<u64>>> = const { Cell::new(None) };
        static SEEN: Cell<Option<u64>> = const { Cell::new(None) };
    }
    struct PollsAtOnce;
    impl Wake for PollsAtOnce {
        fn wake(self: Arc<Self>) {
            let mut deferred = AWAITED.take().unwrap();
            if let Poll::Ready(Ok(n)) = Pin::new(&mut deferred).poll(&mut Context::from_waker(Waker::noop()))
            {
                SEEN.set(Some(n));
            }
        }
    }
    let (mut deferred, trigger) = Deferred::<u64>::new();
    let waker = Waker::from(Arc::new(PollsAtOnce));
    assert!(Pin::new(&mut deferred).poll(&mut Context::from_waker(&waker)).is_pending());
    AWAITED.set(Some(deferred));
    trigger.callback(7);
    assert_eq!(SEEN.get(), Some(7));
}

#[test]
fn a_deferred_that_was_polled_still_takes_callbacks() {
    let woken = Arc::default();
    let (mut deferred, trigger) = Deferred::<u64>::new();
    assert!(poll(&mut deferred, &woken).is_pending());
    let deferred = deferred.add_callback(|n| Ok(n + 1));
    trigger.callback(1);
    assert_eq!(value_of(deferred), 2);
}

#[test]
fn a_deferred_polled_after_its_result_fails() {
    let woken = Arc::default();
    let mut deferred = succeed(1);
    assert!(poll(&mut deferred, &woken).is_ready());
    assert!(matches!(poll(&mut deferred, &woken), Poll::Ready(Err(failure)) if failure.is::<Abandoned>()));
}

#[test]
fn an_async_function_reads_like_the_chain_it_replaces() {
    async fn sum(a: Deferred<u64>, b: Deferred<u64>) -> Result<u64, Failure> {
        Ok(a.await? + b.await?)
    }
    let woken = Arc::default();
    let (a, trigger_a) = Deferred::new();
    let (b, trigger_b) = Deferred::new();
    let mut sum = Box::pin(sum(a, b));
    assert!(poll(&mut sum, &woken).is_pending());
    trigger_b.callback(2);
    assert!(poll(&mut sum, &woken).is_pending());
    trigger_a.callback(1);
    assert!(matches!(poll(&mut sum, &woken), Poll::Ready(Ok(3))));
}
