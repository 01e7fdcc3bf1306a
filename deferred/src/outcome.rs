//! The values that a callback may return.

use crate::{Deferred, Failure};

/// The result of a callback: `Result<U, Failure>`, `Deferred<U>`, or `()`.
///
/// - `Ok(value)` goes to the next callback, `Err(failure)` to the next errback.
/// - A `Deferred<U>` suspends the chain until it fires. Its result goes to the next stage.
/// - `()` is the same as `Ok(())`.
///
/// With only these three types, Rust infers the result of a closure that ends with `Ok(x)`, uses `?`, or returns a
/// Deferred, without annotations.
///
/// ```
/// use twistor::prelude::*;
///
/// fn double(n: u64) -> Deferred<u64> {
///     succeed(2 * n)
/// }
///
/// let done = succeed("21")
///     .add_callback(|text| Ok(text.parse::<u64>()?)) // a Result
///     .add_callback(double)                          // a Deferred
///     .add_callback(|n| println!("{n}"));            // nothing
/// assert!(matches!(done.try_result(), Ok(Ok(()))));
/// ```
///
/// All branches of a function have one type. If one branch returns a Deferred, the others return
/// [`succeed(value)`](crate::succeed) or [`fail(error)`](crate::fail).
///
/// A plain value is returned as `Ok(value)`. A `Result` with another error type is returned as `Ok(result?)`, because `?`
/// converts any error to a [`Failure`].
///
/// A function that returns a Deferred cannot use `?`. To use `?` and then wait, return the Deferred inside `Ok`, and add
/// a callback that unwraps it:
///
/// ```
/// use twistor::prelude::*;
///
/// fn look_up(id: u64) -> Deferred<String> {
///     succeed(format!("number {id}"))
/// }
///
/// let name = succeed("7").add_callback(|text| Ok(look_up(text.parse()?))).add_callback(|name| name);
/// assert!(matches!(name.try_result(), Ok(Ok(name)) if name == "number 7"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a valid callback result",
    label = "this callback returns `{Self}`",
    note = "return `Ok(value)`, `Err(failure)`, a `Deferred`, or `()`",
    note = "for another error type, write `Ok(result?)`: the `?` converts the error to a `Failure`",
    note = "for a future, return `reactor.spawn(future)`, which is a `Deferred`"
)]
pub trait Outcome {
    /// The type of the value that the next callback receives.
    type Value: 'static;

    /// Converts the outcome to a Deferred, fired or pending.
    fn into_deferred(self) -> Deferred<Self::Value>;
}

impl<T: 'static> Outcome for Result<T, Failure> {
    type Value = T;

    #[inline]
    fn into_deferred(self) -> Deferred<T> {
        Deferred::fired(self.map_err(Into::into))
    }
}

impl<T: 'static> Outcome for Deferred<T> {
    type Value = T;

    #[inline]
    fn into_deferred(self) -> Deferred<T> {
        self
    }
}

impl Outcome for () {
    type Value = ();

    #[inline]
    fn into_deferred(self) -> Deferred<()> {
        Deferred::fired(Ok(()))
    }
}

/// The result of an errback: an [`Outcome`] with the value type of the chain, which the next callback needs in either
/// case.
///
/// Every `Outcome` with the value type `T` is also an `OutcomeOf<T>`. An implementation of one needs the other. The trait
/// exists so that the compiler's error can name both types if they differ.
#[diagnostic::on_unimplemented(
    message = "this errback returns `{Self}`, but the chain continues with `{T}`",
    label = "both sides of a chain must have the same type",
    note = "return `Ok(value)` to recover with another value, or `Err(failure)` to pass the failure on",
    note = "an errback that returns nothing goes to the end of the chain, after a callback that returns nothing, or beside \
            one in `add_callbacks`"
)]
pub trait OutcomeOf<T>: Outcome<Value = T> {}

impl<T: 'static> OutcomeOf<T> for Result<T, Failure> {}

impl<T: 'static> OutcomeOf<T> for Deferred<T> {}

impl OutcomeOf<()> for () {}
