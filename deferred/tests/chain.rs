//! The path of a result through a chain: D1 to D6, D9, D10, D13.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;

use support::{Diary, failure_of, outcome, result_of, value_of};
use twistor_deferred::{
    Abandoned, Cancelled, CircularWait, Deferred, Failure, Panicked, Trigger, fail, maybe_deferred, succeed,
};

// D1.1
#[test]
fn callbacks_run_in_order_on_the_previous_result() {
    let diary = Diary::default();
    let (deferred, trigger) = Deferred::<u64>::new();
    let (a, b, c) = (diary.clone(), diary.clone(), diary.clone());
    let deferred = deferred
        .add_callback(move |n| {
            a.note(n);
            Ok(n + 1)
        })
        .add_callback(move |n| {
            b.note(n);
            Ok(format!("{n}!"))
        })
        .add_both(move |text| c.note(text.unwrap()));
    assert_eq!(diary.read(), "");
    trigger.callback(1);
    assert_eq!(diary.read(), "1 2 2!");
    assert!(deferred.is_fired());
}

// D1
#[test]
fn adding_changes_the_type_and_any_closure_shape_is_inferred() {
    fn length(text: String) -> Deferred<usize> {
        succeed(text.len())
    }
    let (deferred, trigger) = Deferred::<String>::new();
    let deferred = deferred
        .add_callback(length)
        .add_callback(|n| Ok(n as f64))
        .add_callback(|x| Ok(x.to_string().parse::<u32>()?))
        .add_callback(|_| ())
        .add_callback(|()| -> Result<char, Failure> { Ok('x') });
    trigger.callback("four".into());
    assert_eq!(value_of(deferred), 'x');
}

// D2.2
#[test]
fn a_callback_added_to_a_fired_deferred_runs_immediately() {
    let diary = Diary::default();
    let (here, there) = (diary.clone(), diary.clone());
    let deferred = succeed(1).add_callback(move |n| {
        here.note(n);
        Ok(n + 1)
    });
    assert_eq!(diary.read(), "1");
    let (late, trigger) = Deferred::new();
    trigger.callback(7);
    drop(late.add_callback(move |n: u64| there.note(n)));
    assert_eq!(diary.read(), "7");
    assert_eq!(value_of(deferred), 2);
}

// D2
#[test]
fn callbacks_added_before_and_after_firing_see_the_same_chain() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(|n| Ok(n + 1));
    assert!(!deferred.is_fired());
    trigger.callback(1);
    assert!(deferred.is_fired());
    assert_eq!(value_of(deferred.add_callback(|n| Ok(n * 10))), 20);
}

// D2
#[test]
fn try_result_returns_the_result_or_the_deferred() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let waiting = deferred.add_callback(|n| Ok(n + 1)).try_result().unwrap_err();
    trigger.callback(1);
    assert!(matches!(waiting.try_result(), Ok(Ok(2))));
    assert!(matches!(succeed(3).try_result(), Ok(Ok(3))));
    assert!(matches!(fail::<u64>(Cancelled).try_result(), Ok(Err(failure)) if failure.is::<Cancelled>()));
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.callback(1);
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let waiting = deferred.add_callback(move |_| inner).try_result().unwrap_err();
    waiting.cancel();
    assert!(!inner_trigger.is_live());
    assert!(matches!(waiting.try_result(), Ok(Err(failure)) if failure.is::<Cancelled>()));
}

// D3.1, D3.2
#[test]
fn an_error_goes_to_the_errback_of_the_next_stage() {
    let diary = Diary::default();
    let (own, next) = (diary.clone(), diary.clone());
    let (deferred, trigger) = Deferred::<String>::new();
    let deferred = deferred
        .add_callbacks(
            |text| Ok(text.parse::<u64>()?),
            move |_| {
                own.note("own");
                Ok(0)
            },
        )
        .add_errback(move |failure| {
            next.note(failure);
            Ok(5)
        });
    trigger.callback("x".into());
    assert_eq!(diary.read(), "invalid digit found in string");
    assert_eq!(value_of(deferred), 5);
}

// D3.3
#[test]
fn a_panic_becomes_a_failure_with_message_and_place() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(|n| -> Result<u64, Failure> { panic!("no {n}") });
    trigger.callback(3);
    let panicked = failure_of(deferred).trap::<Panicked>().unwrap();
    assert_eq!(panicked.message(), "no 3");
    assert_eq!(panicked.added_at().file(), file!());
    // The same on a fired chain, and for a payload that is a plain string.
    let late = failure_of(succeed(1).add_callback(|_| -> Result<u64, Failure> { panic!("plain") }));
    assert_eq!(late.downcast_ref::<Panicked>().unwrap().message(), "plain");
    let odd = failure_of(succeed(1).add_callback(|_| -> Result<u64, Failure> { panic_any(7_u8) }));
    assert!(odd.to_string().contains("not a string"), "{odd}");
}

// D3.1
#[test]
fn an_errback_that_fails_or_panics_stays_on_the_errback_side() {
    let deferred = fail::<u64>(Cancelled)
        .add_errback(|_| -> Result<u64, Failure> { Err(Abandoned.into()) })
        .add_callback(|_| -> Result<u64, Failure> { unreachable!("on the other side") })
        .add_errback(|failure| -> Result<u64, Failure> { panic!("after {failure}") });
    let failure = failure_of(deferred);
    assert!(
        failure.to_string().ends_with("panicked: after abandoned: the trigger was dropped without firing")
    );
}

// D4.1
#[test]
fn a_stage_without_a_matching_function_passes_the_result_on() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_errback(|_| Ok(0)).add_errback(|_| Ok(0)).add_callback(|n| Ok(n + 1));
    trigger.callback(1);
    assert_eq!(value_of(deferred), 2);

    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(|n| Ok(n + 1)).add_callback(|n| Ok(n.to_string()));
    trigger.errback(Cancelled);
    assert!(failure_of(deferred).is::<Cancelled>());
}

// D4.2
#[test]
fn after_an_errback_returns_ok_the_next_callback_runs() {
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred
        .add_errback(|failure| failure.trap::<Cancelled>().map(|_| 1))
        .add_callbacks(|n| Ok(n + 1), |_| Ok(100));
    trigger.errback(Cancelled);
    assert_eq!(value_of(deferred), 2);
}

// D5.1, D5.2
#[test]
fn a_returned_deferred_suspends_the_chain_until_it_fires() {
    let diary = Diary::default();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let (earlier, later) = (diary.clone(), diary.clone());
    let inner = inner.add_callback(move |n| {
        earlier.note("inner");
        Ok(n + 1)
    });
    let deferred = deferred.add_callback(move |_| inner).add_callback(move |n| {
        later.note(n);
        Ok(n)
    });
    trigger.callback(0);
    assert_eq!(diary.read(), "");
    assert!(!deferred.is_fired());
    inner_trigger.callback(10);
    assert_eq!(diary.read(), "inner 11");
    assert_eq!(value_of(deferred), 11);
}

// D5.1
#[test]
fn a_returned_deferred_that_has_fired_does_not_suspend() {
    let (fired, fired_trigger) = Deferred::<u64>::new();
    fired_trigger.callback(5);
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| fired).add_callback(|n| succeed(n + 1));
    trigger.callback(0);
    assert_eq!(value_of(deferred), 6);
}

// D5
#[test]
fn a_chain_may_wait_many_times_and_at_its_last_stage() {
    let (a, trigger_a) = Deferred::<u64>::new();
    let (b, trigger_b) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred =
        deferred.add_callback(move |_| a).add_callback(move |n| b.add_callback(move |m| Ok(n + m)));
    trigger.callback(0);
    trigger_b.callback(1);
    assert!(!deferred.is_fired());
    trigger_a.callback(2);
    assert_eq!(value_of(deferred), 3);
}

// D5
#[test]
fn callbacks_added_while_the_chain_waits_run_after_the_wait() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |_| inner);
    trigger.callback(0);
    let deferred = deferred.add_callback(|n| Ok(n + 1));
    inner_trigger.callback(1);
    assert_eq!(value_of(deferred), 2);
}

// D5.3
#[test]
fn the_chain_fails_with_the_failure_of_a_returned_deferred() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let seen = outcome(succeed(()).add_callback(move |()| inner).add_errback(|failure| {
        assert!(failure.is::<Cancelled>());
        Ok(9)
    }));
    inner_trigger.errback(Cancelled);
    assert_eq!(seen.take(), Some(Ok("9".into())));
}

// D13.1
#[test]
fn a_callback_that_returns_its_own_chain_is_a_circular_wait() {
    let own: Rc<Cell<Option<Deferred<u64>>>> = Rc::default();
    let taken = own.clone();
    let (deferred, trigger) = Deferred::<u64>::new();
    let told = Rc::new(Cell::new(false));
    let told_here = told.clone();
    own.set(Some(deferred.add_callback(move |_| taken.take().unwrap()).add_errback(move |failure| {
        told_here.set(failure.is::<CircularWait>());
        Ok(1)
    })));
    trigger.callback(0);
    assert!(told.get());
}

// D13.1
#[test]
fn two_chains_that_wait_for_each_other_are_a_circular_wait() {
    let first: Rc<Cell<Option<Deferred<u64>>>> = Rc::default();
    let taken = first.clone();
    let (a, trigger_a) = Deferred::<u64>::new();
    let (b, trigger_b) = Deferred::<u64>::new();
    let told = Rc::new(Cell::new(false));
    let told_here = told.clone();
    let b = b.add_callback(move |_| taken.take().unwrap()).add_errback(move |failure| {
        told_here.set(failure.is::<CircularWait>());
        Ok(1)
    });
    first.set(Some(a.add_callback(move |_| b)));
    trigger_a.callback(0);
    trigger_b.callback(0);
    assert!(told.get());
}

// D13.1
#[test]
fn three_chains_in_a_ring_are_a_circular_wait() {
    let first: Rc<Cell<Option<Deferred<u64>>>> = Rc::default();
    let taken = first.clone();
    let (a, trigger_a) = Deferred::<u64>::new();
    let (b, trigger_b) = Deferred::<u64>::new();
    let (c, trigger_c) = Deferred::<u64>::new();
    let told = Rc::new(Cell::new(false));
    let told_here = told.clone();
    let c = c.add_callback(move |_| taken.take().unwrap()).add_errback(move |failure| {
        told_here.set(failure.is::<CircularWait>());
        Ok(1)
    });
    let b = b.add_callback(move |_| c);
    first.set(Some(a.add_callback(move |_| b)));
    trigger_a.callback(0);
    trigger_b.callback(0);
    trigger_c.callback(0);
    assert!(told.get());
}

// D6.3
#[test]
fn firing_inside_a_callback_runs_immediately_and_in_order() {
    let diary = Diary::default();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (outer, outer_trigger) = Deferred::<u64>::new();
    let (a, b, c) = (diary.clone(), diary.clone(), diary.clone());
    let _inner = inner.add_callback(move |_| a.note("inner"));
    let _outer = outer
        .add_callback(move |_| {
            b.note("before");
            inner_trigger.callback(0);
            b.note("after");
        })
        .add_callback(move |()| c.note("next"));
    outer_trigger.callback(0);
    assert_eq!(diary.read(), "before inner after next");
}

// D6.2
#[test]
fn a_callback_may_add_callbacks_to_its_own_chain() {
    let diary = Diary::default();
    let handle: Rc<Cell<Option<Deferred<()>>>> = Rc::default();
    let (deferred, trigger) = Deferred::<u64>::new();
    let (own, first, second) = (handle.clone(), diary.clone(), diary.clone());
    handle.set(Some(deferred.add_callback(move |_| {
        let chain = own.take().unwrap();
        own.set(Some(chain.add_callback(move |()| second.note("added"))));
        first.note("adding");
    })));
    trigger.callback(0);
    assert_eq!(diary.read(), "adding added");
}

// D6.2
#[test]
fn a_callback_may_drop_its_own_handle_and_cancel_its_own_chain() {
    let handle: Rc<Cell<Option<Deferred<u64>>>> = Rc::default();
    let (deferred, trigger) = Deferred::<u64>::new();
    let canceller = deferred.canceller();
    let diary = Diary::default();
    let (own, end) = (handle.clone(), diary.clone());
    let deferred = deferred.add_callback(move |n| {
        canceller.cancel();
        drop(own.take());
        Ok(n + 1)
    });
    handle.set(Some(deferred.add_callback(move |n| {
        end.note(n);
        Ok(n)
    })));
    trigger.callback(1);
    assert_eq!(diary.read(), "2");
}

// D6.2
#[test]
fn a_callback_may_fire_what_its_own_chain_is_about_to_wait_for() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(move |n| {
        inner_trigger.callback(n + 1);
        inner
    });
    trigger.callback(1);
    assert_eq!(value_of(deferred), 2);
}

// D6
#[test]
fn a_value_may_fire_a_deferred_while_it_is_dropped() {
    struct FiresWhenDropped(Option<Trigger<u64>>, Rc<RefCell<Option<Deferred<u64>>>>);
    impl Drop for FiresWhenDropped {
        fn drop(&mut self) {
            self.0.take().unwrap().callback(1);
            let chain = self.1.take();
            *self.1.borrow_mut() = chain.map(|chain| chain.add_callback(|n| Ok(n + 1)));
        }
    }
    let (other, other_trigger) = Deferred::<u64>::new();
    let seen = Rc::new(RefCell::new(Some(other)));
    let (deferred, trigger) = Deferred::new();
    drop(deferred);
    trigger.callback(FiresWhenDropped(Some(other_trigger), seen.clone()));
    assert_eq!(value_of(seen.take().unwrap()), 2);
}

// D9.5
#[test]
fn a_trigger_dropped_unfired_fires_abandoned() {
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(trigger);
    let failure = failure_of(deferred);
    assert!(failure.is::<Abandoned>());
    assert_eq!(failure.location().file(), file!());
}

// D9
#[test]
fn a_trigger_dropped_while_a_panic_unwinds_runs_no_callback() {
    let diary = Diary::default();
    let here = diary.clone();
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred.add_both(move |_| here.note("ran"));
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _trigger = trigger;
        panic!("out");
    }));
    assert!(unwound.is_err());
    assert_eq!(diary.read(), "");
    assert!(!deferred.is_fired());
}

// D10.6
#[test]
fn callbacks_run_after_the_handle_is_dropped() {
    let diary = Diary::default();
    let here = diary.clone();
    let (deferred, trigger) = Deferred::<u64>::new();
    drop(deferred.add_callback(move |n| here.note(n)));
    assert!(trigger.is_live());
    trigger.callback(4);
    assert_eq!(diary.read(), "4");
}

// D10.6
#[test]
fn callbacks_run_after_the_handle_of_a_waiting_chain_is_dropped() {
    let diary = Diary::default();
    let here = diary.clone();
    let (inner, inner_trigger) = Deferred::<u64>::new();
    drop(succeed(()).add_callback(move |()| inner).add_callback(move |n| here.note(n)));
    inner_trigger.callback(4);
    assert_eq!(diary.read(), "4");
}

#[test]
fn maybe_deferred_accepts_any_outcome_and_a_panic() {
    assert_eq!(value_of(maybe_deferred(|| Ok(1))), 1);
    assert!(
        failure_of(maybe_deferred(|| -> Result<u64, Failure> { Err(Cancelled.into()) })).is::<Cancelled>()
    );
    let (inner, trigger) = Deferred::<u64>::new();
    let waiting = maybe_deferred(move || inner);
    trigger.callback(2);
    assert_eq!(value_of(waiting), 2);
    assert!(failure_of(maybe_deferred(|| -> Result<u64, Failure> { panic!("oh") })).is::<Panicked>());
}

#[test]
fn fire_accepts_a_result() {
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.fire(Ok(1));
    assert_eq!(value_of(deferred), 1);
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.fire(Err(Cancelled.into()));
    assert!(result_of(deferred).is_err());
}
