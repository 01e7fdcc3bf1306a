//! R11: the reactor in another loop.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Poll as Polled, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit, setrlimit};
use twistor_deferred::Deferred;
use twistor_reactor::{EventHandler, Handle, Phase, Progress, Reactor, Ready};

use crate::support::{Record, reactor};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns whether the reactor's descriptor is readable now.
fn is_readable(reactor: &Reactor) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(reactor.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

/// Creates a reactor with a hook that counts its calls.
fn hooked() -> (Reactor, impl Fn() -> usize) {
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let hook = move || _ = count.fetch_add(1, Ordering::Relaxed);
    let reactor = Reactor::builder().host_hook(hook).build().unwrap();
    (reactor, move || told.swap(0, Ordering::Relaxed))
}

fn idle_turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_host_embeds_the_reactor_by_descriptor_and_deadline() {
    // R11.5
    let reactor = reactor();
    let mut host = Poll::new().unwrap();
    host.registry()
        .register(&mut SourceFd(&reactor.as_fd().as_raw_fd()), Token(0), Interest::READABLE)
        .unwrap();
    let handle = reactor.handle();
    let done = reactor.defer_to_thread(|| Ok(()));
    let record = Record::new();
    let (seen, timer) = (record.clone(), record.clone());
    drop(done.add_callback(move |()| {
        seen.add("thread");
        handle.clone().call_later(Duration::from_millis(2), move || {
            timer.add("timer");
            handle.stop();
        });
    }));
    let mut events = Events::with_capacity(8);
    while reactor.turn(Some(Duration::ZERO)).unwrap() {
        // It never sleeps past the deadline and does not poll: polling would take thousands of turns.
        let wait = reactor.next_deadline().map(|deadline| deadline.saturating_duration_since(reactor.now()));
        host.poll(&mut events, wait).unwrap();
    }
    assert_eq!(record.take(), ["thread", "timer"]);
    assert!(reactor.stats().turns < 20, "{:?}", reactor.stats());
}

#[test]
fn the_next_deadline_is_now_with_work_and_none_without() {
    // R11.6
    let reactor = Reactor::simulated(0);
    assert_eq!(reactor.next_deadline(), Some(reactor.now()), "it has not started yet");
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), None);
    let call = reactor.call_later(HOUR, || ());
    assert_eq!(reactor.next_deadline(), call.time());
    reactor.remote().call_from_thread(|_| ()).unwrap();
    assert_eq!(reactor.next_deadline(), Some(reactor.now()));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), call.time());
    call.cancel().unwrap();
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_call_from_a_thread_makes_the_descriptor_readable() {
    // R11.5
    let reactor = reactor();
    idle_turn(&reactor);
    assert!(!is_readable(&reactor));
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| ())).join().unwrap().unwrap();
    assert!(is_readable(&reactor));
    idle_turn(&reactor);
    assert!(!is_readable(&reactor));
}

#[test]
fn the_hook_is_called_only_for_an_earlier_deadline() {
    // R11.8
    let (reactor, told) = hooked();
    idle_turn(&reactor);
    let first = reactor.call_later(2 * HOUR, || ());
    assert_eq!(told(), 1);
    let second = reactor.call_later(3 * HOUR, || ());
    first.delay(HOUR / 2).unwrap();
    assert_eq!(told(), 0, "later ones");
    second.reset(HOUR).unwrap();
    assert_eq!(told(), 1);
    second.cancel().unwrap();
    assert_eq!(told(), 0);
}

struct Nothing;

impl EventHandler for Nothing {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

#[test]
fn the_hook_is_called_for_work_outside_a_turn() {
    // R11.8
    let (reactor, told) = hooked();
    let registration = reactor.attach(Rc::new(Nothing)).unwrap();
    idle_turn(&reactor);
    registration.wake(Ready::READABLE);
    assert_eq!(told(), 1, "a source");
    idle_turn(&reactor);
    reactor.remote().call_from_thread(|_| ()).unwrap();
    assert_eq!(told(), 1, "a call from this thread");
    idle_turn(&reactor);
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| ())).join().unwrap().unwrap();
    assert_eq!(told(), 1, "a call from another");
    idle_turn(&reactor);

    let (deferred, trigger) = Deferred::<()>::new();
    reactor.on_shutdown(Phase::Before, move || deferred);
    reactor.stop();
    assert_eq!(told(), 1, "a stop");
    idle_turn(&reactor);
    trigger.callback(());
    assert_eq!(told(), 1, "the end of the Deferred that the shutdown waits for");
    assert!(!reactor.turn(None).unwrap());
}

#[test]
fn the_hook_is_not_called_for_work_inside_a_turn() {
    // R11.8
    let (reactor, told) = hooked();
    let inside = |handle: &twistor_reactor::Handle| {
        handle.call_later(Duration::ZERO, || ());
        handle.remote().call_from_thread(|_| ()).unwrap();
        drop(handle.spawn(async {}));
        let registration = handle.attach(Rc::new(Nothing)).unwrap();
        registration.wake(Ready::READABLE);
        drop(registration);
    };
    let handle = reactor.handle();
    reactor.call_when_running(move || inside(&handle));
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || inside(&handle));
    let handle = reactor.handle();
    drop(reactor.spawn(async move { inside(&handle) }));
    let handle = reactor.handle();
    reactor.on_shutdown(Phase::After, move || inside(&handle));
    told();
    idle_turn(&reactor);
    idle_turn(&reactor);
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    assert_eq!(told(), 1);
    while reactor.turn(None).unwrap() {}
    assert_eq!(told(), 0);
}

#[test]
fn a_host_may_stop_the_reactor_and_start_it_again() {
    // R4, R11
    let reactor = reactor();
    for _ in 0..3 {
        let record = Record::new();
        reactor.on_shutdown(Phase::During, record.adder("stopped"));
        idle_turn(&reactor);
        reactor.stop();
        assert!(!reactor.turn(None).unwrap());
        assert_eq!(record.take(), ["stopped"]);
    }
}

#[test]
fn turns_end_when_nothing_is_left_to_do() {
    // R11
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        let (again, then) = (handle.clone(), seen.clone());
        handle
            .call_later(Duration::ZERO, move || drop(again.spawn(async move { then.add("three turns on") })));
    });
    assert!(reactor.turns(HOUR).unwrap());
    assert_eq!(record.take(), ["three turns on"]);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn turns_continue_after_a_turn_that_called_nothing() {
    // R11: the first turn only finds the entries of removed tasks, as many as one turn processes.
    let reactor = reactor();
    let record = Record::new();
    let gone: Vec<_> = (0..3000).map(|_| reactor.spawn(async {}).add_errback(|_| Ok(()))).collect();
    gone.iter().for_each(|task| task.cancel());
    let seen = record.clone();
    drop(reactor.spawn(async move { seen.add("behind them") }));
    assert!(reactor.turns(HOUR).unwrap());
    assert_eq!(record.take(), ["behind them"]);
}

#[test]
fn turns_end_when_their_budget_is_used_up() {
    // R11
    let reactor = reactor();
    fn again(handle: twistor_reactor::Handle) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || again(next));
    }
    again((*reactor).clone());
    assert!(reactor.turns(Duration::from_millis(1)).unwrap());
    let turns = reactor.stats().turns;
    assert!(reactor.turns(Duration::ZERO).unwrap());
    assert_eq!(reactor.stats().turns, turns + 1);
    reactor.stop();
    assert!(!reactor.turns(HOUR).unwrap());
}

#[test]
fn a_simulated_budget_is_counted_in_turns() {
    // R15.1
    let reactor = Reactor::simulated(0);
    fn again(handle: twistor_reactor::Handle) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || again(next));
    }
    again(reactor.handle());
    for budget in [1, 7, 1000] {
        let turns = reactor.stats().turns;
        assert!(reactor.turns(Duration::from_micros(budget)).unwrap());
        assert_eq!(reactor.stats().turns, turns + budget);
    }
}

#[test]
fn a_turn_waits_no_longer_than_its_limit() {
    // R11
    let reactor = reactor();
    reactor.call_later(HOUR, || ());
    for wait in [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(1)] {
        assert!(reactor.turn(Some(wait)).unwrap());
    }
    let simulated = Reactor::simulated(0);
    let start = simulated.now();
    simulated.call_later(HOUR, || ());
    simulated.turn(Some(Duration::ZERO)).unwrap();
    simulated.turn(Some(HOUR / 4)).unwrap();
    assert_eq!(simulated.now() - start, HOUR / 4);
}

/// A handler that does nothing but end a wait.
fn ping_pong(reactor: &Reactor) -> std::thread::JoinHandle<()> {
    let remote = reactor.remote();
    std::thread::spawn(move || {
        for _ in 0..10_000 {
            let (done, wait) = mpsc::channel();
            remote.call_from_thread(move |_| done.send(()).unwrap()).unwrap();
            wait.recv().unwrap();
        }
        remote.stop().unwrap();
    })
}

#[test]
fn a_host_on_the_descriptor_misses_no_remote_call() {
    // R11: edge-triggered, so a missed notification would never be repeated.
    let reactor = reactor();
    let mut host = Poll::new().unwrap();
    let fd = reactor.as_raw_fd();
    host.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    let thread = ping_pong(&reactor);
    let mut events = Events::with_capacity(8);
    while reactor.turn(Some(Duration::ZERO)).unwrap() {
        if reactor.next_deadline().is_none() {
            host.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
            assert!(!events.is_empty(), "the host was not notified");
        }
    }
    thread.join().unwrap();
}

#[test]
fn a_host_on_the_hook_misses_no_remote_call() {
    // R11
    let wanted = Arc::new((Mutex::new(false), Condvar::new()));
    let told = wanted.clone();
    let hook = move || {
        *told.0.lock().unwrap() = true;
        told.1.notify_one();
    };
    let reactor = Reactor::builder().host_hook(hook).build().unwrap();
    let thread = ping_pong(&reactor);
    while reactor.turn(Some(Duration::ZERO)).unwrap() {
        if reactor.next_deadline().is_none() {
            let (flag, limit) = (wanted.0.lock().unwrap(), Duration::from_secs(30));
            let (mut flag, _) = wanted.1.wait_timeout_while(flag, limit, |wanted| !*wanted).unwrap();
            assert!(std::mem::take(&mut *flag), "the host was not notified");
        }
    }
    thread.join().unwrap();
}

#[test]
fn a_source_with_more_shows_in_the_deadline() {
    // R11.6, R14
    let reactor = reactor();
    let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
    sender.write_all(b"xy").unwrap();
    let more = |receiver: &mut mio::unix::pipe::Receiver, _: Ready| {
        receiver.read_exact(&mut [0])?;
        Ok(Progress::More)
    };
    reactor.add_source(receiver, Interest::READABLE, more).unwrap();
    for _ in 0..2 {
        idle_turn(&reactor);
        assert!(!is_readable(&reactor));
        assert!(reactor.next_deadline().unwrap() <= reactor.now());
    }
    idle_turn(&reactor);
    assert_eq!(reactor.next_deadline(), None);
}

/// Raises the process's descriptor limit by this many over common system limits. Returns false if it may not.
fn many_descriptors(count: u64) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        limit.current = Some(count);
        return setrlimit(Resource::Nofile, limit).is_ok();
    }
    true
}

#[test]
fn a_host_learns_of_more_sources_than_one_wait_returns() {
    // R11: the host is notified once, edge-triggered. It takes a turn, and sleeps when the reactor has nothing more
    // to do.
    const SOURCES: usize = 1100;
    if !many_descriptors(4000) {
        return println!("not tested: too few descriptors");
    }
    let reactor = reactor();
    let mut host = Poll::new().unwrap();
    host.registry().register(&mut SourceFd(&reactor.as_raw_fd()), Token(0), Interest::READABLE).unwrap();
    idle_turn(&reactor);
    let called = Record::new();
    let mut senders = Vec::new();
    for _ in 0..SOURCES {
        let (sender, receiver) = UnixStream::pair().unwrap();
        let count = called.clone();
        drop(reactor.readable(receiver).add_callback(move |_| count.add(())));
        senders.push(sender);
    }
    senders.iter_mut().for_each(|sender| sender.write_all(b"x").unwrap());
    let mut events = Events::with_capacity(8);
    host.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
    idle_turn(&reactor);
    while reactor.next_deadline().is_some() {
        idle_turn(&reactor);
    }
    assert_eq!(called.len(), SOURCES);
}

/// Runs a reactor inside another, as a task that is woken by the descriptor, the deadline and the hook.
fn carry(outer: &Reactor) -> (Deferred<()>, Handle) {
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let hooks = waker.clone();
    let wake = move || {
        let waker = hooks.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
    };
    let inner = Reactor::builder().host_hook(wake.clone()).build().unwrap();
    let fd = inner.as_raw_fd();
    let watch = outer.register(&mut SourceFd(&fd), Interest::READABLE, Rc::new(Wakes(wake))).unwrap();
    let (handle, outer) = (inner.handle(), outer.handle());
    let sleep = Cell::new(None);
    let carrying = outer.clone().spawn(poll_fn(move |context| {
        *waker.lock().unwrap() = Some(context.waker().clone());
        if !inner.turn(Some(Duration::ZERO)).unwrap() {
            watch.deregister(&mut SourceFd(&fd)).unwrap();
            return Polled::Ready(Ok(()));
        }
        let deadline = inner.next_deadline();
        let mut until = deadline.map(|at| outer.sleep(at.saturating_duration_since(inner.now())));
        if let Some(until) = &mut until {
            assert!(Pin::new(until).poll(context).is_pending());
        }
        sleep.set(until);
        Polled::Pending
    }));
    (carrying, handle)
}

struct Wakes<F>(F);

impl<F: Fn()> EventHandler for Wakes<F> {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        (self.0)();
        Progress::Drained
    }
}

#[test]
fn a_reactor_can_be_embedded_in_another() {
    // R11.5
    let outer = reactor();
    let (carrying, inner) = carry(&outer);
    let record = Record::new();
    let (handle, seen) = (inner.clone(), record.clone());
    // Started by the host's code between two turns of the inner reactor, so only the hook reports it.
    outer.call_later(Duration::from_millis(1), move || {
        seen.add("host");
        let (next, work) = (handle.clone(), seen.clone());
        handle.call_later(Duration::from_millis(1), move || {
            work.add("timer");
            let (last, done) = (next.clone(), work.clone());
            drop(next.defer_to_thread(|| Ok(())).add_callback(move |()| {
                done.add("thread");
                last.stop();
            }));
        });
    });
    let hung = outer.call_later(Duration::from_secs(30), || panic!("the inner reactor hangs"));
    outer.run_until(carrying).unwrap();
    assert!(!hung.active());
    assert_eq!(record.take(), ["host", "timer", "thread"]);
    assert!(inner.next_deadline().is_none(), "it was dropped with the task");
}

#[test]
fn the_hook_is_not_called_for_work_of_the_startup() {
    // R11.8, R13
    let (reactor, told) = hooked();
    let handle = reactor.handle();
    reactor.call_when_running(move || {
        handle.remote().call_from_thread(|_| ()).unwrap();
        drop(handle.spawn(async {}));
    });
    idle_turn(&reactor);
    assert_eq!(told(), 0);
}
