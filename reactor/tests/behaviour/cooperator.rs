//! T5: cooperative tasks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Abandoned, Cancelled, Canceller, Deferred, Failure, Trigger, fail, succeed};
use twistor_reactor::{
    AddTimeout, CooperativeTask, Cooperator, ManualClock, Reactor, SchedulerStopped, SharedIterator,
    TaskError, TaskStopped, TimedOut, defer_later,
};

use crate::support::{Drops, Record, keep_log, logged, reactor, run};

const TICK: Duration = Duration::from_millis(1);

fn noting(
    record: &Record<(&'static str, u32)>,
    name: &'static str,
    steps: u32,
) -> impl Iterator<Item = ()> + use<> {
    let record = record.clone();
    (1..=steps).map(move |n| record.add((name, n)))
}

fn ended(deferred: Deferred<()>) -> Record<String> {
    let record = Record::new();
    let seen = record.clone();
    drop(deferred.add_both(move |result| {
        seen.add(result.map_or_else(|failure| failure.to_string(), |()| "done".to_owned()));
    }));
    record
}

/// An endless iterator that waits at each step for a trigger.
fn waiting(triggers: &Rc<RefCell<Vec<Trigger<()>>>>) -> impl Iterator<Item = Deferred<()>> + use<> {
    let triggers = triggers.clone();
    std::iter::repeat_with(move || {
        let (deferred, trigger) = Deferred::new();
        triggers.borrow_mut().push(trigger);
        deferred
    })
}

#[test]
fn tasks_run_round_robin_one_step_each() {
    // T5.5
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::new(&clock);
    let a = ended(cooperator.coiterate(noting(&record, "a", 3)));
    let b = ended(cooperator.coiterate(noting(&record, "b", 2)));
    assert_eq!(record.len(), 0, "the first step runs later");
    clock.advance(TICK);
    assert_eq!(record.take(), [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]);
    assert_eq!((a.take(), b.take()), (vec!["done".to_owned()], vec!["done".to_owned()]));
    assert_eq!(clock.pending(), 0, "no task, no timer");
}

#[test]
fn a_slice_is_bounded_and_later_turns_do_the_rest() {
    // T5.5
    let reactor = Reactor::simulated(0);
    let (steps, turns) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let cooperator = Cooperator::with_slice(&reactor, Duration::from_secs(1), 100);
    let count = steps.clone();
    let done = cooperator.coiterate((0..1000).map(move |_| count.set(count.get() + 1)));
    fn every_turn(handle: twistor_reactor::Handle, turns: Rc<Cell<u32>>) {
        turns.set(turns.get() + 1);
        handle.clone().call_later(Duration::ZERO, move || every_turn(handle, turns));
    }
    every_turn((*reactor).clone(), turns.clone());
    reactor.run_until(done).unwrap();
    assert_eq!(steps.get(), 1000);
    assert!((10..=12).contains(&turns.get()), "{turns:?}");
}

#[test]
fn an_endless_iterator_does_not_block_the_loop() {
    let reactor = reactor();
    let cooperator = Cooperator::with_slice(&reactor, TICK, usize::MAX);
    let task = cooperator.cooperate(std::iter::repeat_with(|| ()));
    let handle = reactor.handle();
    reactor.call_later(3 * TICK, move || {
        task.stop().unwrap();
        handle.stop();
    });
    run(&reactor);
}

#[test]
fn a_deferred_pauses_only_its_own_task() {
    // T5.6
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::new(&clock);
    let triggers = Rc::default();
    let waits = ended(cooperator.coiterate(waiting(&triggers).take(2)));
    let runs = ended(cooperator.coiterate(noting(&record, "b", 5)));
    clock.advance(TICK);
    assert_eq!((record.len(), runs.len(), triggers.borrow().len(), clock.pending()), (5, 1, 1, 0));
    let trigger = triggers.borrow_mut().pop().unwrap();
    trigger.callback(());
    assert_eq!(clock.pending(), 1);
    clock.advance(TICK);
    let trigger = triggers.borrow_mut().pop().unwrap();
    trigger.callback(());
    clock.advance(TICK);
    assert_eq!((waits.take(), clock.pending()), (vec!["done".to_owned()], 0));
}

#[test]
fn a_failure_ends_its_task_and_reaches_every_waiter() {
    // T5.9
    keep_log();
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate([succeed(()), fail(Cancelled), succeed(())]);
    let record = Record::new();
    for _ in 0..3 {
        let seen = record.clone();
        drop(
            task.when_done()
                .add_errback(move |failure: Failure| seen.add(failure.check::<Cancelled>().is_some())),
        );
    }
    let panics = ended(cooperator.coiterate((0..3).map(|n| assert!(n < 1, "out of cheese"))));
    let errs = ended(cooperator.coiterate(["1", "x"].map(|text| Ok(text.parse::<u32>()?))));
    clock.advance(TICK);
    assert_eq!(record.take(), [true; 3]);
    assert!(panics.take()[0].contains("out of cheese") && errs.take()[0].contains("invalid digit"));
    assert_eq!(task.stop(), Err(TaskError::Finished));
    assert_eq!((logged(), clock.pending()), (vec![], 0));
    let unwatched = cooperator.cooperate([fail::<()>(Cancelled)]);
    clock.advance(TICK);
    drop(unwatched);
    assert_eq!(logged().len(), 1);
}

#[test]
fn pauses_are_counted() {
    // T5.7
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::with_slice(&clock, TICK, 1);
    let task = cooperator.cooperate(noting(&record, "a", 2));
    task.pause().unwrap();
    task.pause().unwrap();
    assert_eq!(clock.pending(), 0, "no task to step, no timer");
    task.resume().unwrap();
    clock.advance(TICK);
    assert_eq!(record.len(), 0);
    task.resume().unwrap();
    assert_eq!(task.resume(), Err(TaskError::NotPaused));
    clock.advance(TICK);
    assert_eq!(record.len(), 2);
    assert_eq!([task.pause(), task.resume(), task.stop()], [Err(TaskError::Finished); 3]);
}

#[test]
fn pausing_while_a_step_waits_adds_up() {
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let triggers = Rc::default();
    let task = cooperator.cooperate(waiting(&triggers));
    clock.advance(TICK);
    task.pause().unwrap();
    let trigger = triggers.borrow_mut().pop().unwrap();
    trigger.callback(());
    clock.advance(TICK);
    assert_eq!(triggers.borrow().len(), 0);
    task.resume().unwrap();
    assert_eq!(task.resume(), Err(TaskError::NotPaused), "waiting for a step does not count as a pause");
    clock.advance(TICK);
    assert_eq!(triggers.borrow().len(), 1);
    task.stop().unwrap();
}

#[test]
fn a_resumed_task_still_waits_for_its_steps_deferred() {
    // T5.6
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let triggers = Rc::default();
    let own: Rc<RefCell<Option<CooperativeTask>>> = Rc::default();
    let (slot, mut steps, unfired) = (own.clone(), waiting(&triggers), triggers.clone());
    let task = cooperator.cooperate(std::iter::from_fn(move || {
        assert!(unfired.borrow().is_empty(), "a step too early");
        // Also from inside its own step.
        let task = slot.borrow().clone().unwrap();
        task.pause().unwrap();
        task.resume().unwrap();
        steps.next()
    }));
    own.replace(Some(task.clone()));
    for _ in 0..3 {
        clock.advance(TICK);
        task.pause().unwrap();
        task.resume().unwrap();
        clock.advance(TICK);
        assert_eq!((triggers.borrow().len(), clock.pending()), (1, 0));
        let trigger = triggers.borrow_mut().pop().unwrap();
        trigger.callback(());
    }
    own.take();
    task.stop().unwrap();
}

#[test]
fn pausing_one_task_does_not_delay_others() {
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::new(&clock);
    let paused = cooperator.cooperate(noting(&record, "a", 1));
    let goes_on = ended(cooperator.coiterate(noting(&record, "b", 1)));
    paused.pause().unwrap();
    clock.advance(TICK);
    assert_eq!((record.take(), goes_on.take()), (vec![("b", 1)], vec!["done".to_owned()]));
    paused.resume().unwrap();
    clock.advance(TICK);
    assert_eq!(record.take(), [("a", 1)]);
}

#[test]
fn only_the_first_end_of_a_task_counts() {
    // T5.8
    keep_log();
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let triggers = Rc::default();
    let stop_while_it_waits = || {
        let task = cooperator.cooperate(waiting(&triggers));
        clock.advance(TICK);
        task.stop().unwrap();
        let trigger = triggers.borrow_mut().pop().unwrap();
        (task, trigger)
    };
    let (task, trigger) = stop_while_it_waits();
    trigger.callback(());
    assert_eq!((clock.pending(), ended(task.when_done()).take()), (0, vec![TaskStopped.to_string()]));
    assert_eq!(logged(), [""; 0]);
    let (task, trigger) = stop_while_it_waits();
    trigger.errback(Cancelled);
    assert_eq!(ended(task.when_done()).take(), [TaskStopped.to_string()]);
    assert_eq!(logged().len(), 1, "no waiter receives the failure");

    let own: Rc<RefCell<Option<CooperativeTask>>> = Rc::default();
    let slot = own.clone();
    let task = cooperator.cooperate(std::iter::from_fn(move || -> Option<()> {
        slot.take().unwrap().stop().unwrap();
        None
    }));
    own.replace(Some(task.clone()));
    clock.advance(TICK);
    assert_eq!(ended(task.when_done()).take(), [TaskStopped.to_string()]);
}

#[test]
fn an_iterator_is_dropped_before_its_tasks_end_is_reported() {
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let drops = Drops::default();
    let own: Rc<RefCell<Option<CooperativeTask>>> = Rc::default();
    for stops_itself in [true, false] {
        let before = drops.count();
        let (token, slot) = (drops.token(), own.clone());
        let task = cooperator.cooperate(std::iter::repeat_with(move || {
            let _alive = &token;
            if stops_itself {
                slot.borrow().as_ref().unwrap().stop().unwrap();
            }
        }));
        own.replace(Some(task.clone()));
        let (told, dropped) = (Record::new(), drops.clone());
        let seen = told.clone();
        drop(task.when_done().add_both(move |_| seen.add(dropped.count())));
        if stops_itself {
            clock.advance(TICK);
            // It was in a step when it was stopped, and was dropped when the step ended.
            assert_eq!((told.take(), drops.count()), (vec![before], before + 1));
        } else {
            task.stop().unwrap();
            assert_eq!(told.take(), [before + 1]);
        }
    }
    own.take();
}

#[test]
fn a_slice_uses_one_timer_for_any_number_of_steps() {
    // T5.11
    let reactor = Reactor::simulated(0);
    let cooperator = Cooperator::with_slice(&reactor, Duration::from_secs(1), 1000);
    let done = Record::new();
    for _ in 0..3 {
        drop(cooperator.coiterate(std::iter::repeat_n((), 50)).add_callback({
            let seen = done.clone();
            move |()| seen.add(())
        }));
    }
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!((done.len(), reactor.stats().timers), (3, 1));
}

#[test]
fn a_stopped_task_reports_it_to_present_and_later_waiters() {
    // T5.9
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate([(); 5]);
    let before = ended(task.when_done());
    task.stop().unwrap();
    let after = ended(task.when_done());
    assert_eq!([before.take(), after.take()], [[TaskStopped.to_string()], [TaskStopped.to_string()]]);
    assert_eq!(clock.pending(), 0);
}

#[test]
fn a_step_may_stop_pause_and_add_tasks() {
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::new(&clock);
    let own: Rc<RefCell<Option<CooperativeTask>>> = Rc::default();
    let (slot, others, seen) = (own.clone(), cooperator.clone(), record.clone());
    let task = cooperator.cooperate((1..).map(move |n| {
        seen.add(("a", n));
        let task = slot.borrow().clone().unwrap();
        match n {
            1 => drop(others.coiterate(noting(&seen, "b", 1))),
            2 => {
                task.pause().unwrap();
                task.resume().unwrap();
            }
            _ => task.stop().unwrap(),
        }
    }));
    let end = ended(task.when_done());
    own.replace(Some(task));
    clock.advance(TICK);
    assert_eq!(record.take(), [("a", 1), ("b", 1), ("a", 2), ("a", 3)]);
    assert_eq!((end.take(), clock.pending()), (vec![TaskStopped.to_string()], 0));
    own.take();
}

#[test]
fn stopping_the_cooperator_fails_all_tasks_and_new_ones() {
    // T5.10
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let running = ended(cooperator.coiterate(std::iter::repeat(())));
    let task = cooperator.cooperate(std::iter::repeat(()));
    task.pause().unwrap();
    let paused = ended(task.when_done());
    assert!(cooperator.is_running());
    cooperator.stop();
    let refused = ended(cooperator.coiterate([()]));
    for end in [running, paused, refused] {
        assert_eq!(end.take(), [SchedulerStopped.to_string()]);
    }
    assert!(!cooperator.is_running() && clock.pending() == 0);
}

#[test]
fn workers_that_share_an_iterator_limit_concurrency() {
    let reactor = Reactor::simulated(0);
    let (now, most, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (handle, counts) = ((*reactor).clone(), (now.clone(), most.clone(), done.clone()));
    let work = SharedIterator::new((0..100).map(move |_| {
        let (now, most, done) = counts.clone();
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        defer_later(&handle, TICK, move || {
            now.set(now.get() - 1);
            done.set(done.get() + 1);
        })
    }));
    let cooperator = Cooperator::new(&reactor);
    let workers: Vec<_> = (0..7).map(|_| cooperator.coiterate(work.clone())).collect();
    reactor.run_until(twistor_deferred::gather_results(workers)).unwrap();
    assert_eq!((now.get(), most.get(), done.get()), (0, 7, 100));
}

#[test]
fn a_task_ends_with_its_run_but_its_cooperator_does_not() {
    // T5.3
    let reactor = reactor();
    let cooperator = Cooperator::new(&reactor);
    for _ in 0..2 {
        let handle = reactor.handle();
        let task = cooperator.cooperate(std::iter::repeat_with(move || handle.stop()));
        let paused = cooperator.cooperate(std::iter::repeat(()));
        paused.pause().unwrap();
        run(&reactor);
        let ended = Record::new();
        let seen = ended.clone();
        drop(task.when_done().add_errback(move |failure| {
            seen.add(failure.is::<Abandoned>());
            Ok(())
        }));
        assert_eq!(ended.take(), [true]);
        assert_eq!(paused.stop(), Ok(()));
    }
}

#[test]
fn pausing_and_stopping_do_not_walk_through_all_tasks() {
    // T5.1: if each walked through the line, this would take hours.
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let tasks: Vec<_> = (0..100_000).map(|_| cooperator.cooperate(std::iter::repeat(()))).collect();
    for task in tasks.iter().rev() {
        task.pause().unwrap();
    }
    assert_eq!(clock.pending(), 0);
    for task in tasks.iter().rev() {
        task.resume().unwrap();
    }
    for task in tasks.iter().rev() {
        task.stop().unwrap();
    }
    assert_eq!(clock.pending(), 0);
}

#[test]
fn a_resumed_task_goes_to_the_end_of_the_line() {
    // T5.1
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::with_slice(&clock, TICK, 3);
    let tasks: Vec<_> =
        ["a", "b", "c"].map(|name| cooperator.cooperate(noting(&record, name, 9))).into_iter().collect();
    tasks[0].pause().unwrap();
    tasks[0].resume().unwrap();
    clock.advance(Duration::ZERO);
    assert_eq!(record.take(), [("b", 1), ("c", 1), ("a", 1)]);
    tasks[1].pause().unwrap();
    tasks[1].resume().unwrap();
    clock.advance(Duration::ZERO);
    assert_eq!(record.take(), [("c", 2), ("a", 2), ("b", 2)]);
}

#[test]
fn cancelling_coiterate_stops_its_task() {
    // T5.2
    let (clock, record) = (ManualClock::new(), Record::new());
    let cooperator = Cooperator::with_slice(&clock, TICK, 1);
    let (drops, steps) = (Drops::default(), record.clone());
    let token = drops.token();
    let endless = cooperator.coiterate(std::iter::repeat_with(move || {
        let _ = &token;
        steps.add("step");
    }));
    let limited = endless.add_timeout(TICK, &clock);
    clock.advance(Duration::ZERO);
    assert_eq!((record.take(), drops.count()), (vec!["step"], 0));
    clock.advance(TICK);
    record.take();
    let Ok(Err(failure)) = limited.try_result() else { panic!("it has not failed") };
    assert!(failure.is::<TimedOut>() && drops.count() == 1);
    clock.advance(TICK);
    assert_eq!((record.len(), clock.pending()), (0, 0));
}

#[test]
fn cancelling_coiterate_cancels_its_tasks_deferred() {
    // T5.2
    keep_log();
    let clock = ManualClock::new();
    let cooperator = Cooperator::new(&clock);
    let steps = |limit| {
        let inner = clock.clone();
        std::iter::repeat_with(move || defer_later(&inner, limit, || ()))
    };
    let waits = cooperator.coiterate(steps(TICK));
    clock.advance(Duration::ZERO);
    assert_eq!(clock.pending(), 1);
    waits.cancel();
    assert_eq!(ended(waits).take(), ["cancelled"]);
    assert_eq!((clock.pending(), logged().len()), (0, 0));

    // From inside a step, before the cooperator has seen the Deferred.
    let canceller = Rc::new(RefCell::new(None::<Canceller>));
    let (slot, inner) = (canceller.clone(), clock.clone());
    let waits = cooperator.coiterate(std::iter::repeat_with(move || {
        slot.borrow().as_ref().unwrap().cancel();
        defer_later(&inner, TICK, || ())
    }));
    canceller.replace(Some(waits.canceller()));
    clock.advance(Duration::ZERO);
    assert_eq!(ended(waits).take(), ["cancelled"]);
    assert_eq!((clock.pending(), logged().len()), (0, 0));
}

#[test]
fn a_cancelled_waiter_leaves_its_cooperative_task() {
    // T5.4
    let clock = ManualClock::new();
    let task = Cooperator::new(&clock).cooperate([()]);
    let memory = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            let waiter = task.when_done();
            waiter.cancel();
            drop(waiter.add_both(|_| ()));
        }
    });
    assert!(memory.bytes_current < 1_000, "{} bytes stay", memory.bytes_current);
    let waits = ended(task.when_done());
    clock.advance(TICK);
    assert_eq!(waits.take(), ["done"]);
}
