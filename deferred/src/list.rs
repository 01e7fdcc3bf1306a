//! Many Deferreds as one.

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

/// Many Deferreds of one type, waited for together. Twisted's `DeferredList`.
///
/// Callbacks are added to it as to a Deferred, and what they get depends on when it is to fire:
///
/// | made by | fires | with |
/// |---|---|---|
/// | [`new`](DeferredList::new) | when every member has | `Vec<Result<T, Failure>>` |
/// | [`fire_on_one_callback`](DeferredList::fire_on_one_callback) | on the first value | `(usize, T)`, or [`FailureGroup`] |
/// | [`fire_on_one_errback`](DeferredList::fire_on_one_errback) | on the first failure | `Vec<T>`, or [`FirstError`] |
///
/// ```
/// use twistor_deferred::{Deferred, DeferredList, Failure, succeed};
///
/// let (page, trigger) = Deferred::<String>::new();
/// DeferredList::new([page, succeed("second".to_owned())]).add_callback(|results| {
///     for result in results {
///         match result {
///             Ok(text) => println!("{text}"),
///             Err(failure) => println!("failed: {failure}"),
///         }
///     }
/// });
/// trigger.callback("first".to_owned());
/// ```
///
/// Where a plain Deferred is wanted, [`into_deferred`](DeferredList::into_deferred) gives it; a list may
/// be returned from a callback, and awaited, as it is. It begins to listen to its members when the first
/// of these is done.
///
/// # Ordering
/// Results stand in the order of the members, whenever each of them came. An empty list fires at once.
///
/// # Errors
/// In the first mode the failures are in the list of results, for its receiver to handle. In the other
/// two, a failure that came too late to be passed on, or before the value that won, is logged as
/// unhandled, unless [`consume_errors`](DeferredList::consume_errors) says not to.
///
/// # Cancelling
/// Cancelling the list's Deferred cancels every member that has not fired. The list fails with
/// [`Cancelled`](crate::Cancelled), unless the members' own results decide it: a value for the first mode that waits for
/// one, an error other than `Cancelled`, or a result of every member. Members that do not fire even then are left alone.
///
/// # Cancel safety
/// Dropping a list that was awaited cancels it. Values that its members have delivered to it are lost.
#[must_use = "a list listens to its members when a callback is added to it"]
pub struct DeferredList<T: 'static, M: ListMode = EveryResult> {
    members: Vec<Deferred<T>>,
    options: ListOptions,
    made_at: &'static Location<'static>,
    mode: PhantomData<fn() -> M>,
}

/// What a list does with the failures and the members it does not need.
#[derive(Debug, Clone, Copy, Default)]
struct ListOptions {
    consume_errors: bool,
    cancel_others: bool,
}

impl<T: 'static> DeferredList<T> {
    /// A list that fires when every member has, with the result of each in the order of the members.
    #[track_caller]
    pub fn new(members: impl IntoIterator<Item = Deferred<T>>) -> DeferredList<T> {
        DeferredList {
            members: members.into_iter().collect(),
            options: ListOptions::default(),
            made_at: Location::caller(),
            mode: PhantomData,
        }
    }

    /// Fires on the first value, with its index, whatever has failed before. When every member has failed,
    /// and when there is none, it fails with [`FailureGroup`]. Twisted's `fireOnOneCallback`.
    ///
    /// ```
    /// use twistor_deferred::{Abandoned, DeferredList, fail, succeed};
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

    /// Fires on the first failure, with [`FirstError`]; when there was none, with the values in the order of
    /// the members. Twisted's `fireOnOneErrback`.
    ///
    /// ```
    /// use twistor_deferred::{DeferredList, succeed};
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
    /// Drops the failures the list has no use for, where they would be logged as unhandled. Twisted's
    /// `consumeErrors`.
    pub fn consume_errors(mut self) -> Self {
        self.options.consume_errors = true;
        self
    }

    /// Cancels the members that have not fired when the result is known, just before the list fires. What
    /// they make of that is dropped.
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

    /// The list as one Deferred.
    pub fn into_deferred(self) -> Deferred<M::Results<T>> {
        gathering::start::<T, M>(self.members, self.options, self.made_at)
    }

    /// As [`Deferred::add_callback`].
    #[track_caller]
    pub fn add_callback<O: Outcome>(
        self,
        callback: impl FnOnce(M::Results<T>) -> O + 'static,
    ) -> Deferred<O::Value> {
        self.into_deferred().add_callback(callback)
    }

    /// As [`Deferred::add_errback`].
    #[track_caller]
    pub fn add_errback<O: OutcomeOf<M::Results<T>>>(
        self,
        errback: impl FnOnce(Failure) -> O + 'static,
    ) -> Deferred<M::Results<T>> {
        self.into_deferred().add_errback(errback)
    }

    /// As [`Deferred::add_callbacks`].
    #[track_caller]
    pub fn add_callbacks<O: Outcome, P: OutcomeOf<O::Value>>(
        self,
        callback: impl FnOnce(M::Results<T>) -> O + 'static,
        errback: impl FnOnce(Failure) -> P + 'static,
    ) -> Deferred<O::Value> {
        self.into_deferred().add_callbacks(callback, errback)
    }

    /// As [`Deferred::add_both`].
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
