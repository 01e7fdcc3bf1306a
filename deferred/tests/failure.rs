//! Failures: conversion, printing, and the places they name.

mod support;

use std::error::Error;
use std::fmt;
use std::io;
use std::num::ParseIntError;

use support::failure_of;
use twistor_deferred::{Abandoned, Cancelled, Deferred, Failure, fail, gather_results, succeed};

/// An error with a source.
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
fn a_failure_has_the_type_of_its_error() {
    let failure = Failure::new(no_config());
    assert!(failure.is::<NoConfig>());
    assert!(!failure.is::<io::Error>());
    assert!(failure.downcast_ref::<NoConfig>().is_some());
    assert!(failure.error().is::<NoConfig>());
    assert!(failure.trap::<NoConfig>().is_ok());
}

#[test]
fn check_considers_the_sources() {
    let failure = Failure::new(no_config());
    assert_eq!(failure.check::<io::Error>().unwrap().to_string(), "the disk is gone");
    assert!(failure.check::<Cancelled>().is_none());
    assert_eq!(failure.chain().count(), 2);
}

#[test]
fn trap_returns_another_failure_unchanged() {
    let failure = Failure::new(no_config()).context("starting");
    let place = failure.location();
    let back = failure.trap::<Cancelled>().unwrap_err();
    assert_eq!(back.location(), place);
    assert_eq!(back.to_string(), "starting: no configuration");
}

#[test]
fn the_three_formats_of_a_failure() {
    let failure = Failure::new(no_config()).context("reading the port").context("starting");
    assert_eq!(format!("{failure}"), "starting: reading the port: no configuration");
    assert_eq!(format!("{failure:#}"), "starting: reading the port: no configuration: the disk is gone");
    // Each source has its own line, also in the `{:#?}` of types that derive it.
    for all in [format!("{failure:?}"), format!("{failure:#?}")] {
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines[0], "starting: reading the port: no configuration");
        assert!(lines[1].starts_with("  error: NoConfig("), "{all}");
        assert!(lines[2].starts_with(&format!("  made at {}:", file!())), "{all}");
        assert_eq!(lines[3..], ["  caused by: the disk is gone"]);
    }
}

#[test]
fn a_failure_has_its_location_and_that_of_its_deferred() {
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
    // The last of several Deferreds counts: its chain lacks the errback.
    let last = line!() + 1;
    assert_eq!(failure_of(fail::<()>(failure)).deferred_location().unwrap().line(), last);
}

#[test]
fn trap_keeps_the_location_of_the_deferred() {
    let failure = failure_of(fail::<u64>(Cancelled));
    let place = failure.deferred_location().unwrap();
    assert_eq!(failure.trap::<Abandoned>().unwrap_err().deferred_location(), Some(place));
}

#[test]
fn a_source_that_the_error_prints_is_not_repeated() {
    let failure = failure_of(gather_results([fail::<u64>(Cancelled)]));
    assert_eq!(format!("{failure:#}"), "member 0 failed: cancelled");
}

#[test]
fn the_question_mark_records_its_location() {
    let line = line!() + 1;
    let failure = failure_of(succeed("x").add_callback(|text| Ok(text.parse::<u64>()?)));
    assert!(failure.is::<ParseIntError>());
    assert_eq!(failure.location().line(), line);
}

#[test]
fn a_message_can_be_the_error() {
    assert_eq!(Failure::new("out of paper").to_string(), "out of paper");
    assert_eq!(Failure::new(format!("{} pages left", 3)).to_string(), "3 pages left");
}

#[test]
fn a_failure_converts_to_a_boxed_error() {
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
fn the_error_texts_of_cancelled_and_abandoned() {
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
