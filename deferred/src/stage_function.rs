//! User code in its four forms: for the value, for the failure, for either, and for both.

use crate::failure::Settled;
use crate::trace::StageKind;
use crate::{Deferred, Failure, Outcome};

pub(crate) trait StageFunction<T>: 'static {
    const KIND: StageKind;
    type Value: 'static;
    fn call(self, input: Settled<T>) -> Deferred<Self::Value>;
}

pub(crate) struct OnValue<F>(pub(crate) F);
pub(crate) struct OnFailure<F>(pub(crate) F);
pub(crate) struct OnEither<F, G>(pub(crate) F, pub(crate) G);
pub(crate) struct OnBoth<F>(pub(crate) F);

impl<T: 'static, O: Outcome, F: FnOnce(T) -> O + 'static> StageFunction<T> for OnValue<F> {
    const KIND: StageKind = StageKind::Callback;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        match input {
            Ok(value) => (self.0)(value).into_deferred(),
            Err(failure) => Deferred::fired(Err(failure)),
        }
    }
}

impl<T: 'static, O: Outcome<Value = T>, F: FnOnce(Failure) -> O + 'static> StageFunction<T> for OnFailure<F> {
    const KIND: StageKind = StageKind::Errback;
    type Value = T;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<T> {
        match input {
            Ok(value) => Deferred::fired(Ok(value)),
            Err(failure) => (self.0)(failure.into_failure()).into_deferred(),
        }
    }
}

impl<T, O, P, F, G> StageFunction<T> for OnEither<F, G>
where
    T: 'static,
    O: Outcome,
    P: Outcome<Value = O::Value>,
    F: FnOnce(T) -> O + 'static,
    G: FnOnce(Failure) -> P + 'static,
{
    const KIND: StageKind = StageKind::Callbacks;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        match input {
            Ok(value) => (self.0)(value).into_deferred(),
            Err(failure) => (self.1)(failure.into_failure()).into_deferred(),
        }
    }
}

impl<T: 'static, O: Outcome, F: FnOnce(Result<T, Failure>) -> O + 'static> StageFunction<T> for OnBoth<F> {
    const KIND: StageKind = StageKind::Both;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        (self.0)(input.map_err(|failure| failure.into_failure())).into_deferred()
    }
}
