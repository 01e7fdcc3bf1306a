//! R1: calls and work on other threads.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use twistor_deferred::{Abandoned, Cancelled, Panicked};
use twistor_reactor::{Handle, Phase, Reactor, ReactorGone};

use crate::support::{PanicsInDrop, Record, keep_log, logged, reactor, run, run_until};

#[test]
fn calls_from_the_own_thread_run_in_order_in_a_later_turn() {
    // R1.9, R1.10: before `run` they are kept.
    let reactor = reactor();
    let order = Arc::new(AtomicUsize::new(0));
    let remote = reactor.remote();
    for n in 0..3 {
        let order = order.clone();
        remote.call_from_thread(move |_| assert_eq!(order.fetch_add(1, Ordering::Relaxed), n)).unwrap();
    }
    assert_eq!(order.load(Ordering::Relaxed), 0);
    reactor.turn(None).unwrap();
    assert_eq!(order.load(Ordering::Relaxed), 3);

    let (later, again) = (order.clone(), remote.clone());
    remote
        .call_from_thread(move |_| {
            let count = later.clone();
            again.call_from_thread(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
            assert_eq!(later.load(Ordering::Relaxed), 3);
        })
        .unwrap();
    reactor.turn(None).unwrap();
    assert_eq!(order.load(Ordering::Relaxed), 3);
    reactor.turn(None).unwrap();
    assert_eq!(order.load(Ordering::Relaxed), 4);
    assert_eq!(reactor.stats().remote_calls, 5);
}

thread_local! {
    static NEXT: Cell<[usize; 8]> = const { Cell::new([0; 8]) };
}

#[test]
fn a_million_calls_of_eight_threads_run_in_order() {
    // R1.9
    const EACH: usize = 125_000;
    let reactor = reactor();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let remote = reactor.remote();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    remote
                        .call_from_thread(move |handle| {
                            let mut next = NEXT.get();
                            assert_eq!(next[thread], n);
                            next[thread] += 1;
                            NEXT.set(next);
                            if next == [EACH; 8] {
                                handle.stop();
                            }
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    run(&reactor);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(NEXT.get(), [EACH; 8]);
    assert_eq!(reactor.stats().remote_calls, 8 * EACH as u64);
}

#[test]
fn each_single_call_wakes_a_sleeping_reactor() {
    // R1: no wake-up is lost between two threads that wait for each other at every step.
    let reactor = reactor();
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        for _ in 0..10_000 {
            let (done, wait) = mpsc::channel();
            remote.call_from_thread(move |_| done.send(()).unwrap()).unwrap();
            wait.recv().unwrap();
        }
        remote.stop().unwrap();
    });
    run(&reactor);
    thread.join().unwrap();
}

#[test]
fn a_call_to_a_reactor_that_is_gone_is_an_error_value() {
    let reactor = reactor();
    let (remote, handle) = (reactor.remote(), reactor.handle());
    drop(reactor);
    assert_eq!(remote.call_from_thread(|_| ()), Err(ReactorGone));
    assert_eq!(handle.remote().stop(), Err(ReactorGone));
    drop(handle.defer_to_thread(|| Ok(())).add_errback(|failure| failure.trap::<ReactorGone>().map(|_| ())));
    assert!(!handle.call_later(Duration::ZERO, || ()).active());
}

#[test]
fn work_fires_its_deferred_in_the_reactors_thread() {
    let reactor = reactor();
    let here = std::thread::current().id();
    let deferred = reactor
        .defer_to_thread(|| Ok(std::thread::current().id()))
        .add_callback(move |there| Ok(there != here && std::thread::current().id() == here));
    assert!(run_until(&reactor, deferred).unwrap());
}

#[test]
fn an_error_or_panic_on_a_thread_fails_the_deferred() {
    let reactor = reactor();
    let failed = reactor.defer_to_thread(|| Ok("x".parse::<u32>()?));
    assert!(run_until(&reactor, failed).unwrap_err().is::<std::num::ParseIntError>());
    let line = line!() + 1;
    let panicked = reactor.defer_to_thread(|| -> Result<(), _> { panic!("out of cheese") });
    let failure = run_until(&reactor, panicked).unwrap_err();
    let panicked = failure.downcast_ref::<Panicked>().unwrap();
    assert_eq!((panicked.message(), panicked.added_at().line()), ("out of cheese", line));
}

#[test]
fn the_pool_is_bounded_and_work_waits_in_order() {
    let reactor = Reactor::builder().threads(2).build().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let done = Rc::new(Cell::new(0));
    for _ in 0..50 {
        let (now, most, done, handle) = (now.clone(), most.clone(), done.clone(), reactor.handle());
        let work = reactor.defer_to_thread(move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        drop(work.add_callback(move |()| {
            done.set(done.get() + 1);
            if done.get() == 50 {
                handle.stop();
            }
        }));
    }
    run(&reactor);
    assert!(done.get() == 50 && most.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_pool_of_zero_threads_has_one() {
    let reactor = Reactor::builder().threads(0).build().unwrap();
    let handle = reactor.handle();
    drop(reactor.defer_to_thread(|| Ok(())).add_callback(move |()| handle.stop()));
    run(&reactor);
}

#[test]
fn cancelling_work_that_has_not_begun_prevents_it() {
    let reactor = Reactor::builder().threads(1).build().unwrap();
    let (go, wait) = mpsc::channel::<()>();
    let first = reactor.defer_to_thread(move || Ok(wait.recv()?));
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let second = reactor.defer_to_thread(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    second.cancel();
    let record = Record::new();
    let seen = record.clone();
    drop(second.add_errback(move |failure| {
        seen.add(failure.is::<Cancelled>());
        Ok(())
    }));
    let third = reactor.defer_to_thread(|| Ok(()));
    go.send(()).unwrap();
    run_until(&reactor, first.add_callback(|()| third)).unwrap();
    assert_eq!(record.take(), [true]);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn a_thread_survives_a_panic_in_a_destructor() {
    // R13
    let reactor = Reactor::builder().threads(1).build().unwrap();
    let (go, may_end) = mpsc::channel::<()>();
    let held_up = reactor.defer_to_thread(move || Ok(_ = may_end.recv()));
    let held = PanicsInDrop;
    let cancelled = reactor.defer_to_thread(move || {
        drop(held);
        Ok(())
    });
    cancelled.cancel();
    drop(cancelled.add_both(|_| ()));
    let next = reactor.defer_to_thread(|| Ok(7));
    drop(go);
    assert_eq!(run_until(&reactor, held_up.add_callback(|()| next)).unwrap(), 7);
}

#[test]
fn stopping_waits_only_for_work_that_has_begun() {
    // R4.3
    keep_log();
    let reactor = Reactor::builder().threads(1).thread_grace(Duration::MAX).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go, may_end) = mpsc::channel::<()>();
    let under_way = reactor.defer_to_thread(move || {
        begun.send(())?;
        may_end.recv()?;
        Ok(())
    });
    let waiting = reactor.defer_to_thread(|| Ok(()));
    let record = Record::new();
    for (n, work) in [under_way, waiting].into_iter().enumerate() {
        let seen = record.clone();
        drop(work.add_errback(move |failure| {
            seen.add((n, failure.is::<Abandoned>()));
            Ok(())
        }));
    }
    let handle: Handle = reactor.handle();
    reactor.call_when_running(move || {
        has_begun.recv().unwrap();
        handle.stop();
    });
    // The last step before the threads are joined.
    reactor.on_shutdown(Phase::After, move || go.send(()).unwrap());
    run(&reactor);
    assert_eq!(record.take(), [(0, true), (1, true)]);
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_first_job_that_is_given_while_the_run_ends_never_begins() {
    // R4.1
    struct GivesWork(Handle, Rc<Cell<bool>>, Arc<AtomicUsize>);
    impl Drop for GivesWork {
        fn drop(&mut self) {
            let GivesWork(handle, abandoned, begun) = self;
            let (abandoned, begun) = (abandoned.clone(), begun.clone());
            let work = handle.defer_to_thread(move || Ok(begun.fetch_add(1, Ordering::Relaxed)));
            drop(work.add_both(move |result| abandoned.set(result.unwrap_err().is::<Abandoned>())));
        }
    }
    let reactor = reactor();
    let (abandoned, begun) = (Rc::new(Cell::new(false)), Arc::new(AtomicUsize::new(0)));
    let gives = GivesWork(Handle::clone(&reactor), abandoned.clone(), begun.clone());
    drop(reactor.call_later(Duration::from_secs(3600), move || drop(gives)));
    reactor.call_when_running({
        let handle = Handle::clone(&reactor);
        move || handle.stop()
    });
    reactor.run().unwrap();
    assert!(abandoned.get());
    // The next run has threads.
    let work = reactor.defer_to_thread(|| Ok(42));
    assert_eq!(reactor.run_until(work).unwrap(), 42);
    assert_eq!(begun.load(Ordering::Relaxed), 0);
}
