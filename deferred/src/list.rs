//! Several Deferreds, waited for together.

mod gathering;
mod mode;
mod shortcuts;

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::panic::Location;

pub use mode::{EarlyListMode, EveryResult, FailureGroup, FirstError, FirstFailure, FirstValue, ListMode};
pub use shortcuts::{JoinTuple, gather_results, join, race};

use crate::{Deferred, Failure, Outcome, OutcomeOf};

/// Several Deferreds of one type, waited for together. Twisted: `DeferredList`.
///
/// Callbacks are added as to a Deferred. Their argument depends on the mode of the list:
///
/// | created by | fires | with |
/// |---|---|---|
/// | [`new`](DeferredList::new) | when every member has fired | `Vec<Result<T, Failure>>` |
/// | [`fire_on_one_callback`](DeferredList::fire_on_one_callback) | on the first value | `(usize, T)`, or [`FailureGroup`] |
/// | [`fire_on_one_errback`](DeferredList::fire_on_one_errback) | on the first failure | `Vec<T>`, or [`FirstError`] |
///
/// ```
/// use twistor::prelude::*;
///
/// let (page, trigger) = Deferred::<String>::new();
/// DeferredList::new([page, succeed("second".to_owned())])
///     .add_callback(|results| {
///         for result in results {
///             match result {
///                 Ok(text) => println!("{text}"),
///                 Err(failure) => println!("failed: {failure}"),
///             }
///         }
///     })
///     .detach();
/// trigger.callback("first".to_owned());
/// ```
///
/// A list can be returned from a callback and can be awaited. [`into_deferred`](DeferredList::into_deferred) converts it
/// to a Deferred. Each of these, and adding a callback, starts the list; until then it does not observe its members.
///
/// # Ordering
/// Results are in the order of the members, not of their arrival. An empty list fires immediately.
///
/// # Errors
/// By default the results include the failures, for the callback to handle. In the other two modes, a failure that is not
/// passed on is logged as unhandled, unless [`consume_errors`](DeferredList::consume_errors) is set.
///
/// # Cancelling
/// Cancelling the list's Deferred cancels every member that has not fired. The list then fails with
/// [`Cancelled`](crate::Cancelled), unless results of the members decide it: the value that a first-value list waits for,
/// an error other than `Cancelled`, or a result of every member. Members that do not fire even then are left alone.
///
/// # Cancel safety
/// Dropping a list after it was polled cancels it. Values that the members have already delivered are lost.
#[must_use = "a list does nothing until a callback is added, or it is awaited or returned"]
pub struct DeferredList<T: 'static, M: ListMode = EveryResult> {
    members: Vec<Deferred<T>>,
    options: ListOptions,
    made_at: &'static Location<'static>,
    mode: PhantomData<fn() -> M>,
}

/// How a list treats failures and members that its result does not need.
#[derive(Debug, Clone, Copy, Default)]
struct ListOptions {
    consume_errors: bool,
    cancel_others: bool,
}

impl<T: 'static> DeferredList<T> {
    /// Creates a list that fires when every member has fired, with all results in the order of the members.
    #[track_caller]
    pub fn new(members: impl IntoIterator<Item = Deferred<T>>) -> DeferredList<T> {
        DeferredList {
            members: members.into_iter().collect(),
            options: ListOptions::default(),
            made_at: Location::caller(),
            mode: PhantomData,
        }
    }

    /// Makes the list fire with the first value and its index. It fails with [`FailureGroup`] if every member fails, or the
    /// list is empty. Twisted: `fireOnOneCallback`.
    ///
    /// ```
    /// use twistor::deferred::Abandoned;
    /// use twistor::prelude::*;
    ///
    /// let first = DeferredList::new([fail(Abandoned), succeed("mirror")])
    ///     .fire_on_one_callback()
    ///     .consume_errors()
    ///     .into_deferred();
    /// assert!(matches!(first.try_result(), Ok(Ok((1, "mirror")))));
    /// ```
    pub fn fire_on_one_callback(self) -> DeferredList<T, FirstValue> {
        self.in_mode()
    }

    /// Makes the list fail with the first failure, as a [`FirstError`]. Without a failure, it fires with all values in the
    /// order of the members. Twisted: `fireOnOneErrback`.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let all = DeferredList::new([succeed(1), succeed(2)])
    ///     .fire_on_one_errback()
    ///     .add_callback(|numbers| Ok(numbers.iter().sum::<u64>()));
    /// assert!(matches!(all.try_result(), Ok(Ok(3))));
    /// ```
    pub fn fire_on_one_errback(self) -> DeferredList<T, FirstFailure> {
        self.in_mode()
    }
}

impl<T: 'static, M: EarlyListMode> DeferredList<T, M> {
    /// Drops failures that are not passed on, instead of logging them as unhandled. Twisted: `consumeErrors`.
    pub fn consume_errors(mut self) -> Self {
        self.options.consume_errors = true;
        self
    }

    /// Cancels the remaining members as soon as the result is decided, before the list fires. Their results are dropped.
    pub fn cancel_others(mut self) -> Self {
        self.options.cancel_others = true;
        self
    }
}

impl<T: 'static, M: ListMode> DeferredList<T, M> {
    fn in_mode<N: ListMode>(self) -> DeferredList<T, N> {
        let DeferredList { members, options, made_at, mode: _ } = self;
        DeferredList { members, options, made_at, mode: PhantomData }
    }

    /// Starts the list, and returns the Deferred of its result.
    pub fn into_deferred(self) -> Deferred<M::Results<T>> {
        gathering::start::<T, M>(self.members, self.options, self.made_at)
    }

    /// Starts the list. Then as [`Deferred::add_callback`].
    #[track_caller]
    pub fn add_callback<O: Outcome>(
        self,
        callback: impl FnOnce(M::Results<T>) -> O + 'static,
    ) -> Deferred<O::Value> {
        self.into_deferred().add_callback(callback)
    }

    /// Starts the list. Then as [`Deferred::add_errback`].
    #[track_caller]
    pub fn add_errback<O: OutcomeOf<M::Results<T>>>(
        self,
        errback: impl FnOnce(Failure) -> O + 'static,
    ) -> Deferred<M::Results<T>> {
        self.into_deferred().add_errback(errback)
    }

    /// Starts the list. Then as [`Deferred::add_callbacks`].
    #[track_caller]
    pub fn add_callbacks<O: Outcome, P: OutcomeOf<O::Value>>(
        self,
        callback: impl FnOnce(M::Results<T>) -> O + 'static,
        errback: impl FnOnce(Failure) -> P + 'static,
    ) -> Deferred<O::Value> {
        self.into_deferred().add_callbacks(callback, errback)
    }

    /// Starts the list. Then as [`Deferred::add_both`].
    #[track_caller]
    pub fn add_both<O: Outcome>(
        self,
        function: impl FnOnce(Result<M::Results<T>, Failure>) -> O + 'static,
    ) -> Deferred<O::Value> {
        self.into_deferred().add_both(function)
    }
}

impl<T: 'static, M: ListMode> From<DeferredList<T, M>> for Deferred<M::Results<T>> {
    fn from(list: DeferredList<T, M>) -> Self {
        list.into_deferred()
    }
}

impl<T: 'static, M: ListMode> Outcome for DeferredList<T, M> {
    type Value = M::Results<T>;

    fn into_deferred(self) -> Deferred<Self::Value> {
        DeferredList::into_deferred(self)
    }
}

impl<T: 'static, M: ListMode> OutcomeOf<M::Results<T>> for DeferredList<T, M> {}

impl<T: 'static, M: ListMode> IntoFuture for DeferredList<T, M> {
    type Output = Result<M::Results<T>, Failure>;
    type IntoFuture = Deferred<M::Results<T>>;

    fn into_future(self) -> Self::IntoFuture {
        self.into_deferred()
    }
}

impl<T: 'static, M: ListMode> fmt::Debug for DeferredList<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeferredList").field(&self.members).finish()
    }
}
