//! The allocations of delayed calls.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use twistor_reactor::{Clock, DelayedCall, ManualClock, Reactor, ScheduledCall};

const HOUR: Duration = Duration::from_secs(3600);

/// Counts the allocations for one call with a capture, on a clock that has had one before.
fn allocations(clock: &impl Clock) -> [u64; 3] {
    let captured = Rc::new(0_u64);
    let each = |schedule: &dyn Fn(Rc<u64>) -> DelayedCall| {
        schedule(captured.clone()).cancel().unwrap();
        measure(|| schedule(captured.clone()).cancel().unwrap()).count_total
    };
    let dynamic: &dyn Clock = &*clock.shared();
    [
        each(&|captured| clock.call_later(HOUR, move || drop(black_box(captured)))),
        each(&|captured| dynamic.schedule(HOUR, ScheduledCall::new(move || drop(black_box(captured))))),
        each(&|captured| clock.schedule(HOUR, ScheduledCall::new(move || drop(black_box(captured))))),
    ]
}

#[test]
fn a_delayed_call_is_one_allocation_on_any_clock() {
    // T1.3
    let reactor = Reactor::new().unwrap();
    assert_eq!(allocations(&ManualClock::new()), [1; 3]);
    assert_eq!(allocations(&reactor), [1; 3]);
    assert_eq!(allocations(&reactor.handle()), [1; 3]);
    // With the feature `trace`, both have a number as well.
    if cfg!(not(feature = "trace")) {
        assert_eq!(size_of::<DelayedCall>(), 16);
        assert_eq!(size_of::<Option<ScheduledCall>>(), 16);
    }
}

#[test]
fn a_burst_of_calls_returns_its_memory() {
    // T1.4
    const MANY: u32 = 100_000;
    for fraction in [0, 1, 2, 3] {
        let clock = ManualClock::new();
        let memory = measure(|| {
            let calls: Vec<DelayedCall> =
                (0..MANY).map(|n| clock.call_later(Duration::from_nanos(n.into()), || ())).collect();
            calls.iter().take(MANY as usize * fraction / 3).for_each(|call| call.cancel().unwrap());
            clock.advance(HOUR);
        });
        assert_eq!(clock.pending(), 0);
        assert!(memory.bytes_max < 130 * u64::from(MANY), "{} at most", memory.bytes_max);
        assert!(memory.bytes_current < 100_000, "{} kept", memory.bytes_current);
    }
}
