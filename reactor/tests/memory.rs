//! R18: the memory that is left after a burst.

use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use twistor_reactor::{Cooperator, EventHandler, Progress, Reactor, Ready};

const MANY: usize = 200_000;

/// The memory of a few thousand. A burst of this size takes several megabytes.
const LITTLE: i64 = 300_000;

/// Measures a burst between two idle states of the reactor. One item of the burst's kind stays all the time.
#[track_caller]
fn returns_its_memory<S>(stays: impl Fn(&Reactor) -> S, burst: impl Fn(&Reactor)) {
    let reactor = Reactor::simulated(0);
    let turn = || assert!(matches!(reactor.turn(Some(Duration::ZERO)), Ok(true)));
    let _early = stays(&reactor);
    turn();
    let mut late = None;
    let memory = measure(|| {
        burst(&reactor);
        late = Some(stays(&reactor));
        while reactor.next_deadline().is_some_and(|deadline| deadline <= reactor.now()) {
            turn();
        }
    });
    assert!(memory.bytes_max > 8 * LITTLE as u64, "the burst took only {} bytes", memory.bytes_max);
    assert!(memory.bytes_current < LITTLE, "{} bytes stay", memory.bytes_current);
}

#[test]
fn a_burst_of_calls_from_threads_returns_its_memory() {
    // R18.1
    let calls = |reactor: &Reactor| {
        let remote = reactor.remote();
        (0..MANY).for_each(|_| remote.call_from_thread(|_| ()).unwrap());
    };
    returns_its_memory(|_| (), calls);
    // The calls of a second burst arrive while the first is in progress.
    returns_its_memory(
        |_| (),
        |reactor| {
            calls(reactor);
            reactor.turn(Some(Duration::ZERO)).unwrap();
            calls(reactor);
        },
    );
}

#[test]
fn a_burst_of_timers_returns_its_memory() {
    // R18.2
    returns_its_memory(
        |_| (),
        |reactor| {
            (0..MANY).for_each(|n| _ = reactor.call_later(Duration::ZERO, move || _ = n));
        },
    );
    returns_its_memory(
        |_| (),
        |reactor| {
            let calls: Vec<_> =
                (0..MANY as u64).map(|n| reactor.call_later(Duration::from_nanos(n), || ())).collect();
            calls.iter().for_each(|call| call.cancel().unwrap());
        },
    );
}

#[test]
#[cfg_attr(
    feature = "trace",
    ignore = "the table of live Deferreds keeps its length while its last entry lives"
)]
fn a_burst_of_tasks_returns_its_memory() {
    // R18.1
    let task = |reactor: &Reactor| reactor.spawn(pending::<()>());
    returns_its_memory(task, |reactor| {
        (0..MANY).for_each(|_| drop(reactor.spawn(ready(()))));
    });
}

struct Counted(Rc<Cell<usize>>);

impl EventHandler for Counted {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        self.0.set(self.0.get() + 1);
        Progress::Drained
    }
}

#[test]
fn a_burst_of_sources_returns_its_memory() {
    // R18.1
    let called = Rc::new(Cell::new(0));
    let source = |reactor: &Reactor| reactor.attach(Rc::new(Counted(called.clone()))).unwrap();
    returns_its_memory(source, |reactor| {
        let sources: Vec<_> = (0..MANY).map(|_| source(reactor)).collect();
        sources.iter().for_each(|source| source.wake(Ready::READABLE));
        reactor.turn(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(called.get(), MANY);
}

#[test]
fn a_burst_of_cooperative_tasks_returns_its_memory() {
    // R18.1
    let cooperators = Rc::new(Cell::new(None));
    let paused = |reactor: &Reactor| {
        let cooperator = cooperators.take().unwrap_or_else(|| Cooperator::new(reactor));
        let task = cooperator.cooperate([()]);
        task.pause().unwrap();
        cooperators.set(Some(cooperator));
        task
    };
    returns_its_memory(paused, |_| {
        let cooperator = cooperators.take().unwrap();
        (0..MANY).for_each(|_| drop(cooperator.cooperate([()])));
        cooperators.set(Some(cooperator));
    });
}
