//! When a list fires, and with what.

use std::error::Error;
use std::fmt;

use crate::Failure;

/// When a [`DeferredList`](crate::DeferredList) fires, and with what. It has three modes, and no more can
/// be made.
pub trait ListMode: sealed::Sealed + Sized + 'static {
    /// What the list fires with.
    type Results<T: 'static>: 'static;

    /// The list's result, if this member's decides it; else the member's back, to be kept.
    #[doc(hidden)]
    fn decide<T: 'static>(
        index: usize,
        result: Result<T, Failure>,
    ) -> Result<Result<Self::Results<T>, Failure>, Result<T, Failure>>;

    /// The list's result, when no member's decided it.
    #[doc(hidden)]
    fn complete<T: 'static>(
        results: impl Iterator<Item = Result<T, Failure>>,
    ) -> Result<Self::Results<T>, Failure>;
}

/// A [`ListMode`] in which a list may fire before all its members have.
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

/// The error of a list of which one member failed: which, and how. Twisted's `FirstError`.
///
/// Its source is the member's error, so [`Failure::check`] finds that one through it.
#[derive(Debug)]
pub struct FirstError {
    /// The place of the member in the list.
    pub index: usize,
    /// What it failed with.
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

/// The error of a list of which every member failed, when one success was asked for; also of one without
/// members. Twisted's `FailureGroup`.
#[derive(Debug)]
pub struct FailureGroup {
    /// What the members failed with, in their order in the list.
    pub failures: Vec<Failure>,
}

impl fmt::Display for FailureGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("there was no member that could succeed");
        }
        write!(f, "all {} members failed", self.failures.len())?;
        for (index, failure) in self.failures.iter().enumerate() {
            write!(f, "{} {failure}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for FailureGroup {}
