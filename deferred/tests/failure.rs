//! Failures: conversion, printing, and the places they name.

mod support;

use std::error::Error;
use std::fmt;
use std::io;
use std::num::ParseIntError;

use support::failure_of;
use twistor_deferred::{Abandoned, Cancelled, Deferred, Failure, fail, gather_results, succeed};

/// An error with a cause.
#[derive(Debug)]
struct NoConfig(io::Error);

impl fmt::Display for NoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no configuration")
    }
}

impl Error for NoConfig {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn no_config() -> NoConfig {
    NoConfig(io::Error::other("the disk is gone"))
}

#[test]
fn a_failure_knows_its_error_by_type() {
    let failure = Failure::new(no_config());
    assert!(failure.is::<NoConfig>());
    assert!(!failure.is::<io::Error>());
    assert!(failure.downcast_ref::<NoConfig>().is_some());
    assert!(failure.error().is::<NoConfig>());
    assert!(failure.trap::<NoConfig>().is_ok());
}

#[test]
fn check_looks_at_the_causes_too() {
    let failure = Failure::new(no_config());
    assert_eq!(failure.check::<io::Error>().unwrap().to_string(), "the disk is gone");
    assert!(failure.check::<Cancelled>().is_none());
    assert_eq!(failure.chain().count(), 2);
}

#[test]
fn a_failure_that_is_not_trapped_comes_back_with_all_it_had() {
    let failure = Failure::new(no_config()).context("starting");
    let place = failure.location();
    let back = failure.trap::<Cancelled>().unwrap_err();
    assert_eq!(back.location(), place);
    assert_eq!(back.to_string(), "starting: no configuration");
}

#[test]
fn one_line_for_people_all_causes_on_request_and_everything_for_programmers() {
    let failure = Failure::new(no_config()).context("reading the port").context("starting");
    assert_eq!(format!("{failure}"), "starting: reading the port: no configuration");
    assert_eq!(format!("{failure:#}"), "starting: reading the port: no configuration: the disk is gone");
    // Each cause stands on a line of its own, also in what derives its `{:#?}` from this one.
    for all in [format!("{failure:?}"), format!("{failure:#?}")] {
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines[0], "starting: reading the port: no configuration");
        assert!(lines[1].starts_with("  error: NoConfig("), "{all}");
        assert!(lines[2].starts_with(&format!("  made at {}:", file!())), "{all}");
        assert_eq!(lines[3..], ["  caused by: the disk is gone"]);
    }
}

#[test]
fn a_failure_tells_where_it_was_made_and_in_which_deferred() {
    let made_at = line!() + 1;
    let failure = Failure::new(Cancelled);
    assert_eq!((failure.location().file(), failure.location().line()), (file!(), made_at));
    assert!(failure.deferred_location().is_none());

    let deferred_at = line!() + 1;
    let (deferred, trigger) = Deferred::<u64>::new();
    trigger.errback(failure);
    let failure = failure_of(deferred);
    assert_eq!(failure.location().line(), made_at);
    assert_eq!(failure.deferred_location().unwrap().line(), deferred_at);
    assert!(format!("{failure:?}").contains(&format!("in the Deferred made at {}:{deferred_at}:", file!())));
    // Of several, the last, which is the one to handle it.
    let last = line!() + 1;
    assert_eq!(failure_of(fail::<()>(failure)).deferred_location().unwrap().line(), last);
}

#[test]
fn a_failure_that_is_not_trapped_still_knows_its_deferred() {
    let failure = failure_of(fail::<u64>(Cancelled));
    let place = failure.deferred_location().unwrap();
    assert_eq!(failure.trap::<Abandoned>().unwrap_err().deferred_location(), Some(place));
}

#[test]
fn a_cause_that_the_error_tells_itself_is_not_told_again() {
    let failure = failure_of(gather_results([fail::<u64>(Cancelled)]));
    assert_eq!(format!("{failure:#}"), "member 0 failed: cancelled");
}

#[test]
fn the_question_mark_makes_one_and_says_where() {
    let line = line!() + 1;
    let failure = failure_of(succeed("x").add_callback(|text| Ok(text.parse::<u64>()?)));
    assert!(failure.is::<ParseIntError>());
    assert_eq!(failure.location().line(), line);
}

#[test]
fn text_can_be_the_error() {
    assert_eq!(Failure::new("out of paper").to_string(), "out of paper");
    assert_eq!(Failure::new(format!("{} pages left", 3)).to_string(), "3 pages left");
}

#[test]
fn a_failure_goes_back_to_code_that_takes_boxed_errors() {
    fn bare() -> Result<(), Box<dyn Error + Send + Sync>> {
        Err(Failure::new(Cancelled))?
    }
    fn with_context() -> Result<(), Box<dyn Error>> {
        Err(Failure::new(no_config()).context("starting"))?
    }
    assert!(bare().unwrap_err().is::<Cancelled>());
    let error = with_context().unwrap_err();
    assert_eq!(error.to_string(), "starting: no configuration");
    assert_eq!(format!("{error:#}"), "starting: no configuration: the disk is gone");
    assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
}

#[test]
fn the_errors_of_this_crate_speak_plainly() {
    assert_eq!(Cancelled.to_string(), "cancelled");
    assert_eq!(Abandoned.to_string(), "abandoned: the trigger was dropped without firing");
}

#[test]
fn a_failure_converts_to_an_error_and_back() {
    fn reported(error: impl Error + Send + Sync + 'static) -> String {
        format!("{error:#}, caused by: {}", error.source().unwrap())
    }
    let failure = Failure::new(no_config()).context("starting");
    let place = failure.location();
    let error = failure.into_error();
    assert!(error.failure().is::<NoConfig>());
    let failure = error.into_failure();
    assert_eq!(failure.location(), place);
    let all = "starting: no configuration: the disk is gone, caused by: the disk is gone";
    assert_eq!(reported(failure.into_error()), all);
}
