//! Functions that return fired Deferreds.

use std::panic::Location;

use crate::chain::caught;
use crate::frame::Frame;
use crate::trace::Track;
use crate::{Deferred, Failure, Outcome};

/// Returns a Deferred that has fired with `value`. Twisted: `succeed`.
///
/// Its callbacks run as soon as they are added.
///
/// ```
/// use twistor::prelude::*;
///
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

/// Returns a Deferred that has failed with an error or a [`Failure`]. Twisted: `fail`.
///
/// [`Failure::new`] creates a failure from a message.
///
/// ```
/// use twistor::deferred::Cancelled;
/// use twistor::prelude::*;
///
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

/// Calls `function` and returns its outcome as a Deferred. `function` may return a `Result`, a Deferred, or nothing. If it
/// panics, the Deferred fails with [`Panicked`](crate::Panicked). Twisted: `maybeDeferred`, `execute`.
///
/// ```
/// use twistor::deferred::Panicked;
/// use twistor::prelude::*;
///
/// let n = maybe_deferred(|| -> Result<u64, _> { panic!("oh") })
///     .add_errback(|failure| failure.trap::<Panicked>().map(|_| 0));
/// assert!(matches!(n.try_result(), Ok(Ok(0))));
/// ```
#[track_caller]
pub fn maybe_deferred<O: Outcome>(function: impl FnOnce() -> O) -> Deferred<O::Value> {
    maybe_deferred_at(Location::caller(), function)
}

/// Calls `function` as [`maybe_deferred`] does, and names `place` as the line that created the Deferred. For libraries that
/// call a function later: pass the location where the user supplied it, so that log lines name the user's code.
pub fn maybe_deferred_at<O: Outcome>(
    place: &'static Location<'static>,
    function: impl FnOnce() -> O,
) -> Deferred<O::Value> {
    let _frame = Frame::enter();
    caught(place, || function().into_deferred()).made_at(place)
}
