//! Unhandled failures: D11, D16.

mod support;

use std::panic::{catch_unwind, resume_unwind};

use support::{failure_of, logged};
use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredList, DeferredPool, DeferredQueue, Failure, Outcome, Trigger,
    ending, fail, gather_results, guarded, join, maybe_deferred, race, succeed,
};

#[track_caller]
fn nothing_logged(f: impl FnOnce()) {
    assert_eq!(logged(f), Vec::<String>::new());
}

#[track_caller]
fn logged_once(f: impl FnOnce()) -> String {
    let mut lines = logged(f);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

// D11.4
#[test]
fn a_failure_is_logged_when_its_last_handle_is_dropped() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(|n| Ok(n + 1));
    nothing_logged(|| trigger.errback(Cancelled));
    let line = logged_once(|| drop(deferred));
    assert!(line.starts_with("ERROR: unhandled failure"), "{line}");
    assert!(line.contains("cancelled"), "{line}");
}

// D11.4
#[test]
fn a_failure_without_a_handle_is_logged_immediately() {
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(deferred.add_callback(|n| Ok(n + 1)));
    logged_once(|| trigger.errback(Cancelled));
}

// D11.5
#[test]
fn an_unhandled_quiet_failure_is_logged_at_level_debug() {
    let line = logged_once(|| drop(fail::<u64>(Failure::new(Cancelled).quiet()).add_callback(|n| Ok(n + 1))));
    assert!(line.starts_with("DEBUG: unhandled failure"), "{line}");
    // It stays quiet after a `trap` of another type.
    let untrapped = || {
        fail::<u64>(Failure::new(Cancelled).quiet())
            .add_errback(|failure| failure.trap::<Abandoned>().map(|_| 0))
    };
    let line = logged_once(|| drop(untrapped()));
    assert!(line.starts_with("DEBUG: unhandled failure"), "{line}");
}

// D16.1
#[test]
fn work_cut_off_by_the_end_is_logged_at_level_debug() {
    type Cut = fn(Deferred<u64>, Trigger<u64>);
    let cuts: [Cut; 4] = [
        |deferred, trigger| {
            drop(deferred);
            drop(trigger);
        },
        |deferred, trigger| {
            drop(deferred.add_errback(|failure| Err(failure.context("asking"))));
            trigger.errback(Cancelled);
        },
        |deferred, _trigger| deferred.cancel(),
        // The callback of another Deferred owns the trigger and drops it.
        |deferred, trigger| {
            let (other, first) = Deferred::<u64>::new();
            drop(other.add_both(move |_| drop(trigger)));
            drop(deferred);
            drop(first);
        },
    ];
    for cut in cuts {
        let (deferred, trigger) = Deferred::<u64>::new();
        let line = logged_once(|| ending(|| cut(deferred, trigger)));
        assert!(line.starts_with("DEBUG: unhandled failure"), "{line}");
    }
    // The same if the Deferred is dropped later.
    let (deferred, trigger) = Deferred::<u64>::new();
    nothing_logged(|| ending(|| drop(trigger)));
    let line = logged_once(|| drop(deferred));
    assert!(line.starts_with("DEBUG: unhandled failure"), "{line}");
}

// D16.2
#[test]
fn other_failures_at_the_end_of_a_loop_are_errors() {
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(deferred.add_errback(|_| -> Result<u64, Failure> { Err(Cancelled.into()) }));
    let line = logged_once(|| ending(|| drop(trigger)));
    assert!(line.starts_with("ERROR: unhandled failure"), "{line}");

    let (deferred, trigger) = Deferred::<u64>::new();
    drop(deferred.add_errback(|_| -> Result<u64, Failure> { panic!("in the errback") }));
    let line = logged_once(|| ending(|| drop(trigger)));
    assert!(line.starts_with("ERROR: unhandled failure"), "{line}");

    // The failure existed before the end.
    let failed = fail::<u64>(Cancelled);
    let line = logged_once(|| ending(|| drop(failed)));
    assert!(line.starts_with("ERROR: unhandled failure"), "{line}");
}

// D16
#[test]
fn abandoned_before_or_after_the_end_is_an_error() {
    let abandon = || drop(Deferred::<u64>::new());
    let nested = || ending(|| ending(|| ()));
    let panicking = || drop(catch_unwind(|| ending(|| panic!("at the end"))));
    for end in [nested as fn(), panicking as fn()] {
        let line = logged_once(abandon);
        assert!(line.starts_with("ERROR: unhandled failure"), "{line}");
        end();
        let line = logged_once(abandon);
        assert!(line.starts_with("ERROR: unhandled failure"), "{line}");
    }
    let line = logged_once(|| {
        ending(|| {
            nested();
            abandon();
        });
    });
    assert!(line.starts_with("DEBUG: unhandled failure"), "{line}");
}

// D16.3
#[test]
fn work_cut_off_by_the_end_reports_that_the_reactor_stopped() {
    let error = |end: fn(Trigger<u64>)| {
        let (deferred, trigger) = Deferred::<u64>::new();
        ending(|| end(trigger));
        failure_of(deferred)
    };
    let unwound = |trigger: Trigger<u64>| {
        drop(guarded(move || {
            let _trigger = trigger;
            panic!("at the end");
        }));
    };
    for end in [drop, unwound, |trigger: Trigger<u64>| trigger.errback(Abandoned)] {
        let failure = error(end);
        assert!(failure.is::<Abandoned>());
        assert_eq!(failure.to_string(), "the reactor stopped first");
        let failure = failure.trap::<Cancelled>().unwrap_err();
        assert_eq!(Box::<dyn std::error::Error>::from(failure).to_string(), "the reactor stopped first");
    }
    assert_eq!(error(|trigger| trigger.errback(Cancelled)).to_string(), "cancelled");
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(trigger);
    assert_eq!(failure_of(deferred).to_string(), Abandoned.to_string());
}

// D11.3
#[test]
fn a_log_line_states_the_cause_first_and_one_place() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let made_at = line!() - 1;
    drop(deferred.add_callback(Ok));
    let line = logged_once(|| trigger.errback(Cancelled));
    let start =
        format!("ERROR: unhandled failure: cancelled (in the Deferred made at {}:{made_at}:", file!());
    assert!(line.starts_with(&start) && line.matches(".rs:").count() == 1, "{line}");
}

// D11.3
#[test]
fn a_panic_is_logged_with_one_place() {
    let line = logged_once(|| drop(succeed(()).add_callback(|()| -> Result<(), Failure> { panic!("oh") })));
    assert!(line.starts_with("ERROR: unhandled failure: a callback panicked: oh (in the Deferred"), "{line}");
    assert_eq!(line.matches(".rs:").count(), 1, "{line}");
}

// D11
#[test]
fn the_log_names_the_chain_of_a_late_callback() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let made_at = line!() - 1;
    trigger.callback(1);
    let line =
        logged_once(|| drop(deferred.add_callback(|_| -> Result<u64, Failure> { Err(Cancelled.into()) })));
    assert!(line.contains(&format!("the Deferred made at {}:{made_at}:", file!())), "{line}");
}

// D11
#[test]
fn the_log_names_the_chain_of_an_earlier_callback() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let made_at = line!() - 1;
    drop(deferred.add_callback(|_| -> Result<u64, Failure> { Err(Cancelled.into()) }));
    let line = logged_once(|| trigger.callback(1));
    assert!(line.contains(&format!("the Deferred made at {}:{made_at}:", file!())), "{line}");
}

// D11
#[test]
fn the_log_names_the_stage_added_to_a_fired_chain() {
    let made_at = line!() + 1;
    let deferred = succeed(1).add_callback(|_| -> Result<u64, Failure> { Err(Cancelled.into()) });
    let line = logged_once(|| drop(deferred));
    assert!(line.contains(&format!("the Deferred made at {}:{made_at}:", file!())), "{line}");
}

/// The line that creates a failing Deferred, and the Deferred.
type Failing = (u32, Deferred<()>);

/// Checks that the log line of the Deferred contains `prefix`, followed by the line that created the Deferred.
fn logs_its_place(prefix: &str, failing: fn() -> Failing) {
    let mut made_at = 0;
    let line = logged_once(|| {
        let (place, deferred) = failing();
        made_at = place;
        drop(deferred);
    });
    assert!(line.contains(&format!("{prefix}{}:{made_at}:", file!())), "{line}");
}

// D11
#[test]
fn the_log_names_the_users_line_of_a_library_deferred() {
    let failing: [fn() -> Failing; 9] = [
        || (line!(), maybe_deferred(|| -> Result<(), Failure> { Err(Cancelled.into()) })),
        || (line!(), maybe_deferred(|| fail(Cancelled))),
        || (line!(), DeferredQueue::new().backlog(0).get()),
        || (line!(), DeferredQueue::new().get()),
        || (line!(), DeferredPool::new().defer_until_empty(false)),
        || {
            let list = DeferredList::new([fail::<()>(Cancelled)]);
            let made_at = line!() - 1;
            (made_at, list.fire_on_one_errback().into_deferred().add_callback(|_| ()))
        },
        || (line!(), race::<()>([]).add_callback(|_| ())),
        || {
            let (member, trigger) = Deferred::<()>::new();
            let made_at = line!() + 1;
            let joined = join((member, succeed(())));
            let joined = joined.add_callback(|_| ());
            trigger.errback(Cancelled);
            (made_at, joined)
        },
        || {
            let (member, trigger) = Deferred::<()>::new();
            let made_at = line!() + 1;
            let gathered = gather_results([member]);
            let gathered = gathered.add_callback(|_| ());
            trigger.errback(Cancelled);
            (made_at, gathered)
        },
    ];
    failing.into_iter().for_each(|failing| logs_its_place("the Deferred made at ", failing));
}

// D11
#[test]
fn the_log_line_includes_the_sources_of_the_error() {
    let line = logged_once(|| drop(gather_results([succeed(()), fail(Told)])));
    let start = "ERROR: unhandled failure: member 1 failed: told: by its cause (in the Deferred made at";
    assert!(line.starts_with(start), "{line}");
    let line = logged_once(|| drop(Err::<(), _>(Failure::new(Told)).into_deferred()));
    assert!(line.starts_with("ERROR: unhandled failure: told: by its cause (made at"), "{line}");
}

/// An error that does not print its source.
#[derive(Debug)]
struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told")
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        static CAUSE: std::sync::OnceLock<Cause> = std::sync::OnceLock::new();
        Some(CAUSE.get_or_init(|| Cause))
    }
}

/// The source of [`Told`].
#[derive(Debug)]
struct Cause;

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("by its cause")
    }
}

impl std::error::Error for Cause {}

// D11.4
#[test]
fn a_handled_failure_is_not_logged() {
    nothing_logged(|| {
        let (deferred, trigger) = Deferred::<u64>::new();
        drop(deferred.add_errback(|_| Ok(0)));
        trigger.errback(Cancelled);
        drop(fail::<u64>(Cancelled).add_both(|_| ()));
        drop(fail::<u64>(Cancelled).add_callbacks(|_| (), |_| ()));
    });
}

// D11.4
#[test]
fn a_failure_passed_on_by_an_errback_is_logged_once_at_the_end() {
    logged_once(|| {
        let (deferred, trigger) = Deferred::<u64>::new();
        drop(deferred.add_errback(Err).add_errback(|failure| failure.trap::<Abandoned>().map(|_| 0)));
        trigger.errback(Cancelled);
    });
}

// D5, D11
#[test]
fn the_log_names_the_dropped_chain_not_an_inner_one() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (outer, outer_trigger) = Deferred::<u64>::new();
    let made_at = line!() - 1;
    drop(inner.add_both(move |result| outer_trigger.fire(result)));
    inner_trigger.errback(Cancelled);
    let line = logged_once(|| drop(outer));
    assert!(line.contains(&format!("the Deferred made at {}:{made_at}:", file!())), "{line}");
}

// D5.3, D11.4
#[test]
fn a_failure_moved_to_another_chain_is_handled_there() {
    nothing_logged(|| {
        let (inner, trigger) = Deferred::<u64>::new();
        let outer = succeed(()).add_callback(move |()| inner);
        trigger.errback(Cancelled);
        drop(outer.add_errback(|_| Ok(0)));
    });
    logged_once(|| {
        let (inner, trigger) = Deferred::<u64>::new();
        let outer = succeed(()).add_callback(move |()| inner);
        trigger.errback(Cancelled);
        drop(outer);
    });
}

// D9, D11
#[test]
fn an_abandoned_deferred_without_a_handle_is_logged() {
    let line = logged_once(|| drop(Deferred::<u64>::new()));
    assert!(line.starts_with("ERROR: ") && line.contains("abandoned"), "{line}");
}

// D11
#[test]
fn an_unhandled_panic_is_logged_with_its_message() {
    let line = logged_once(|| {
        drop(succeed(1).add_callback(|_| -> Result<u64, Failure> { panic!("the disk is on fire") }))
    });
    assert!(line.contains("the disk is on fire"), "{line}");
}

// D11
#[test]
fn an_awaited_failure_is_not_logged() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    nothing_logged(|| {
        let future = pin!(async { fail::<u64>(Cancelled).await });
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))));
    });
}

// D11
#[test]
fn failures_captured_by_a_skipped_callback_are_logged() {
    logged_once(|| {
        let failed = fail::<u64>(Cancelled);
        let (deferred, trigger) = Deferred::<u64>::new();
        drop(deferred.add_callback(move |_| failed).add_errback(|_| Ok(0)));
        trigger.errback(Abandoned);
    });
}

// D11, L1
#[test]
fn the_failures_in_a_list_of_results_are_not_logged() {
    nothing_logged(|| {
        drop(DeferredList::new([fail::<u64>(Cancelled)]).add_callback(drop));
    });
}

// D9.1, L1
#[test]
fn a_list_fires_although_a_panic_drops_the_last_trigger() {
    nothing_logged(|| {
        let (waiting, trigger) = Deferred::<u64>::new();
        let list = DeferredList::new([fail(Cancelled), waiting]).into_deferred();
        let panicked = guarded(move || {
            let _trigger = trigger;
            resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err());
        assert!(matches!(list.try_result(), Ok(Ok(results)) if results.iter().all(Result::is_err)));
    });
}

// D11, L2
#[test]
fn failures_after_the_first_are_logged_unless_consumed() {
    let both = || [fail::<u64>(Cancelled), fail(Abandoned)];
    let line = logged_once(|| drop(gather_results(both()).add_errback(|_| Ok(vec![]))));
    assert!(line.contains("abandoned"), "{line}");
    nothing_logged(|| {
        let list = DeferredList::new(both()).fire_on_one_errback().consume_errors();
        drop(list.add_errback(|_| Ok(vec![])));
    });
}

// D11, L1
#[test]
fn failures_beside_the_first_value_are_logged_unless_consumed() {
    let three = || [fail::<u64>(Cancelled), succeed(1), fail(Abandoned)];
    assert_eq!(logged(|| drop(DeferredList::new(three()).fire_on_one_callback().into_deferred())).len(), 2);
    nothing_logged(|| {
        drop(DeferredList::new(three()).fire_on_one_callback().consume_errors().into_deferred());
    });
}

// L5
#[test]
fn members_cancelled_by_their_list_are_not_logged() {
    nothing_logged(|| {
        let (slow, _trigger) = Deferred::<u64>::new();
        let list = DeferredList::new([fail(Abandoned), slow]).fire_on_one_errback().cancel_others();
        drop(list.add_errback(|_| Ok(vec![])));
    });
}

// D11, L4
#[test]
fn losing_a_race_is_not_logged() {
    nothing_logged(|| {
        let (slow, _trigger) = Deferred::<u64>::new();
        drop(race([fail(Cancelled), succeed(1), slow]).add_callback(|_| ()));
    });
}

// D11, D14
#[test]
fn an_unreadable_failure_is_logged_while_its_trigger_exists() {
    let (deferred, _trigger) = Deferred::<u64>::new();
    deferred.cancel();
    logged_once(|| drop(deferred));
    let (deferred, _trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    drop(deferred);
    logged_once(|| canceller.cancel());
}
