//! The memory of Deferreds: D8.

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use allocation_counter::measure;
use support::value_of;
use twistor_deferred::{Canceller, Deferred, DeferredQueue, Trigger, succeed};

/// A million; fewer with the feature `trace`. A byte for each of these, too, is more than `A_FEW_NODES`.
const ROUNDS: usize = support::MANY;

#[derive(Default)]
struct Loop {
    next: Cell<Option<Trigger<usize>>>,
    current: RefCell<Option<Canceller>>,
}

impl Loop {
    fn fire(&self, n: usize) -> bool {
        self.next.take().map(|trigger| trigger.callback(n)).is_some()
    }

    fn wait(&self) -> Deferred<usize> {
        let (deferred, trigger) = Deferred::new();
        self.next.set(Some(trigger));
        deferred
    }
}

/// A loop in which each callback returns the next Deferred. `wait` creates the Deferred that a round waits for.
fn spin(wait: fn(&Rc<Loop>) -> Deferred<usize>, state: &Rc<Loop>) -> Deferred<usize> {
    let next = state.clone();
    wait(state).add_callback(move |n| if n < ROUNDS { spin(wait, &next) } else { succeed(n) })
}

/// Returns the peak number of bytes in use during a million rounds.
fn peak(start: impl FnOnce(&Rc<Loop>) -> Option<Deferred<usize>>) -> u64 {
    let state = Rc::new(Loop::default());
    let handle = Rc::new(Cell::new(None));
    let memory = measure(|| {
        let held = start(&state);
        let mut n = 0;
        while state.fire(n) {
            n += 1;
        }
        assert_eq!(n, ROUNDS + 1);
        handle.set(held);
    });
    if let Some(held) = handle.take() {
        assert_eq!(value_of(held), ROUNDS);
    }
    memory.bytes_max
}

/// With records, each live node has one, and there is a table of them.
const A_FEW_NODES: u64 = if cfg!(feature = "trace") { 8192 } else { 4096 };

// D8
#[test]
fn a_loop_without_a_handle_takes_constant_memory() {
    let bytes = peak(|state| {
        drop(spin(|state| state.wait(), state));
        None
    });
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

// D8
#[test]
fn a_loop_with_an_outer_handle_takes_constant_memory() {
    let bytes = peak(|state| Some(spin(|state| state.wait(), state)));
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

// D8
#[test]
fn a_loop_with_callbacks_at_its_end_takes_constant_memory() {
    let bytes = peak(|state| Some(spin(|state| state.wait(), state).add_callback(Ok).add_errback(Err)));
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

// D8
#[test]
fn a_loop_of_several_stages_takes_constant_memory() {
    let bytes = peak(|state| {
        let rounds = |state: &Rc<Loop>| state.wait().add_errback(Err).add_callback(|n| Ok(n.max(1)));
        Some(spin(rounds, state).add_callback(Ok))
    });
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

// D8.1: each round has a canceller until its result arrives, as with a timeout.
#[test]
fn a_loop_with_cancellable_rounds_takes_constant_memory() {
    let watched = |state: &Rc<Loop>| {
        let deferred = state.wait();
        state.current.replace(Some(deferred.canceller()));
        deferred
    };
    let bytes = peak(|state| Some(spin(watched, state).add_callback(Ok)));
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
    let bytes = peak(|state| Some(spin(watched, state)));
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

// D8.1: a canceller of the outermost Deferred exists.
#[test]
fn a_cancellable_loop_takes_constant_memory() {
    let bytes = peak(|state| {
        let inner = spin(|state| state.wait(), state);
        state.current.replace(Some(inner.canceller()));
        Some(succeed(()).add_callback(move |()| inner))
    });
    assert!(bytes < A_FEW_NODES, "{bytes} bytes");
}

#[cfg(not(feature = "trace"))] // which records each stage
// D8.2
#[test]
fn a_pending_stage_is_one_allocation_and_a_fired_one_none() {
    let chain = |deferred: Deferred<u64>| {
        let mut deferred = deferred;
        for n in 0..10 {
            deferred = deferred.add_callback(move |m| Ok(n + m));
        }
        deferred
    };
    let pending = measure(|| {
        let (deferred, trigger) = Deferred::new();
        let deferred = chain(deferred);
        trigger.callback(1);
        drop(deferred);
    });
    assert_eq!(pending.count_total, 1 + 10);
    assert_eq!(pending.count_current, 0);
    let fired = measure(|| drop(chain(succeed(1))));
    assert_eq!(fired.count_total, 0);
    let late = measure(|| {
        let (deferred, trigger) = Deferred::new();
        trigger.callback(1);
        drop(chain(deferred));
    });
    assert_eq!(late.count_total, 1);
}

#[cfg(not(feature = "trace"))] // which records each stage
// D8
#[test]
fn a_finished_wait_frees_the_inner_deferred() {
    let (outer, outer_trigger) = Deferred::<u64>::new();
    let held = Rc::new(Cell::new(None));
    let holder = held.clone();
    let memory = measure(move || {
        let (inner, inner_trigger) = Deferred::<u64>::new();
        let waiting = outer.add_callback(move |_| inner).add_callback(Ok);
        outer_trigger.callback(1);
        inner_trigger.callback(1);
        holder.set(Some(waiting));
    });
    // One more allocation for the last stage, which holds the result, and one less for the freed head.
    assert!(memory.count_current <= 1, "{memory:?}");
    assert_eq!(value_of(held.take().unwrap()), 1);
}

#[cfg(not(feature = "trace"))] // which records each stage
// D8.3
#[test]
fn a_wait_for_a_returned_deferred_allocates_nothing() {
    let allocations = |wait: fn(Deferred<u64>, Trigger<u64>, Deferred<u64>) -> Deferred<u64>| {
        let (outer, outer_trigger) = Deferred::new();
        let (inner, inner_trigger) = Deferred::new();
        let memory = measure(move || {
            let waiting = wait(outer, outer_trigger, inner);
            inner_trigger.callback(1);
            drop(waiting);
        });
        memory.count_total
    };
    let before = |outer: Deferred<u64>, trigger: Trigger<u64>, inner| {
        let waiting = outer.add_callback(move |_| inner);
        trigger.callback(1);
        waiting
    };
    assert_eq!(allocations(before), 1, "the stage");
    let late = |outer: Deferred<u64>, trigger: Trigger<u64>, inner| {
        trigger.callback(1);
        outer.add_callback(move |_| inner)
    };
    assert_eq!(allocations(late), 0);
}

// S1.2
#[test]
#[cfg_attr(feature = "trace", ignore = "the trace keeps a record of each Deferred")]
fn a_queue_returns_its_memory_after_a_burst() {
    let queue = DeferredQueue::new();
    let memory = measure(|| {
        (0..ROUNDS).for_each(|n| queue.put(n).unwrap());
        (0..ROUNDS).for_each(|n| assert_eq!(value_of(queue.get()), n));
        let waiters: Vec<_> = (0..ROUNDS).map(|_| queue.get()).collect();
        waiters.into_iter().for_each(|waiter| waiter.cancel());
    });
    assert!(memory.bytes_current < 16 * 1024, "{} bytes", memory.bytes_current);
    assert_eq!(queue.waiting(), 0);
}

// D8, D10.1
#[test]
#[cfg_attr(feature = "trace", ignore = "the trace keeps a record of each Deferred")]
fn awaiting_leaves_no_memory_in_use() {
    let poll = |deferred: &mut Deferred<u64>| {
        Pin::new(deferred).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    };
    let memory = measure(|| {
        for n in 0..100 {
            let (mut deferred, trigger) = Deferred::<u64>::new();
            assert!(poll(&mut deferred));
            match n % 4 {
                0 => trigger.callback(1),
                1 => drop(trigger),
                2 => drop(deferred),
                _ => drop(deferred.add_both(|_| ())),
            }
        }
    });
    assert_eq!(memory.bytes_current, 0);
}
