//! R13: turns, and panics in callbacks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twistor_reactor::{
    CallSite, EventHandler, Handle, NotRunning, Phase, Progress, Reactor, Ready, RunError, Slow,
};

use crate::support::{Record, keep_log, logged, reactor, run};

#[test]
fn a_panic_in_a_call_is_logged_and_ends_nothing_else() {
    // R13.5
    keep_log();
    let reactor = reactor();
    let record = Record::new();
    let line = line!() + 1;
    reactor.call_later(Duration::ZERO, || panic!("out of cheese"));
    reactor.call_later(Duration::ZERO, record.adder("went on"));
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), ["went on"]);
    let lines = logged();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("out of cheese") && lines[0].contains(&format!("turns.rs:{line}")),
        "{lines:?}"
    );
}

#[test]
fn a_run_or_turn_inside_a_turn_is_an_error() {
    // R11.7
    let reactor = Rc::new(reactor());
    let (record, called) = (Record::new(), Rc::new(Cell::new(false)));
    let source = reactor.attach(Rc::new(Notes(called.clone()))).unwrap();
    let (inner, results) = (Rc::downgrade(&reactor), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        let reactor = inner.upgrade().unwrap();
        source.wake(Ready::READABLE);
        results.add(matches!(reactor.run(), Err(RunError::AlreadyRunning)));
        results.add(matches!(reactor.turn(None), Err(RunError::AlreadyRunning)));
        results.add(!called.get());
        reactor.call_later(Duration::ZERO, move || {
            results.add(called.get());
            drop(source);
            inner.upgrade().unwrap().stop();
        });
    });
    run(&reactor);
    assert_eq!(record.take(), [true; 4]);
}

/// A handler that remembers that it was called.
struct Notes(Rc<Cell<bool>>);

impl EventHandler for Notes {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        self.0.set(true);
        Progress::Drained
    }
}

#[test]
fn a_turn_runs_its_steps_in_order_and_each_from_a_snapshot() {
    // R13.2, R13.3
    type Events = Arc<Mutex<Vec<&'static str>>>;
    struct Source(Events);
    impl EventHandler for Source {
        fn ready(self: Rc<Self>, _: Ready) -> Progress {
            self.0.lock().unwrap().push("source");
            Progress::Drained
        }
    }
    let (reactor, events) = (Reactor::simulated(0), Events::default());
    let source = reactor.attach(Rc::new(Source(events.clone()))).unwrap();
    // Notes a step, and adds work for each of the first three.
    let (seen, handle) = (events.clone(), reactor.handle());
    let step = Rc::new(move |name: &'static str| {
        seen.lock().unwrap().push(name);
        source.wake(Ready::READABLE);
        let (call, timer) = (seen.clone(), seen.clone());
        handle.remote().call_from_thread(move |_| call.lock().unwrap().push("call")).unwrap();
        handle.call_later(Duration::ZERO, move || timer.lock().unwrap().push("timer"));
    });
    step("set up");
    let (timer, handle) = (step.clone(), reactor.handle());
    reactor.call_later(Duration::ZERO, move || {
        let task = timer.clone();
        handle.spawn(async move { task("task") }).detach();
        handle.stop();
        timer("another timer");
    });
    reactor.on_shutdown(Phase::Before, move || step("phase"));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let expected = ["set up", "source", "call", "timer", "another timer", "task", "phase"];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[test]
fn stopping_twice_or_without_a_run_is_an_error() {
    let reactor = reactor();
    assert_eq!(reactor.try_stop(), Err(NotRunning));
    let (record, handle) = (Record::new(), reactor.handle());
    let results = record.clone();
    reactor.call_when_running(move || {
        results.add(handle.try_stop());
        results.add(handle.try_stop());
    });
    run(&reactor);
    assert_eq!(record.take(), [Ok(()), Err(NotRunning)]);
    assert_eq!(reactor.try_stop(), Err(NotRunning));
}

#[test]
fn a_call_that_keeps_rescheduling_starves_nothing() {
    // R13
    let reactor = reactor();
    fn again(handle: twistor_reactor::Handle) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || again(next));
    }
    again((*reactor).clone());
    let remote = reactor.remote();
    let handle = reactor.handle();
    reactor.call_later(Duration::from_millis(1), move || {
        remote.call_from_thread(|handle| handle.stop()).unwrap();
        assert!(handle.is_running());
    });
    run(&reactor);
}

#[test]
fn two_reactors_on_two_threads_talk_through_their_remotes() {
    let here = reactor();
    let back = here.remote();
    let there = std::thread::spawn(move || {
        let there = reactor();
        let remote = there.remote();
        back.call_from_thread(move |here| {
            let stop_here = here.remote();
            remote
                .call_from_thread(move |there| {
                    there.stop();
                    stop_here.stop().unwrap();
                })
                .unwrap();
        })
        .unwrap();
        run(&there);
    });
    run(&here);
    there.join().unwrap();
}

#[test]
fn fifty_reactors_run_side_by_side() {
    let threads: Vec<_> = (0..50)
        .map(|n| {
            std::thread::spawn(move || {
                let reactor = reactor();
                let deferred = reactor.defer_to_thread(move || Ok(n));
                let (handle, record) = (reactor.handle(), Record::new());
                let result = record.clone();
                drop(deferred.add_callback(move |n| {
                    result.add(n);
                    handle.stop();
                }));
                run(&reactor);
                assert_eq!(record.take(), [n]);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_simulation_that_is_stuck_ends_with_an_error() {
    // R15.4
    let reactor = Reactor::simulated(7);
    assert!(
        matches!(reactor.run(), Err(RunError::Wait(error)) if error.kind() == std::io::ErrorKind::Deadlock)
    );
}

#[test]
fn a_slow_callback_is_logged_with_its_place() {
    keep_log();
    let reactor = Reactor::builder().slow_callback(Duration::ZERO).build().unwrap();
    let line = line!() + 1;
    reactor.call_later(Duration::ZERO, || ());
    reactor.turn(Some(Duration::from_millis(1))).unwrap();
    assert!(logged()[0].contains(&format!("turns.rs:{line}")));
    let stats = reactor.stats();
    assert_eq!((stats.turns, stats.timers, stats.slow_callbacks), (1, 1, 1));
    assert!(matches!(stats.longest, Some((_, CallSite::AddedAt(place))) if place.line() == line));
}

#[test]
fn each_poll_of_a_task_is_counted() {
    // R9
    let reactor = reactor();
    let mut left = 3;
    let task = reactor.spawn(std::future::poll_fn(move |context: &mut std::task::Context<'_>| {
        left -= 1;
        context.waker().wake_by_ref();
        if left == 0 { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
    }));
    let cancelled = reactor.spawn(async {}).add_errback(|_| Ok(()));
    cancelled.cancel();
    assert_eq!(reactor.stats().polls, 0);
    reactor.run_until(task).unwrap();
    assert_eq!(reactor.stats().polls, 3);
}

struct Dawdler;

impl EventHandler for Dawdler {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

#[test]
fn a_slow_handler_is_logged_with_its_type() {
    keep_log();
    let reactor = Reactor::builder().slow_callback(Duration::ZERO).build().unwrap();
    let registration = reactor.attach(Rc::new(Dawdler)).unwrap();
    registration.wake(Ready::READABLE);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let name = std::any::type_name::<Dawdler>();
    assert!(logged()[0].starts_with(&format!("the handler {name} held the loop for ")));
    assert!(matches!(reactor.stats().longest, Some((_, CallSite::Handler(longest))) if longest == name));
}

#[test]
fn simulated_work_runs_at_times_drawn_from_the_seed() {
    // R15.3
    let order = |seed| {
        let (reactor, record) = (Reactor::simulated(seed), Record::new());
        let here = std::thread::current().id();
        for n in 0..20 {
            let (seen, handle) = (record.clone(), reactor.handle());
            let work = reactor.defer_to_thread(move || Ok(std::thread::current().id() == here));
            drop(work.add_callback(move |same_thread| {
                assert!(same_thread);
                seen.add(n);
                if seen.len() == 20 {
                    handle.stop();
                }
            }));
        }
        run(&reactor);
        record.take()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

/// A handler that records how many calls had run when it was called.
struct Witness {
    ran: Rc<Cell<usize>>,
    saw: Rc<Cell<Option<usize>>>,
}

impl EventHandler for Witness {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        self.saw.set(Some(self.ran.get()));
        Progress::Drained
    }
}

#[test]
fn sources_get_their_share_among_thousands_of_calls() {
    // R13: of timers, of calls from threads, and of tasks.
    const MANY: usize = 10_000;
    let timer: fn(&Handle, Rc<Cell<usize>>) = |handle, ran| {
        handle.call_later(Duration::ZERO, move || ran.set(ran.get() + 1));
    };
    thread_local!(static CALLED: Rc<Cell<usize>> = Rc::default());
    // It is `Send`, so it must not hold anything of this thread.
    let remote: fn(&Handle, Rc<Cell<usize>>) = |handle, _| {
        let count = |_: &Handle| CALLED.with(|called| called.set(called.get() + 1));
        handle.remote().call_from_thread(count).unwrap();
    };
    let task: fn(&Handle, Rc<Cell<usize>>) = |handle, ran| {
        drop(handle.spawn(async move { ran.set(ran.get() + 1) }));
    };
    for add in [timer, remote, task] {
        let reactor = reactor();
        let ran = CALLED.with(Rc::clone);
        ran.set(0);
        (0..MANY).for_each(|_| add(&reactor, ran.clone()));
        let saw = Rc::new(Cell::new(None));
        let witness = reactor.attach(Rc::new(Witness { ran: ran.clone(), saw: saw.clone() })).unwrap();
        while ran.get() == 0 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        witness.wake(Ready::READABLE);
        while saw.get().is_none() || ran.get() < MANY {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(saw.get().unwrap() <= MANY / 2, "called after {:?}", saw.get());
    }
}

#[test]
fn a_panic_in_a_call_from_a_thread_ends_only_that_call() {
    // R13.5
    keep_log();
    let reactor = reactor();
    let line = line!() + 1;
    reactor.remote().call_from_thread(|_| panic!("out of cheese")).unwrap();
    reactor.remote().stop().unwrap();
    run(&reactor);
    let lines = logged();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(&format!("turns.rs:{line}")), "{lines:?}");
}

#[test]
fn stats_report_the_longest_callback() {
    let reactor = Reactor::builder().slow_callback(Duration::MAX).build().unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        reactor.call_later(Duration::ZERO, || ());
        reactor.turn(None).unwrap();
        let now = reactor.stats().longest.unwrap().0;
        assert!(now >= longest);
        longest = now;
    }
    assert_eq!(reactor.stats().slow_callbacks, 0);
}

#[test]
fn slow_callbacks_and_turns_are_reported_instead_of_logged() {
    // R19.2
    keep_log();
    let seen = Record::new();
    let reports = seen.clone();
    let reactor = Reactor::builder()
        .slow_callback(Duration::ZERO)
        .slow_turn(Duration::ZERO)
        .on_slow(move |slow| reports.add(*slow))
        .build()
        .unwrap();
    let line = line!() + 1;
    reactor.call_later(Duration::ZERO, || ());
    reactor.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(logged(), Vec::<String>::new());
    let reports = seen.take();
    let [Slow::Callback { call_site: CallSite::AddedAt(place), took }, .., turn] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(place.line(), line);
    // The turn is at least as long as its callbacks.
    assert!(matches!(turn, Slow::Turn { number: 1, callbacks: 1, took: turn } if turn >= took), "{turn:?}");
}

#[test]
fn fast_callbacks_and_turns_are_not_reported() {
    // R19.2
    let limit = Duration::from_secs(3600);
    let builder = Reactor::builder().slow_callback(limit).slow_turn(limit);
    let reactor = builder.on_slow(|slow| panic!("{slow}")).build().unwrap();
    reactor.call_later(Duration::ZERO, || ());
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_slow_turn_is_logged_without_a_callback_for_it() {
    // R19.2
    keep_log();
    let reactor = Reactor::builder().slow_turn(Duration::ZERO).build().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let lines = logged();
    assert!(lines[0].starts_with("turn 1 took ") && lines[0].ends_with(" for 0 callbacks"), "{lines:?}");
}

#[test]
fn a_hook_runs_before_each_wait_and_may_add_work() {
    // R13.6
    keep_log();
    let (slot, ran) = (Rc::new(RefCell::new(None::<Handle>)), Record::new());
    let (handle, seen) = (slot.clone(), ran.clone());
    let hook = move || {
        let Some(handle) = &*handle.borrow() else { return };
        let seen = seen.clone();
        // A wait of an hour finds it.
        handle.call_later(Duration::ZERO, move || seen.add(()));
    };
    let reactor = Reactor::builder().before_wait(hook).build().unwrap();
    slot.replace(Some(reactor.handle()));
    for turns in 1..=3 {
        reactor.turn(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(ran.len(), turns);
    }
    let reactor = Reactor::builder().before_wait(|| panic!("out of cheese")).build().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(logged(), ["the `before_wait` hook panicked: out of cheese"]);
}
