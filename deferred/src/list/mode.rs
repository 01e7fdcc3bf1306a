//! The modes of a list: when it fires, and with which result.

use std::error::Error;
use std::fmt;

use crate::Failure;

/// When a [`DeferredList`](crate::DeferredList) fires, and with which result. The trait is sealed: its implementations are
/// [`EveryResult`], [`FirstValue`] and [`FirstFailure`].
pub trait ListMode: sealed::Sealed + Sized + 'static {
    /// The type of the value that the list fires with.
    type Results<T: 'static>: 'static;

    /// Returns the result of the list if that of one member decides it, and otherwise the member's result, to be stored.
    #[doc(hidden)]
    fn decide<T: 'static>(
        index: usize,
        result: Result<T, Failure>,
    ) -> Result<Result<Self::Results<T>, Failure>, Result<T, Failure>>;

    /// Returns the result of the list if no single member has decided it.
    #[doc(hidden)]
    fn complete<T: 'static>(
        results: impl Iterator<Item = Result<T, Failure>>,
    ) -> Result<Self::Results<T>, Failure>;
}

/// A [`ListMode`] in which a list may fire before all of its members.
pub trait EarlyListMode: ListMode {}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals the traits")]
    pub trait Sealed {}
    impl Sealed for super::EveryResult {}
    impl Sealed for super::FirstValue {}
    impl Sealed for super::FirstFailure {}
}

/// The mode of a [`DeferredList`](crate::DeferredList) that waits for every result.
#[derive(Debug)]
pub enum EveryResult {}

impl ListMode for EveryResult {
    type Results<T: 'static> = Vec<Result<T, Failure>>;

    fn decide<T: 'static>(
        _: usize,
        result: Result<T, Failure>,
    ) -> Result<Result<Self::Results<T>, Failure>, Result<T, Failure>> {
        Err(result)
    }

    fn complete<T: 'static>(
        results: impl Iterator<Item = Result<T, Failure>>,
    ) -> Result<Self::Results<T>, Failure> {
        Ok(results.collect())
    }
}

/// The mode of a [`DeferredList`](crate::DeferredList) that waits for one value.
#[derive(Debug)]
pub enum FirstValue {}

impl ListMode for FirstValue {
    type Results<T: 'static> = (usize, T);

    fn decide<T: 'static>(
        index: usize,
        result: Result<T, Failure>,
    ) -> Result<Result<Self::Results<T>, Failure>, Result<T, Failure>> {
        match result {
            Ok(value) => Ok(Ok((index, value))),
            Err(failure) => Err(Err(failure)),
        }
    }

    fn complete<T: 'static>(
        results: impl Iterator<Item = Result<T, Failure>>,
    ) -> Result<Self::Results<T>, Failure> {
        Err(FailureGroup { failures: results.filter_map(Result::err).collect() }.into())
    }
}

impl EarlyListMode for FirstValue {}

/// The mode of a [`DeferredList`](crate::DeferredList) that waits for one failure.
#[derive(Debug)]
pub enum FirstFailure {}

impl ListMode for FirstFailure {
    type Results<T: 'static> = Vec<T>;

    fn decide<T: 'static>(
        index: usize,
        result: Result<T, Failure>,
    ) -> Result<Result<Self::Results<T>, Failure>, Result<T, Failure>> {
        match result {
            Ok(value) => Err(Ok(value)),
            Err(failure) => Ok(Err(FirstError { index, failure }.into())),
        }
    }

    fn complete<T: 'static>(
        results: impl Iterator<Item = Result<T, Failure>>,
    ) -> Result<Self::Results<T>, Failure> {
        results.collect()
    }
}

impl EarlyListMode for FirstFailure {}

/// The error of a list that fails with the first failure of a member. Twisted: `FirstError`.
///
/// Its source is the error of the member, so [`Failure::check`] finds that error.
#[derive(Debug)]
#[non_exhaustive]
pub struct FirstError {
    /// The index of the member.
    pub index: usize,
    /// The failure of the member.
    pub failure: Failure,
}

impl fmt::Display for FirstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} failed: {}", self.index, self.failure)
    }
}

impl Error for FirstError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.failure.error())
    }
}

/// The error of a list that waits for a value if every member fails, or the list is empty. Twisted: `FailureGroup`.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailureGroup {
    /// The failures, in the order of the members.
    pub failures: Vec<Failure>,
}

impl fmt::Display for FailureGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("the list is empty");
        }
        write!(f, "all {} members failed", self.failures.len())?;
        for (index, failure) in self.failures.iter().enumerate() {
            write!(f, "{} {failure}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for FailureGroup {}
