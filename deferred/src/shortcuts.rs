//! Deferreds that have fired already.

use std::panic::Location;

use crate::chain::caught;
use crate::frame::Frame;
use crate::trace::Track;
use crate::{Deferred, Failure, Outcome};

/// A Deferred that has fired with `value`. Twisted's `succeed`.
///
/// Its callbacks run as they are added.
///
/// ```
/// # use twistor_deferred::succeed;
/// let n = succeed(20).add_callback(|n| Ok(n + 1));
/// assert!(matches!(n.try_result(), Ok(Ok(21))));
/// ```
#[inline]
#[track_caller]
pub fn succeed<T: 'static>(value: T) -> Deferred<T> {
    let (track, result) = (Track::new(Location::caller()), Ok(value));
    track.fired(&result);
    Deferred::fired(result).tracked(track)
}

/// A Deferred that has failed. Twisted's `fail`.
///
/// Of text, [`Failure::new`] makes an error.
///
/// ```
/// # use twistor_deferred::{fail, Cancelled};
/// let n = fail(Cancelled).add_errback(|failure| if failure.is::<Cancelled>() { Ok(0) } else { Err(failure) });
/// assert!(matches!(n.try_result(), Ok(Ok(0))));
/// ```
#[track_caller]
pub fn fail<T: 'static>(failure: impl Into<Failure>) -> Deferred<T> {
    let (failure, place) = (failure.into(), Location::caller());
    let (track, result) = (Track::new(place), Err(failure.into()));
    track.fired(&result);
    Deferred::fired(result).made_at(place).tracked(track)
}

/// Calls `function` and gives its outcome as a Deferred, whatever it is: a value, an error, a Deferred,
/// or a panic, which becomes the failure [`Panicked`](crate::Panicked). Twisted's `maybeDeferred`.
///
/// ```
/// # use twistor_deferred::{maybe_deferred, Panicked};
/// let n = maybe_deferred(|| -> Result<u64, _> { panic!("oh") })
///     .add_errback(|failure| failure.trap::<Panicked>().map(|_| 0));
/// assert!(matches!(n.try_result(), Ok(Ok(0))));
/// ```
#[track_caller]
pub fn maybe_deferred<O: Outcome>(function: impl FnOnce() -> O) -> Deferred<O::Value> {
    maybe_deferred_at(Location::caller(), function)
}

/// Calls `function` as [`maybe_deferred`] does, in the name of `place`. For libraries that run a function later: `place`
/// is where they were given it, so that a log line names the user's code.
pub fn maybe_deferred_at<O: Outcome>(
    place: &'static Location<'static>,
    function: impl FnOnce() -> O,
) -> Deferred<O::Value> {
    let _frame = Frame::enter();
    caught(place, || function().into_deferred()).made_at(place)
}

/// Calls `function` and gives its result as a Deferred that has fired. Twisted's `execute`.
///
/// It differs from [`maybe_deferred`] in taking only functions that have their result at once.
///
/// ```
/// # use twistor_deferred::execute;
/// let n = execute(|| Ok("21".parse::<u64>()?));
/// assert!(matches!(n.try_result(), Ok(Ok(21))));
/// ```
#[track_caller]
pub fn execute<T: 'static>(function: impl FnOnce() -> Result<T, Failure>) -> Deferred<T> {
    maybe_deferred(function)
}
