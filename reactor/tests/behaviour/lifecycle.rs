//! R2, R3: startup and shutdown.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, fail, succeed};
use twistor_reactor::{
    EventHandler, Handle, NotRunning, Phase, Progress, Reactor, Ready, RunError, Stopped, defer_later,
};

use crate::support::{Record, keep_log, logged, reactor, run};

fn stop_when_running(reactor: &Reactor) {
    let handle: Handle = (*reactor).clone();
    reactor.call_when_running(move || handle.stop());
}

#[test]
fn startup_calls_run_when_the_loop_runs() {
    // R3.1
    let reactor = reactor();
    let record = Record::new();
    reactor.call_when_running(record.adder("first"));
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.call_when_running(move || {
        assert!(handle.is_running());
        handle.call_when_running(seen.adder("at once"));
        seen.add("then");
        handle.stop();
    });
    assert_eq!(record.len(), 0);
    run(&reactor);
    assert_eq!(record.take(), ["first", "at once", "then"]);
    run_again_calls_nothing(&reactor, &record);
}

fn run_again_calls_nothing(reactor: &Reactor, record: &Record<&'static str>) {
    stop_when_running(reactor);
    run(reactor);
    assert_eq!(record.len(), 0);
}

#[test]
fn phases_and_their_triggers_run_in_order() {
    // R2.4
    let reactor = reactor();
    let record = Record::new();
    let phases = [(Phase::After, "after"), (Phase::During, "during"), (Phase::Before, "before")];
    for round in ["1", "2"] {
        for (phase, name) in phases {
            reactor.on_shutdown(phase, record.adder(format!("stop: {name} {round}")));
            reactor.on_startup(phase, record.adder(format!("start: {name} {round}")));
        }
    }
    stop_when_running(&reactor);
    run(&reactor);
    let expected: Vec<String> = ["start", "stop"]
        .iter()
        .flat_map(|event| {
            ["before 1", "before 2", "during 1", "during 2", "after 1", "after 2"]
                .map(|rest| format!("{event}: {rest}"))
        })
        .collect();
    assert_eq!(record.take(), expected);
}

#[test]
fn the_shutdown_waits_for_the_deferreds_of_phase_before() {
    // R2.5
    let reactor = reactor();
    let record = Record::new();
    for (n, millis) in [(1, 2), (2, 1)] {
        let (handle, seen) = (reactor.handle(), record.clone());
        reactor.on_shutdown(Phase::Before, move || {
            let (deferred, trigger) = Deferred::new();
            handle.call_later(Duration::from_millis(millis), move || {
                seen.add(n);
                trigger.callback(());
            });
            deferred
        });
    }
    reactor.on_shutdown(Phase::During, record.adder(3));
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), [2, 1, 3]);
}

#[test]
fn the_start_waits_for_the_deferreds_of_phase_before() {
    // R3
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.on_startup(Phase::Before, move || {
        let (deferred, trigger) = Deferred::<()>::new();
        let later = handle.clone();
        handle.call_later(Duration::from_millis(1), move || {
            seen.add(later.is_running());
            trigger.callback(());
        });
        deferred
    });
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.call_when_running(move || {
        seen.add(handle.is_running());
        let later = handle.clone();
        handle.call_later(Duration::from_millis(1), move || {
            seen.add(later.is_running());
            later.stop();
        });
    });
    run(&reactor);
    assert_eq!(record.take(), [false, true, true]);
}

#[test]
fn the_start_comes_before_the_first_timers() {
    // R3
    let reactor = reactor();
    let record = Record::new();
    reactor.call_later(Duration::ZERO, record.adder("timer"));
    for phase in [Phase::Before, Phase::During] {
        reactor.on_startup(phase, record.adder("start"));
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(record.take(), ["start", "start", "timer"]);
}

#[test]
fn a_failing_trigger_is_logged_and_the_others_run() {
    // R2.6
    keep_log();
    let reactor = reactor();
    let record = Record::new();
    for phase in [Phase::Before, Phase::During, Phase::After] {
        reactor.on_shutdown(phase, || -> () { panic!("out of cheese") });
        reactor.on_shutdown(phase, || fail::<()>(Cancelled));
        reactor.on_shutdown(phase, record.adder(phase));
    }
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), [Phase::Before, Phase::During, Phase::After]);
    assert_eq!(logged().len(), 6);
}

#[test]
fn a_trigger_can_be_removed_until_it_has_run() {
    // R2
    let reactor = reactor();
    let record = Record::new();
    let first = reactor.on_shutdown(Phase::During, record.adder("first"));
    let taken_back = reactor.on_shutdown(Phase::During, record.adder("taken back"));
    reactor.on_shutdown(Phase::During, record.adder("last"));
    assert!(taken_back.remove());
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), ["first", "last"]);
    assert!(!first.remove());
}

#[test]
fn stop_acts_at_the_end_of_the_turn() {
    // R2.7
    let reactor = reactor();
    let record = Record::new();
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || handle.stop());
    reactor.call_later(Duration::ZERO, record.adder("same turn"));
    reactor.on_shutdown(Phase::Before, record.adder("shutdown"));
    run(&reactor);
    assert_eq!(record.take(), ["same turn", "shutdown"]);
}

#[test]
fn a_reactor_stopped_while_it_starts_shuts_down() {
    let reactor = reactor();
    let record = Record::new();
    let never: Rc<Cell<Option<_>>> = Rc::default();
    let (slot, handle) = (never.clone(), reactor.handle());
    reactor.on_startup(Phase::Before, move || {
        let (deferred, trigger) = Deferred::<()>::new();
        slot.set(Some(trigger));
        handle.stop();
        deferred
    });
    reactor.call_when_running(record.adder("never runs"));
    reactor.on_shutdown(Phase::During, record.adder("shutdown"));
    run(&reactor);
    assert_eq!(record.take(), ["shutdown"]);
}

#[test]
fn a_reactor_can_be_run_again() {
    // R4.7
    let reactor = reactor();
    for round in 0..3 {
        let record = Record::new();
        let handle = reactor.handle();
        reactor.on_shutdown(Phase::After, record.adder("shutdown"));
        reactor.call_later(Duration::from_millis(1), move || handle.stop());
        let text = reactor.defer_to_thread(move || Ok(round));
        let seen = record.clone();
        reactor.call_when_running(move || drop(text.add_callback(move |_| seen.add("thread"))));
        run(&reactor);
        let mut seen = record.take();
        seen.sort_unstable();
        assert!(seen.contains(&"shutdown"));
    }
}

#[test]
fn run_until_returns_the_result_after_the_shutdown() {
    let reactor = reactor();
    let record = Record::new();
    reactor.on_shutdown(Phase::Before, record.adder("shutdown"));
    let (deferred, trigger) = Deferred::new();
    reactor.call_later(Duration::from_millis(1), move || trigger.callback(42));
    assert_eq!(reactor.run_until(deferred).unwrap(), 42);
    assert_eq!(record.take(), ["shutdown"]);
    assert!(!reactor.is_running());
    let (deferred, trigger) = Deferred::<()>::new();
    reactor.call_later(Duration::from_millis(1), move || trigger.errback(Cancelled));
    let failure = reactor.run_until(deferred).unwrap_err();
    assert!(failure.is::<Cancelled>());
    assert_eq!(failure.to_string(), "cancelled");
    assert_eq!(reactor.run_until(succeed(1)).unwrap(), 1);
}

#[test]
fn run_until_cancels_its_deferred_when_stopped() {
    // R2.8
    let reactor = reactor();
    stop_when_running(&reactor);
    let (deferred, trigger) = Deferred::<()>::new();
    let failure = reactor.run_until(deferred).unwrap_err();
    assert!(failure.is::<Cancelled>());
    assert_eq!(failure.to_string(), "the reactor stopped first: cancelled");
    assert!(!trigger.is_live());
    assert_eq!(Stopped.to_string(), "the reactor was stopped before the Deferred fired");
}

#[test]
fn run_until_cancels_before_timers_are_dropped() {
    // R2.8
    let reactor = reactor();
    let (record, long) = (Record::new(), Duration::from_secs(3600));
    let timer: fn(&Handle, Duration) -> Deferred<()> = |handle, long| defer_later(handle, long, || ());
    let task: fn(&Handle, Duration) -> Deferred<()> = |handle, long| {
        let sleep = handle.sleep(long);
        handle.spawn(async move { drop(sleep.await) })
    };
    for begin in [timer, task] {
        reactor.on_shutdown(Phase::After, record.adder("after"));
        let cancelled = record.adder("cancelled");
        let deferred = begin(&reactor, long).add_both(move |result| {
            cancelled();
            result
        });
        stop_when_running(&reactor);
        assert!(reactor.run_until(deferred).unwrap_err().is::<Cancelled>());
        assert_eq!(record.take(), ["after", "cancelled"]);
    }
}

#[test]
fn run_until_inside_a_run_fails_and_the_run_continues() {
    // R2.9
    let reactor = Rc::new(reactor());
    let record = Record::new();
    let (inner, seen) = (Rc::downgrade(&reactor), record.clone());
    reactor.call_later(Duration::ZERO, move || {
        let reactor = inner.upgrade().unwrap();
        let (deferred, trigger) = Deferred::<()>::new();
        let failure = reactor.run_until(deferred).unwrap_err();
        seen.add(matches!(failure.downcast_ref(), Some(RunError::AlreadyRunning)) && !trigger.is_live());
        seen.add(reactor.run_until(succeed(true)).unwrap());
        let (handle, went_on) = (reactor.handle(), seen.adder(true));
        reactor.call_later(Duration::ZERO, move || {
            went_on();
            handle.stop();
        });
    });
    run(&reactor);
    assert_eq!(record.take(), [true, true, true]);
}

#[test]
fn call_when_running_calls_at_once_during_a_shutdown() {
    // R3.1
    let reactor = reactor();
    let record = Record::new();
    let (handle, seen) = (reactor.handle(), record.clone());
    reactor.on_shutdown(Phase::Before, move || {
        let (inner, at_once) = (handle.clone(), seen.clone());
        defer_later(&handle, Duration::from_millis(1), move || {
            inner.call_when_running(at_once.adder("at once"));
            at_once.add("then");
        })
    });
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), ["at once", "then"]);
}

#[test]
fn tasks_that_a_phase_wakes_run_before_the_next_phase() {
    // R2.1
    let reactor = reactor();
    let record = Record::new();
    for (phase, name) in [(Phase::Before, "before"), (Phase::During, "during"), (Phase::After, "after")] {
        let (first, goodbye) = Deferred::new();
        let (second, farewell) = Deferred::new();
        let (seen, also_seen) = (record.clone(), record.clone());
        drop(reactor.spawn(async move {
            first.await?;
            seen.add(format!("goodbye {name}"));
            farewell.callback(());
            Ok(())
        }));
        drop(reactor.spawn(async move {
            second.await?;
            also_seen.add(format!("farewell {name}"));
            Ok(())
        }));
        let seen = record.clone();
        reactor.on_shutdown(phase, move || {
            seen.add(name.to_owned());
            goodbye.callback(());
        });
    }
    stop_when_running(&reactor);
    run(&reactor);
    let expected = ["before", "during", "after"]
        .map(|phase| [phase.to_owned(), format!("goodbye {phase}"), format!("farewell {phase}")])
        .concat();
    assert_eq!(record.take(), expected);
}

#[test]
fn a_task_that_always_wakes_itself_does_not_stop_the_end() {
    // R2.2
    let reactor = reactor();
    let record = Record::new();
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    drop(reactor.spawn(std::future::poll_fn(move |context| {
        counted.set(counted.get() + 1);
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    })));
    reactor.on_shutdown(Phase::After, record.adder("after"));
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), ["after"]);
    assert!((300..400).contains(&polls.get()), "{}", polls.get());
}

#[test]
fn stop_before_run_is_logged_with_its_place() {
    // R2.3
    keep_log();
    let reactor = reactor();
    reactor.stop();
    let line = line!() - 1;
    let lines = logged();
    assert!(lines.len() == 1 && lines[0].contains(&format!("lifecycle.rs:{line}")), "{lines:?}");
    assert_eq!(reactor.try_stop(), Err(NotRunning));
    assert_eq!(logged(), [""; 0]);
    // A stop by a callback of an abandoned Deferred, at the end of a run or of a reactor, causes no warning.
    for round in 0..2 {
        let (handle, abandoned) = (reactor.handle(), Record::new());
        let seen = abandoned.clone();
        drop(defer_later(&reactor, Duration::from_secs(3600), || ()).add_both(move |_| {
            seen.add(());
            handle.stop();
        }));
        if round == 0 {
            stop_when_running(&reactor);
            run(&reactor);
            assert_eq!(abandoned.len(), 1);
        }
    }
    let handle = reactor.handle();
    drop(reactor);
    handle.stop();
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_run_that_fails_is_over_and_the_next_starts_anew() {
    // R4.10, R15
    let reactor = Reactor::simulated(0);
    let record = Record::new();
    reactor.on_shutdown(Phase::After, record.adder("shutdown"));
    let attached = reactor.attach(Rc::new(Idle)).unwrap();
    assert!(matches!(reactor.run(), Err(RunError::Wait(_))));
    assert!(!reactor.is_running() && !attached.is_active());
    assert_eq!(reactor.try_stop(), Err(NotRunning));
    assert_eq!(record.len(), 0);
    stop_when_running(&reactor);
    run(&reactor);
    assert_eq!(record.take(), ["shutdown"]);
}

struct Idle;

impl EventHandler for Idle {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}
