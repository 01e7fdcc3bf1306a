//! Several Deferreds, waited for together: L1 to L4, L6.

mod support;

use std::cell::RefCell;

use support::{Diary, failure_of, outcome, value_of};
use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredList, Failure, FailureGroup, FirstError, Trigger, fail,
    gather_results, join, race, succeed,
};

fn three() -> (Vec<Deferred<u64>>, [Option<Trigger<u64>>; 3]) {
    let (mut deferreds, mut triggers) = (Vec::new(), [None, None, None]);
    for trigger in &mut triggers {
        let (deferred, its_trigger) = Deferred::new();
        deferreds.push(deferred);
        *trigger = Some(its_trigger);
    }
    (deferreds, triggers)
}

fn show(results: Vec<Result<u64, Failure>>) -> String {
    let show = |result: Result<u64, Failure>| match result {
        Ok(n) => n.to_string(),
        Err(failure) => failure.to_string(),
    };
    results.into_iter().map(show).collect::<Vec<_>>().join(" ")
}

// L1
#[test]
fn results_are_in_the_order_of_the_members() {
    let (members, [a, b, c]) = three();
    let seen = outcome(DeferredList::new(members).add_callback(|results| Ok(show(results))));
    c.unwrap().callback(3);
    a.unwrap().callback(1);
    assert_eq!(seen.take(), None);
    b.unwrap().errback(Cancelled);
    assert_eq!(seen.take(), Some(Ok("1 cancelled 3".into())));
}

// L1
#[test]
fn an_empty_list_fires_immediately() {
    assert!(value_of(DeferredList::<u64>::new([]).into_deferred()).is_empty());
    assert!(value_of(DeferredList::<u64>::new([]).fire_on_one_errback().into_deferred()).is_empty());
}

// L1
#[test]
fn a_list_of_fired_members_has_fired() {
    let list = DeferredList::new([succeed(1), fail(Cancelled), succeed(3)]);
    assert_eq!(show(value_of(list.into_deferred())), "1 cancelled 3");
}

// L1
#[test]
fn a_first_value_list_fires_with_the_first_value() {
    let (members, [a, b, c]) = three();
    let list = DeferredList::new(members).fire_on_one_callback().consume_errors();
    let seen = outcome(list.add_callback(|(index, n)| Ok(format!("{index}: {n}"))));
    a.unwrap().errback(Cancelled);
    assert_eq!(seen.take(), None);
    c.unwrap().callback(3);
    assert_eq!(seen.take(), Some(Ok("2: 3".into())));
    assert!(b.unwrap().is_live());
}

// L1
#[test]
fn a_first_value_list_whose_members_all_fail_reports_all() {
    let (members, [a, b, c]) = three();
    let list = DeferredList::new(members).fire_on_one_callback().into_deferred();
    c.unwrap().errback(Cancelled);
    a.unwrap().errback(Abandoned);
    b.unwrap().errback(Failure::new("third").context("told last"));
    let failure = failure_of(list);
    assert!(failure.to_string().starts_with("all 3 members failed: abandoned"), "{failure}");
    let FailureGroup { failures, .. } = failure.trap().unwrap();
    assert!(failures[0].is::<Abandoned>());
    assert_eq!(failures[1].to_string(), "told last: third");
    assert!(failures[2].is::<Cancelled>());
}

// L1
#[test]
fn an_empty_first_value_list_fails_immediately() {
    let failure = failure_of(DeferredList::<u64>::new([]).fire_on_one_callback().into_deferred());
    assert!(failure.downcast_ref::<FailureGroup>().unwrap().failures.is_empty());
    assert_eq!(failure.to_string(), "the list is empty");
}

// L2
#[test]
fn a_first_error_list_fails_immediately_with_the_index() {
    let (members, [a, b, c]) = three();
    let seen = outcome(DeferredList::new(members).fire_on_one_errback().add_callback(|_| Ok("values")));
    a.unwrap().callback(1);
    b.unwrap().errback(Cancelled);
    assert_eq!(seen.take(), Some(Err("member 1 failed: cancelled".into())));
    assert!(c.unwrap().is_live());
}

// L2
#[test]
fn check_finds_the_error_inside_a_first_error() {
    let failure = failure_of(gather_results([succeed(1), fail(Cancelled)]));
    assert!(failure.check::<Cancelled>().is_some());
    let FirstError { index, failure, .. } = failure.trap().unwrap();
    assert_eq!(index, 1);
    assert!(failure.is::<Cancelled>());
}

// L2
#[test]
fn cancel_others_cancels_before_the_list_fires() {
    let diary = Diary::default();
    let (here, there) = (diary.clone(), diary.clone());
    let (slow, slow_trigger) = Deferred::<u64>::with_canceller(move |_| here.note("cancelled"));
    let (bad, bad_trigger) = Deferred::<u64>::new();
    let list = DeferredList::new([slow, bad]).fire_on_one_errback().cancel_others();
    drop(list.add_errback(move |failure| {
        there.note(failure);
        Ok(vec![])
    }));
    bad_trigger.errback(Abandoned);
    assert!(!slow_trigger.is_live());
    assert!(diary.read().starts_with("cancelled member 1 failed"));
}

// L2
#[test]
fn cancel_others_includes_members_after_a_failed_one() {
    let (late, late_trigger) = Deferred::<u64>::new();
    let list = DeferredList::new([fail(Abandoned), late]).fire_on_one_errback().cancel_others();
    assert!(failure_of(list.into_deferred()).is::<FirstError>());
    assert!(!late_trigger.is_live());
}

// L3
#[test]
fn cancelling_a_list_cancels_every_member_that_has_not_fired() {
    let (members, [a, b, c]) = three();
    let list = DeferredList::new(members).into_deferred();
    b.unwrap().callback(2);
    list.cancel();
    assert!(!a.unwrap().is_live());
    assert!(!c.unwrap().is_live());
    assert!(failure_of(list).is::<Cancelled>());
}

// L3.1
#[test]
fn results_of_cancelled_members_decide_the_list() {
    let held = RefCell::new(Vec::new());
    let with = |canceller: fn(Trigger<u64>)| {
        let (deferred, trigger) = Deferred::with_canceller(canceller);
        held.borrow_mut().push(trigger);
        deferred
    };
    let obliging = || with(|trigger| trigger.callback(7));
    let failing = || with(|trigger| trigger.errback(Abandoned));
    let (plain, _trigger) = Deferred::<u64>::new();
    let list = DeferredList::new([obliging(), failing()]).into_deferred();
    list.cancel();
    assert_eq!(show(value_of(list)), format!("7 {Abandoned}"));
    let all = gather_results([failing(), obliging()]);
    all.cancel();
    assert!(failure_of(all).is::<FirstError>());
    let first = race([plain, obliging()]);
    first.cancel();
    assert_eq!(value_of(first), (1, 7));
}

// L3.1
#[test]
fn every_aggregate_that_is_cancelled_fails_with_cancelled() {
    type Start = fn(Vec<Deferred<u64>>) -> Deferred<()>;
    let starts: [Start; 4] = [
        |members| DeferredList::new(members).add_callback(drop),
        |members| gather_results(members).add_callback(drop),
        |members| race(members).add_callback(drop),
        |members| {
            let [a, b] = <[_; 2]>::try_from(members).unwrap();
            join((a, b)).add_callback(drop)
        },
    ];
    for start in starts {
        let (slow, _trigger) = Deferred::new();
        let (failed, failed_trigger) = Deferred::new();
        let list = start(vec![failed, slow]);
        list.cancel();
        assert!(failure_of(list).is::<Cancelled>());
        drop(failed_trigger);
    }
    // A mirror failed before the deadline.
    let (slow, _trigger) = Deferred::<u64>::new();
    let first = race([fail(Abandoned), slow]);
    first.cancel();
    assert!(failure_of(first).is::<Cancelled>());
}

// L3
#[test]
fn a_panicking_canceller_does_not_stop_the_cancelling() {
    let (good, good_trigger) = Deferred::<u64>::new();
    let (bad, _bad_trigger) = Deferred::<u64>::with_canceller(|_| panic!("first"));
    let (worse, _worse_trigger) = Deferred::<u64>::new();
    let worse = worse.add_errback(|_| -> Result<u64, Failure> { panic!("second") });
    let list = DeferredList::new([bad, worse, good]).into_deferred();
    list.cancel();
    assert!(!good_trigger.is_live());
    assert!(failure_of(list).is::<Cancelled>());
}

// L3
#[test]
fn cancelling_reaches_nested_lists_and_inner_deferreds() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (other, other_trigger) = Deferred::<u64>::new();
    let waiting = succeed(()).add_callback(move |()| inner);
    let list = gather_results([gather_results([waiting]), gather_results([other])]);
    list.cancel();
    assert!(!inner_trigger.is_live());
    assert!(!other_trigger.is_live());
    assert!(failure_of(list).check::<Cancelled>().is_some());
}

// L3
#[test]
fn a_list_is_cancelled_although_a_member_goes_on() {
    let (again, again_trigger) = Deferred::<u64>::new();
    let (stubborn, _trigger) = Deferred::<u64>::new();
    let stubborn = stubborn.add_errback(move |_| again);
    let list = DeferredList::new([stubborn]).into_deferred();
    list.cancel();
    assert!(again_trigger.is_live());
    assert!(failure_of(list).is::<Cancelled>());
    again_trigger.callback(1);
}

// L1
#[test]
fn a_list_may_be_returned_from_a_callback_and_awaited() {
    let (members, triggers) = three();
    let seen = outcome(
        succeed(())
            .add_callback(move |()| DeferredList::new(members).fire_on_one_errback())
            .add_callback(|numbers| Ok(numbers.iter().sum::<u64>())),
    );
    for trigger in triggers {
        trigger.unwrap().callback(2);
    }
    assert_eq!(seen.take(), Some(Ok("6".into())));
    async fn sum(list: DeferredList<u64>) -> Result<usize, Failure> {
        Ok(list.await?.len())
    }
    drop(sum(DeferredList::new([])));
}

// L4
#[test]
fn gather_results_returns_the_values_in_order() {
    let (members, [a, b, c]) = three();
    let all = gather_results(members);
    b.unwrap().callback(2);
    c.unwrap().callback(3);
    a.unwrap().callback(1);
    assert_eq!(value_of(all), [1, 2, 3]);
}

// L4
#[test]
fn a_race_returns_the_first_value_and_cancels_the_losers() {
    let (members, [a, b, c]) = three();
    let first = race(members);
    a.unwrap().errback(Abandoned);
    c.unwrap().callback(3);
    assert!(!b.unwrap().is_live());
    assert_eq!(value_of(first), (2, 3));
}

// L4
#[test]
fn a_race_with_a_fired_member_cancels_the_rest() {
    let (slow, slow_trigger) = Deferred::<u64>::new();
    let (slower, slower_trigger) = Deferred::<u64>::new();
    assert_eq!(value_of(race([slow, succeed(5), slower])), (1, 5));
    assert!(!slow_trigger.is_live());
    assert!(!slower_trigger.is_live());
}

// L4
#[test]
fn a_race_without_a_winner_fails_with_all_failures() {
    let FailureGroup { failures, .. } =
        failure_of(race::<u64>([fail(Cancelled), fail(Abandoned)])).trap().unwrap();
    assert!(failures[0].is::<Cancelled>() && failures[1].is::<Abandoned>());
    assert!(failure_of(race::<u64>([])).is::<FailureGroup>());
}

// L3, L4
#[test]
fn cancelling_a_race_cancels_its_members() {
    let (members, [a, b, c]) = three();
    let first = race(members);
    first.cancel();
    assert!(![a, b, c].iter().any(|trigger| trigger.as_ref().unwrap().is_live()));
    assert!(failure_of(first).is::<Cancelled>());
}

// L4, D6
#[test]
fn a_cancelled_loser_may_cancel_the_race() {
    use std::rc::Rc;
    let canceller: Rc<RefCell<Option<twistor_deferred::Canceller>>> = Rc::default();
    let own = canceller.clone();
    let (loser, _loser_trigger) = Deferred::<u64>::with_canceller(move |_| {
        let own = own.borrow().clone();
        own.unwrap().cancel();
    });
    let (winner, trigger) = Deferred::<u64>::new();
    let first = race([loser, winner]);
    canceller.replace(Some(first.canceller()));
    trigger.callback(1);
    assert!(failure_of(first).is::<Cancelled>());
}

// L4
#[test]
fn join_waits_for_values_of_different_types() {
    let (text, text_trigger) = Deferred::<String>::new();
    let (number, number_trigger) = Deferred::<u8>::new();
    let both = join((text, number));
    number_trigger.callback(1);
    assert!(!both.is_fired());
    text_trigger.callback("one".into());
    assert_eq!(value_of(both), ("one".to_owned(), 1));
    let eight = join((
        succeed(1),
        succeed('2'),
        succeed("3"),
        succeed(4.0),
        succeed(5_u8),
        succeed(()),
        succeed(Some(7)),
        succeed([8]),
    ));
    assert_eq!(value_of(eight), (1, '2', "3", 4.0, 5, (), Some(7), [8]));
}

// L2, L3, L4
#[test]
fn join_fails_with_the_first_error_and_cancels_its_members() {
    let (text, text_trigger) = Deferred::<String>::new();
    let (number, number_trigger) = Deferred::<u8>::new();
    let both = join((text, number));
    number_trigger.errback(Abandoned);
    assert_eq!(failure_of(both).trap::<FirstError>().unwrap().index, 1);
    assert!(text_trigger.is_live());

    let (text, text_trigger) = Deferred::<String>::new();
    let (number, number_trigger) = Deferred::<u8>::new();
    join((text, number)).add_errback(|_| Ok((String::new(), 0))).cancel();
    assert!(!text_trigger.is_live() && !number_trigger.is_live());
}
