//! R1: results of calls between a reactor and other threads.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use twistor_deferred::{Abandoned, Cancelled, Deferred, Failure, Panicked, fail};
use twistor_reactor::{Handle, Phase, Reactor, ReactorGone, Remote, RemoteResult, defer_later};

use crate::support::{Record, keep_log, logged, reactor, run, run_until};

/// Runs a reactor while `f` runs in another thread, and returns the result of `f`.
fn beside<T: Send + 'static>(reactor: &Reactor, f: impl FnOnce(&Remote) -> T + Send + 'static) -> T {
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let result = f(&remote);
        remote.stop().unwrap();
        result
    });
    run(reactor);
    thread.join().unwrap()
}

fn later(handle: &Handle) -> Deferred<u32> {
    defer_later(handle, Duration::from_millis(1), || Ok(42))
}

/// Returns a Deferred that never fires, and records when it is cancelled.
fn never(cancelled: mpsc::Sender<()>) -> Deferred<u32> {
    let (deferred, trigger) = Deferred::with_canceller(move |_| cancelled.send(()).unwrap());
    std::mem::forget(trigger);
    deferred
}

#[test]
fn a_call_returns_its_result_to_a_thread_that_blocks() {
    // R1.4
    let here = thread::current().id();
    let results = beside(&reactor(), move |remote| {
        let there = remote.call(move |_| Ok(thread::current().id() == here)).wait().unwrap();
        (there, remote.call(later).wait().unwrap(), remote.call(|_| ()).wait().unwrap())
    });
    assert_eq!(results, (true, 42, ()));
}

#[test]
fn a_call_returns_the_failure_or_the_panic_of_its_function() {
    // R1.4
    keep_log();
    let failures = beside(&reactor(), |remote| {
        let failed = remote.call(|_| fail::<()>(io::Error::from(io::ErrorKind::NotFound))).wait();
        let panicked = remote.call(|_| -> Result<(), Failure> { panic!("out of cheese") }).wait();
        (failed.unwrap_err(), panicked.unwrap_err())
    });
    assert!(failures.0.is::<io::Error>());
    let added = failures.1.downcast_ref::<Panicked>().unwrap().added_at();
    assert!(added.file().ends_with("remote_results.rs"), "{added}");
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_call_is_a_future_in_another_reactor() {
    // R1.4
    let result = beside(&reactor(), |remote| {
        let other = Reactor::new().unwrap();
        let call = remote.call(later);
        let answer = other.spawn(async { Ok(call.await? + 1) });
        other.run_until(answer).unwrap()
    });
    assert_eq!(result, 43);
}

#[test]
fn a_call_in_progress_fails_when_the_run_ends() {
    // R1.5
    let (cancelled, was_cancelled) = mpsc::channel();
    let reactor = reactor();
    let remote = reactor.remote();
    let (begin, begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        let pending = remote.call(move |_| {
            begin.send(()).unwrap();
            never(cancelled)
        });
        begun.recv().unwrap();
        remote.stop().unwrap();
        pending.wait()
    });
    run(&reactor);
    assert!(thread.join().unwrap().unwrap_err().is::<ReactorGone>());
    assert_eq!(was_cancelled.try_recv(), Ok(()));
}

#[test]
fn a_call_to_an_ended_run_fails() {
    // R1.5
    let reactor = reactor();
    let remote = reactor.remote();
    let (record, last) = (Record::new(), remote.clone());
    let too_late = Rc::new(Cell::new(None));
    let slot = too_late.clone();
    reactor.on_shutdown(Phase::After, move || slot.set(Some(last.call(|_| ()))));
    let handle = reactor.handle();
    reactor.call_when_running(move || handle.stop());
    run(&reactor);
    record.add(too_late.take().map(into_failure));
    let kept = remote.call(|_| ());
    drop(reactor);
    record.add(Some(into_failure(kept)));
    record.add(Some(into_failure(remote.call(|_| ()))));
    assert_eq!(record.take(), [Some(true); 3]);
}

fn into_failure(result: RemoteResult<()>) -> bool {
    let failure = thread::spawn(move || result.wait()).join().unwrap().unwrap_err();
    failure.is::<ReactorGone>()
}

#[test]
fn dropping_the_result_cancels_the_call() {
    // R1.6
    let reactor = reactor();
    let remote = reactor.remote();
    drop(remote.call(|_| -> Result<(), Failure> { panic!("it is not called") }));
    let (cancelled, was_cancelled) = mpsc::channel();
    let pending = remote.call(move |_| never(cancelled));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(was_cancelled.try_recv().is_err());
    drop(pending);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(was_cancelled.try_recv(), Ok(()));
}

#[test]
fn waiting_in_the_reactors_own_thread_fails() {
    // R1.7
    let reactor = reactor();
    let failure = reactor.remote().call(|_| ()).wait().unwrap_err();
    assert_eq!(failure.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::Deadlock);
    let done = reactor.remote().call(|_| Ok(1));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(done.wait().unwrap(), 1);
}

#[test]
fn a_remote_trigger_fires_from_any_thread() {
    // R1.8
    let reactor = reactor();
    let here = thread::current().id();
    let (deferred, trigger) = reactor.remote_trigger::<u32>();
    let thread = thread::spawn(move || trigger.callback(42));
    let fired = deferred.add_callback(move |n| Ok((n, thread::current().id() == here)));
    assert_eq!(run_until(&reactor, fired).unwrap(), (42, true));
    thread.join().unwrap();

    let (deferred, trigger) = reactor.remote_trigger::<u32>();
    let thread = thread::spawn(move || trigger.errback(Cancelled));
    assert!(run_until(&reactor, deferred).unwrap_err().is::<Cancelled>());
    thread.join().unwrap();
}

#[test]
fn dropping_a_remote_trigger_abandons_its_deferred() {
    // R1.8
    let reactor = reactor();
    let (deferred, trigger) = reactor.remote_trigger::<u32>();
    let thread = thread::spawn(move || drop(trigger));
    assert!(run_until(&reactor, deferred).unwrap_err().is::<Abandoned>());
    thread.join().unwrap();
}

#[test]
fn a_remote_trigger_reports_that_its_deferred_is_over() {
    // R1.8
    let reactor = reactor();
    let (deferred, trigger) = reactor.remote_trigger::<u32>();
    assert!(trigger.is_live());
    deferred.cancel();
    drop(deferred.add_both(|_| ()));
    assert!(!trigger.is_live());
    trigger.callback(1);

    let (deferred, trigger) = reactor.remote_trigger::<u32>();
    let record = Record::new();
    let seen = record.clone();
    drop(deferred.add_both(move |result| seen.add(result.unwrap_err().is::<Abandoned>())));
    let handle = reactor.handle();
    reactor.call_when_running(move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), [true]);
    assert!(!trigger.is_live());
}

#[test]
fn remote_types_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let reactor = reactor();
    let (deferred, trigger) = reactor.remote_trigger::<Cell<u32>>();
    drop((is_send(trigger), deferred.add_both(|_| ())));
    let call = is_send(reactor.remote().call(|_| Ok(Cell::new(1))));
    fn is_future<T>(_: &impl Future<Output = Result<T, Failure>>) {}
    is_future(&call);
}
