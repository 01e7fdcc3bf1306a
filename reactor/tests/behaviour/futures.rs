//! R9: futures that the reactor runs.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredLock, DeferredQueue, Failure, Panicked, succeed,
};
use twistor_reactor::{Handle, Reactor, ReactorGone, yield_now};

use crate::support::{Drops, PanicsInDrop, Record, keep_log, logged, reactor, run, run_until};

#[test]
fn a_deferred_fires_with_the_futures_result() {
    // R9.3
    let reactor = reactor();
    let sum = reactor.spawn(async {
        let text = succeed("41").await?;
        Ok(text.parse::<u64>()? + 1)
    });
    assert_eq!(run_until(&reactor, sum).unwrap(), 42);
    let error = reactor.spawn(async { Ok("x".parse::<u64>()?) });
    assert!(run_until(&reactor, error).unwrap_err().is::<std::num::ParseIntError>());
    run_until(&reactor, reactor.spawn(async {})).unwrap();
}

#[test]
#[allow(clippy::async_yields_async)]
fn a_deferred_that_a_future_returns_is_followed() {
    // R9
    keep_log();
    let reactor = reactor();
    let (inner, trigger) = Deferred::new();
    let outer = reactor.spawn(async { inner });
    reactor.call_later(Duration::from_millis(1), move || trigger.callback(7));
    assert_eq!(run_until(&reactor, outer).unwrap(), 7);

    let (inner, trigger) = Deferred::<u64>::new();
    let outer = reactor.spawn(async { inner });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    outer.cancel();
    assert!(outer.is_fired() && !trigger.is_live());
    drop(outer.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0)));
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_future_runs_after_spawn_in_the_same_turn() {
    // R9.3
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        let inside = seen.clone();
        drop(handle.spawn(async move { inside.add("inside") }));
        seen.add("spawned");
    });
    reactor.turn(None).unwrap();
    assert_eq!(record.take(), ["spawned", "inside"]);
}

#[test]
fn futures_run_in_the_order_in_which_they_were_woken() {
    // R9.4
    let reactor = reactor();
    let record = Record::new();
    let mut triggers = Vec::new();
    for n in 0..3 {
        let (deferred, trigger) = Deferred::<()>::new();
        triggers.push(trigger);
        let seen = record.clone();
        drop(reactor.spawn(async move {
            deferred.await?;
            seen.add(n);
            Ok(())
        }));
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    triggers.into_iter().rev().for_each(|trigger| trigger.callback(()));
    reactor.turn(None).unwrap();
    assert_eq!(record.take(), [2, 1, 0]);
}

#[test]
fn wakers_work_from_any_thread_and_after_the_end() {
    // R9.5
    let reactor = reactor();
    let (send, receive) = mpsc::channel::<Waker>();
    let rung = Arc::new(AtomicUsize::new(0));
    let bell = rung.clone();
    let thread = std::thread::spawn(move || {
        let waker = receive.recv().unwrap();
        bell.store(1, Ordering::Release);
        waker.wake_by_ref();
        waker
    });
    let done = reactor.spawn(poll_fn(move |context| {
        if rung.load(Ordering::Acquire) == 1 {
            return Poll::Ready(Ok("rung"));
        }
        send.send(context.waker().clone()).unwrap();
        Poll::Pending
    }));
    assert_eq!(run_until(&reactor, done).unwrap(), "rung");
    let waker = thread.join().unwrap();
    waker.wake_by_ref();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    waker.wake();
}

#[test]
fn no_wake_of_eight_threads_is_lost() {
    // R9.5
    const EACH: usize = 10_000;
    let reactor = reactor();
    let (done, threads) = (Arc::new(AtomicUsize::new(0)), Rc::new(RefCell::new(Vec::new())));
    let (count, started) = (done.clone(), threads.clone());
    let all = reactor.spawn(poll_fn(move |context| {
        if started.borrow().is_empty() {
            started.replace_with(|_| {
                let thread = |_| {
                    let (count, waker) = (count.clone(), context.waker().clone());
                    std::thread::spawn(move || {
                        for _ in 0..EACH {
                            // No ordering other than that of the wake itself.
                            count.fetch_add(1, Ordering::Relaxed);
                            waker.wake_by_ref();
                        }
                    })
                };
                (0..8).map(thread).collect()
            });
        }
        // Only the last wake ends this: if it is lost, the test hangs.
        if count.load(Ordering::Relaxed) == 8 * EACH { Poll::Ready(()) } else { Poll::Pending }
    }));
    run_until(&reactor, all).unwrap();
    threads.take().into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(done.load(Ordering::Relaxed), 8 * EACH);
}

#[test]
fn a_stale_waker_does_not_poll_the_next_task() {
    // R9
    let reactor = reactor();
    let slot = Rc::new(RefCell::new(None));
    let waker = slot.clone();
    drop(reactor.spawn(poll_fn(move |context| {
        waker.replace(Some(context.waker().clone()));
        Poll::Ready(())
    })));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let polls = Rc::new(Cell::new(0));
    let count = polls.clone();
    drop(reactor.spawn(poll_fn(move |_| {
        count.set(count.get() + 1);
        Poll::<()>::Pending
    })));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    slot.take().unwrap().wake();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(polls.get(), 1);
}

#[test]
fn a_future_that_wakes_itself_runs_once_a_turn() {
    // R9.4
    let reactor = reactor();
    let polls = Rc::new(Cell::new(0));
    let count = polls.clone();
    drop(reactor.spawn(async move {
        loop {
            count.set(count.get() + 1);
            yield_now().await;
        }
        #[allow(unreachable_code)]
        ()
    }));
    for turn in 1..=10 {
        reactor.turn(None).unwrap();
        assert_eq!(polls.get(), turn);
    }
    let handle = reactor.handle();
    reactor.call_later(Duration::from_millis(1), move || handle.stop());
    run(&reactor);
}

/// Takes two turns of a simulated reactor with a task that never has to wait, and returns the order of events.
fn beside<F: Future<Output = Result<(), Failure>> + 'static>(
    task: impl FnOnce(Record<&'static str>) -> F,
) -> Vec<&'static str> {
    let (reactor, record) = (Reactor::simulated(0), Record::new());
    drop(reactor.spawn(task(record.clone())));
    for name in ["timer 1", "timer 2"] {
        reactor.call_later(Duration::ZERO, record.adder(name));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        record.add("turn");
    }
    let mut order = record.take();
    order.dedup();
    order
}

#[test]
fn a_task_that_is_always_ready_delays_no_timer() {
    // R9.1
    let order = ["timer 1", "poll", "turn", "timer 2", "poll", "turn"];
    let over_a_queue = |record: Record<&'static str>| async move {
        let queue = DeferredQueue::new();
        queue.put(1)?;
        for _ in 0..10_000 {
            queue.put(queue.get().await?)?;
            record.add("poll");
        }
        Ok(())
    };
    assert_eq!(beside(over_a_queue), order);
    let over_a_lock = |record: Record<&'static str>| async move {
        let lock = DeferredLock::new();
        for _ in 0..10_000 {
            let permit = lock.acquire().await?;
            record.add("poll");
            drop(permit);
        }
        Ok(())
    };
    assert_eq!(beside(over_a_lock), order);
}

#[test]
fn a_poll_takes_128_results_and_loses_none() {
    // R9.1
    let (reactor, taken) = (Reactor::simulated(0), Rc::new(Cell::new(0)));
    let seen = taken.clone();
    let sum = reactor.spawn(async move {
        for number in 0..1_000 {
            assert_eq!(succeed(number).await?, number);
            seen.set(number + 1);
        }
        Ok(())
    });
    for turn in 1..=7 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(taken.get(), 128 * turn);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(matches!(sum.try_result(), Ok(Ok(()))) && taken.get() == 1_000);
}

#[test]
fn yield_now_lets_the_rest_of_the_loop_run() {
    // R9.2
    let (reactor, record) = (Reactor::simulated(0), Record::new());
    for (first, second) in [("a1", "a2"), ("b1", "b2")] {
        let record = record.clone();
        drop(reactor.spawn(async move {
            record.add(first);
            yield_now().await;
            record.add(second);
        }));
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(record.take(), ["a1", "b1"]);
    reactor.call_later(Duration::ZERO, record.adder("timer"));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(record.take(), ["timer", "a2", "b2"]);
}

#[test]
fn many_wakes_before_a_turn_are_one_poll() {
    // R9
    let reactor = reactor();
    let (polls, slot) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
    let (count, waker) = (polls.clone(), slot.clone());
    drop(reactor.spawn(poll_fn(move |context| {
        count.set(count.get() + 1);
        waker.replace(Some(context.waker().clone()));
        Poll::<()>::Pending
    })));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    for _ in 0..100 {
        slot.borrow().as_ref().unwrap().wake_by_ref();
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(polls.get(), 2);
}

#[test]
fn cancelling_the_deferred_drops_the_future() {
    // R9.6
    let reactor = reactor();
    let drops = Drops::default();
    let token = drops.token();
    let deferred = reactor.spawn(async move {
        let _token = token;
        pending::<()>().await;
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(drops.count(), 0);
    deferred.cancel();
    assert_eq!(drops.count(), 1);
    assert!(run_until(&reactor, deferred).unwrap_err().is::<Cancelled>());
}

#[test]
fn a_future_may_cancel_itself() {
    // R9
    let reactor = reactor();
    let drops = Drops::default();
    let token = drops.token();
    let canceller = Rc::new(RefCell::new(None));
    let own = canceller.clone();
    let (record, count) = (Record::new(), drops.clone());
    let seen = record.clone();
    let deferred = reactor.spawn(async move {
        let _token = token;
        let canceller: twistor_deferred::Canceller = own.take().unwrap();
        canceller.cancel();
        seen.add(count.count());
        pending::<()>().await;
    });
    canceller.replace(Some(deferred.canceller()));
    assert!(run_until(&reactor, deferred).unwrap_err().is::<Cancelled>());
    assert_eq!((record.take(), drops.count()), (vec![0], 1));
}

#[test]
fn dropping_the_deferred_leaves_the_future_running() {
    // R9
    let reactor = reactor();
    let handle = reactor.handle();
    drop(reactor.spawn(async move {
        yield_now().await;
        handle.stop();
    }));
    run(&reactor);
}

#[test]
fn a_panic_of_a_future_fails_only_its_deferred() {
    // R9.6
    let reactor = reactor();
    let line = line!() + 1;
    let deferred = reactor.spawn(async {
        yield_now().await;
        panic!("out of cheese");
        #[allow(unreachable_code)]
        ()
    });
    let failure = run_until(&reactor, deferred).unwrap_err();
    let panicked = failure.downcast_ref::<Panicked>().unwrap();
    assert_eq!((panicked.message(), panicked.added_at().line()), ("out of cheese", line));
}

#[test]
fn a_panic_in_a_futures_destructor_ends_nothing_else() {
    // R9, R13
    keep_log();
    let reactor = reactor();
    let holding = |poll: Poll<()>| {
        let held = PanicsInDrop;
        poll_fn(move |_| {
            let _held = &held;
            poll
        })
    };
    // Its Deferred reports the panic. If it panics twice, it reports the first.
    assert!(run_until(&reactor, reactor.spawn(holding(Poll::Ready(())))).unwrap_err().is::<Panicked>());
    assert_eq!(logged().len(), 0);
    let held = PanicsInDrop;
    let panics = poll_fn(move |_| -> Poll<()> {
        let _held = &held;
        panic!("out of crackers");
    });
    let failure = run_until(&reactor, reactor.spawn(panics)).unwrap_err();
    assert_eq!(failure.downcast_ref::<Panicked>().unwrap().message(), "out of crackers");
    assert_eq!(logged().len(), 1);

    let cancelled = reactor.spawn(holding(Poll::Pending));
    cancelled.cancel();
    assert!(run_until(&reactor, cancelled).unwrap_err().is::<Cancelled>());
    assert_eq!(logged().len(), 1);

    let (held, canceller) = (PanicsInDrop, Rc::new(RefCell::new(None::<twistor_deferred::Canceller>)));
    let own = canceller.clone();
    let cancels_itself = reactor.spawn(poll_fn(move |_| {
        let _held = &held;
        own.take().unwrap().cancel();
        Poll::<()>::Pending
    }));
    canceller.replace(Some(cancels_itself.canceller()));
    assert!(run_until(&reactor, cancels_itself).unwrap_err().is::<Cancelled>());
    assert_eq!(logged().len(), 1);

    drop(reactor.spawn(holding(Poll::Pending)).add_both(|_| ()));
    drop(reactor);
    assert_eq!(logged().len(), 1);
}

#[test]
fn a_waker_that_outlives_its_reactor_keeps_nothing_alive() {
    // R8
    for woken_in_time in [true, false] {
        let (held, kept) = (Arc::new(()), Arc::new(Mutex::new(None::<Waker>)));
        let hook = held.clone();
        let reactor = Reactor::builder().host_hook(move || _ = &hook).build().unwrap();
        let keep = kept.clone();
        drop(reactor.spawn(poll_fn(move |context| {
            *keep.lock().unwrap() = Some(context.waker().clone());
            Poll::<()>::Pending
        })));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        let waker = kept.lock().unwrap().take().unwrap();
        if woken_in_time {
            waker.wake_by_ref();
        }
        drop(reactor);
        waker.wake();
        assert_eq!(Arc::strong_count(&held), 1, "woken in time: {woken_in_time}");
    }
}

#[test]
fn an_unhandled_failure_of_a_future_is_logged_with_place() {
    // R9, D11
    keep_log();
    let reactor = reactor();
    let line = line!() + 1;
    drop(reactor.spawn(async { Ok("x".parse::<u64>()?) }));
    reactor.turn(None).unwrap();
    let lines = logged();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(&format!("futures.rs:{line}")), "{lines:?}");
}

#[test]
fn a_future_is_dropped_before_its_result_is_delivered() {
    // R9
    let reactor = reactor();
    let drops = Drops::default();
    let (token, count) = (drops.token(), drops.clone());
    let deferred = reactor.spawn(async move {
        let _token = token;
        yield_now().await;
    });
    run_until(&reactor, deferred.add_callback(move |()| assert_eq!(count.count(), 1))).unwrap();

    let (token, count) = (drops.token(), drops.clone());
    let panics = reactor.spawn(poll_fn(move |_| -> Poll<()> {
        let _token = &token;
        panic!("out of cheese");
    }));
    run_until(&reactor, panics.add_errback(move |_| assert_eq!(count.count(), 2))).unwrap();
}

#[test]
fn dropping_a_reactor_drops_futures_that_hold_handles() {
    // R8, R9.7
    let reactor = reactor();
    let (drops, record) = (Drops::default(), Record::new());
    for turn in [true, false] {
        let (token, handle, seen): (_, Handle, _) = (drops.token(), reactor.handle(), record.clone());
        let deferred = reactor.spawn(async move {
            let _token = token;
            handle.sleep(Duration::from_secs(3600)).await
        });
        drop(deferred.add_errback(move |failure| {
            seen.add(failure.is::<Abandoned>());
            Ok(())
        }));
        if turn {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    drop(reactor);
    assert_eq!((drops.count(), record.take()), (2, vec![true, true]));
}

#[test]
fn the_end_of_a_run_drops_unfinished_futures() {
    // R4, R9.7
    let reactor = reactor();
    let drops = Drops::default();
    let token = drops.token();
    let abandoned = reactor.spawn(async move {
        let _token = token;
        pending::<()>().await;
    });
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    run(&reactor);
    assert_eq!(drops.count(), 1);
    assert!(run_until(&reactor, abandoned).unwrap_err().is::<Abandoned>());
}

#[test]
fn a_reactor_that_is_gone_accepts_no_future() {
    // R8, R9
    let handle: Handle = {
        let reactor = reactor();
        (*reactor).clone()
    };
    let drops = Drops::default();
    let token = drops.token();
    let refused = handle.spawn(async move { drop(token) });
    assert_eq!(drops.count(), 1);
    let other = reactor();
    assert!(other.run_until(refused).unwrap_err().is::<ReactorGone>());
    let lost = other.spawn(async move { handle.sleep(Duration::ZERO).await });
    assert!(other.run_until(lost).unwrap_err().is::<ReactorGone>());
}

#[test]
fn ten_thousand_futures_that_await_each_other_finish() {
    // R9
    let reactor = reactor();
    let mut last = reactor.spawn(async { Ok(0) });
    for _ in 0..10_000 {
        last = reactor.spawn(async { Ok(last.await? + 1) });
    }
    assert_eq!(run_until(&reactor, last).unwrap(), 10_000);
}

#[test]
fn a_sleep_ends_at_its_time() {
    // R9
    let reactor = Reactor::simulated(1);
    let start = reactor.now();
    let handle = reactor.handle();
    let slept = reactor.spawn(async move {
        handle.sleep(Duration::from_secs(60)).await?;
        let second = handle.sleep(Duration::from_secs(2));
        handle.sleep(Duration::from_secs(5)).await?;
        second.await?;
        Ok(handle.now())
    });
    assert_eq!(reactor.run_until(slept).unwrap() - start, Duration::from_secs(65));
}

#[test]
fn dropping_a_sleep_cancels_its_timer() {
    // R9.8
    let reactor = reactor();
    let polls = Rc::new(Cell::new(0));
    let (handle, count) = (reactor.handle(), polls.clone());
    let mut sleep = Some(Box::pin(handle.sleep(Duration::from_secs(3600))));
    drop(reactor.spawn(poll_fn(move |context| {
        count.set(count.get() + 1);
        if let Some(mut sleep) = sleep.take() {
            assert!(sleep.as_mut().poll(context).is_pending());
        }
        Poll::<()>::Pending
    })));
    assert!(reactor.next_deadline().is_some());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(reactor.next_deadline().is_none());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(polls.get(), 1);
}

#[test]
fn the_hook_is_called_for_a_wake_outside_a_turn_only() {
    // R9, R11
    let rung = Arc::new(AtomicUsize::new(0));
    let bell = rung.clone();
    let reactor =
        Reactor::builder().host_hook(move || _ = bell.fetch_add(1, Ordering::Relaxed)).build().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let (deferred, trigger) = Deferred::<()>::new();
    drop(reactor.spawn(async move {
        deferred.await?;
        yield_now().await;
        Ok(())
    }));
    assert_eq!(rung.load(Ordering::Relaxed), 1);
    reactor.turn(None).unwrap();
    trigger.callback(());
    assert_eq!(rung.load(Ordering::Relaxed), 2);
    reactor.turn(None).unwrap();
    reactor.turn(None).unwrap();
    assert_eq!(rung.load(Ordering::Relaxed), 2);
    assert!(reactor.next_deadline().is_none());
}
