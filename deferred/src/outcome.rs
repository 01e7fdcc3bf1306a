//! What a callback may return.

use crate::{Deferred, Failure};

/// What a callback may return: `Result<U, Failure>`, `Deferred<U>`, or nothing.
///
/// - `Ok(value)` goes to the next callback, `Err(failure)` to the next errback;
/// - a `Deferred<U>` suspends the chain until it fires, and its result goes on;
/// - `()` is the result `()`.
///
/// There are these three and no more, because with them Rust infers the type of `Ok(x)`, of `?` and of
/// a closure that returns a Deferred, without a word from the user.
///
/// ```
/// use twistor_deferred::{Deferred, succeed};
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
/// A function has one type: where one branch has to wait and another has its value already, the other gives it by
/// [`succeed`](crate::succeed) or [`fail`](crate::fail).
///
/// A plain value is none: it is returned as `Ok(value)`. Nor is a `Result` with another error: `?` makes a [`Failure`]
/// of any error, as in `Ok(result?)`.
///
/// Rust has `?` in functions that return a `Result`, so not in one that returns a Deferred. One that does something that
/// can fail, and then waits, returns the Deferred in an `Ok`, and a callback that takes it out has the chain wait:
///
/// ```
/// # use twistor_deferred::{Deferred, succeed};
/// # fn look_up(id: u64) -> Deferred<String> { succeed(format!("number {id}")) }
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
    /// The type of the result that the next callback gets.
    type Value: 'static;

    /// The outcome as a Deferred, fired or not.
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

/// What an errback may return: an [`Outcome`] of the type that the callbacks before and beside it give, since those
/// behind it get that type either way.
///
/// Every outcome of a `T` is an `OutcomeOf<T>`, and whoever writes one writes both. It is a trait of its own for the sake
/// of what the compiler says where the types differ.
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
