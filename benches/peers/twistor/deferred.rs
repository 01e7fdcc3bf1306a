//! Chains of Deferreds.

use std::hint::black_box;

use twistor::deferred::{Deferred, succeed};

use crate::peers::std::deferred::measure;
use crate::runner::child::Arguments;

#[inline(always)]
fn add(mut deferred: Deferred<u64>, captured: u64, length: u64) -> Deferred<u64> {
    for index in 0..length {
        let added = captured + index;
        deferred = deferred.add_callback(move |n| Ok(n.wrapping_add(added)));
    }
    deferred
}

pub fn pending(arguments: &Arguments<'_>) {
    measure(arguments, |captured, length| {
        let (deferred, trigger) = Deferred::<u64>::new();
        let deferred = add(deferred, captured, length);
        black_box(trigger).callback(black_box(1));
        drop(black_box(deferred));
    });
}

/// Ten callbacks, each a different closure, as in a typical program.
pub fn written_out(arguments: &Arguments<'_>) {
    measure(arguments, |captured, _| {
        let (deferred, trigger) = Deferred::<u64>::new();
        let deferred = deferred
            .add_callback(move |n| Ok(n.wrapping_add(captured)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 1)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 2)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 3)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 4)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 5)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 6)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 7)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 8)))
            .add_callback(move |n| Ok(n.wrapping_add(captured + 9)));
        black_box(trigger).callback(black_box(1));
        drop(black_box(deferred));
    });
}

pub fn fired(arguments: &Arguments<'_>) {
    measure(arguments, |captured, length| {
        drop(black_box(add(succeed(black_box(1)), captured, length)));
    });
}

pub fn bare(arguments: &Arguments<'_>) {
    measure(arguments, |_, _| {
        let (deferred, trigger) = Deferred::<u64>::new();
        black_box(trigger).callback(black_box(1));
        drop(black_box(deferred));
    });
}
