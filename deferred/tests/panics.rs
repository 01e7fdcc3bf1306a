//! Triggers and values that a panic drops: D9.1 to D9.4.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};

use support::{Diary, MANY, failure_of, logged, on_a_small_stack, value_of};
use twistor_deferred::{
    Abandoned, Deferred, DeferredEvent, DeferredQueue, Failure, Panicked, ending, fail, guarded,
    maybe_deferred, succeed,
};

/// Drops `value` by a panic that the crate does not catch.
fn drop_unwinding<T>(value: T) {
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _value = value;
        resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
}

// D9.1
#[test]
fn a_trigger_that_a_panicking_callback_owns_fires_abandoned() {
    let (other, trigger) = Deferred::<u64>::new();
    let panicked = succeed(()).add_callback(move |()| -> Result<(), Failure> {
        let _trigger = trigger;
        panic!("before it fired");
    });
    assert!(failure_of(other).is::<Abandoned>());
    assert!(failure_of(panicked).is::<Panicked>());

    let (other, trigger) = Deferred::<u64>::new();
    let (deferred, first) = Deferred::<()>::new();
    drop(deferred.add_callback(move |()| -> Result<(), Failure> {
        let _trigger = trigger;
        panic!("in a pending chain");
    }));
    logged(|| first.callback(()));
    assert!(failure_of(other).is::<Abandoned>());
}

// D9.1
#[test]
fn a_trigger_in_a_panicking_canceller_fires_abandoned() {
    let (other, trigger) = Deferred::<u64>::new();
    let (deferred, _own) = Deferred::<u64>::with_canceller(move |_| {
        let _trigger = trigger;
        panic!("no way to stop it");
    });
    logged(|| deferred.cancel());
    drop(deferred.add_errback(|_| Ok(0)));
    assert!(failure_of(other).is::<Abandoned>());

    let (other, trigger) = Deferred::<u64>::new();
    let called = maybe_deferred(move || -> Result<(), Failure> {
        let _trigger = trigger;
        panic!("at once");
    });
    drop(called.add_errback(|_| Ok(())));
    assert!(failure_of(other).is::<Abandoned>());
}

// D9.1
#[test]
fn guarded_code_that_panics_abandons_what_it_owned() {
    let (other, trigger) = Deferred::<u64>::new();
    let result = guarded(move || {
        let _trigger = trigger;
        panic!("oh {}", "no");
    });
    assert_eq!(result, Err::<(), _>("oh no".to_owned()));
    assert!(failure_of(other).is::<Abandoned>());
    assert_eq!(guarded(|| 1), Ok(1));
}

// D9.2
#[test]
fn a_panic_that_the_program_catches_settles_with_the_next_frame() {
    let (other, trigger) = Deferred::<u64>::new();
    drop_unwinding(trigger);
    assert!(!other.is_fired());
    drop(succeed(1).add_callback(Ok));
    assert!(failure_of(other).is::<Abandoned>());
}

// D9.2
#[test]
fn abandoned_waits_for_the_outermost_frame_and_keeps_the_order() {
    let diary = Diary::default();
    let [first, second] = [1, 2].map(|n| {
        let (deferred, trigger) = Deferred::<u64>::new();
        let diary = diary.clone();
        drop(deferred.add_errback(move |_| {
            diary.note(n);
            Ok(0)
        }));
        trigger
    });
    let here = diary.clone();
    drop(succeed(()).add_callback(move |()| {
        let panicking = maybe_deferred(move || -> Result<(), Failure> {
            let _triggers = [first, second];
            panic!("inside");
        });
        drop(panicking.add_errback(|_| Ok(())));
        here.note("outer");
    }));
    assert_eq!(diary.read(), "outer 1 2");
}

// D9.2, C1
#[test]
fn a_cancelled_deferred_ignores_its_parked_trigger() {
    let (other, trigger) = Deferred::<u64>::new();
    drop_unwinding(trigger);
    other.cancel();
    assert_eq!(failure_of(other).to_string(), "cancelled");
    assert_eq!(logged(|| drop(guarded(|| ()))), Vec::<String>::new());
}

// D9.2, D16
#[test]
fn a_trigger_dropped_by_a_panic_at_the_end_is_quiet() {
    let (other, trigger) = Deferred::<u64>::new();
    ending(|| drop_unwinding(trigger));
    let lines = logged(|| {
        drop(other);
        drop(guarded(|| ()));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("DEBUG"), "{lines:?}");
}

// S5, D9.1
#[test]
fn a_queue_or_event_dropped_by_a_panic_abandons_its_waiters() {
    let (queue, event) = (DeferredQueue::<u64>::new(), DeferredEvent::<u64>::new());
    let waiters = [queue.get(), queue.get(), event.wait()];
    drop(guarded(move || {
        let _owned = (queue, event);
        resume_unwind(Box::new(()));
    }));
    for waiter in waiters {
        assert!(failure_of(waiter).is::<Abandoned>());
    }
}

/// A payload that panics when it is dropped, with a payload of the same kind, the given number of times.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

// D9.3
#[test]
fn a_payload_that_panics_when_dropped_is_caught() {
    for depth in [1, 3] {
        let failed = succeed(()).add_callback(move |()| -> Result<(), Failure> { panic_any(Bomb(depth)) });
        let failure = failure_of(failed);
        assert!(failure.is::<Panicked>(), "{failure}");
        assert!(guarded(|| panic_any(Bomb(depth))).is_err());
    }
}

// D9.4
#[test]
fn a_value_that_panics_when_dropped_stops_no_parked_call() {
    let (bomb, bomb_trigger) = Deferred::<Bomb>::new();
    let (other, trigger) = Deferred::<u64>::new();
    drop(bomb.add_both(|_| Ok(Bomb(1))));
    drop_unwinding((bomb_trigger, trigger));
    let lines = logged(|| drop(guarded(|| ())));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(failure_of(other).is::<Abandoned>());
}

// D9.4
#[test]
fn a_thread_that_ends_with_parked_calls_drops_them() {
    let thread = std::thread::spawn(|| {
        let (deferred, trigger) = Deferred::<u64>::new();
        let bomb = Bomb(1);
        drop(deferred.add_both(move |_| drop(bomb)));
        drop_unwinding(trigger);
    });
    assert!(thread.join().is_ok());
}

// D9.1, D7
#[test]
fn a_million_triggers_that_one_panic_drops_all_fire() {
    on_a_small_stack(|| {
        let (deferreds, triggers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| Deferred::<u64>::new()).unzip();
        drop(guarded(move || {
            let _triggers = triggers;
            resume_unwind(Box::new(()));
        }));
        assert!(deferreds.into_iter().all(|deferred| failure_of(deferred).is::<Abandoned>()));
        assert_eq!(value_of(fail::<u64>(Abandoned).add_errback(|_| Ok(1))), 1);
    });
}
