//! Callbacks that are added to a chain that has fired. They run at once.

use std::panic::Location;
use std::rc::Rc;

use crate::Deferred;
use crate::chain::{self, Added, Awaited, Node};
use crate::deferred::DeferredState;
use crate::failure::{Settled, Unhandled};
use crate::frame::Frame;
use crate::origin::{self, Origin};
use crate::pending_chain::PendingChain;
use crate::slot::{Chain, Slot};
use crate::stage_function::StageFunction;
use crate::trace::StageTrack;
use crate::trigger::ChainSource;

/// Runs a callback added to a fired Deferred whose chain is gone.
#[inline(always)]
pub(crate) fn fired<T: 'static, C: StageFunction<T>>(
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: StageTrack,
) -> Deferred<C::Value> {
    let Some(_frame) = Frame::within_depth() else {
        return later(Chain { made_at: place, origin: None }, input, callback, place, step).apart();
    };
    step.entered(&input);
    let outcome = chain::caught(place, || callback.call(input));
    step.left(&outcome.0, &outcome.1);
    match outcome.0 {
        DeferredState::Pending(inner) => inner.returned_late(Chain { made_at: place, origin: None }).apart(),
        fired => Deferred::of(fired).made_at(place),
    }
}

/// Runs a callback added after the result of `chain` had arrived in its last node.
#[cold]
pub(crate) fn late<T: 'static, C: StageFunction<T>>(
    chain: Chain,
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: &StageTrack,
) -> Deferred<C::Value> {
    step.entered(&input);
    let outcome = chain::caught(place, || callback.call(input));
    step.left(&outcome.0, &outcome.1);
    match outcome.0 {
        DeferredState::Pending(inner) => inner.returned_late(chain),
        fired => Deferred::of(fired).made_at(chain.made_at).in_chain_of(chain.origin),
    }
}

/// Adds a callback to a fired chain, and parks its call because the stack is too deep.
#[cold]
#[inline(never)]
pub(crate) fn later<T: 'static, C: StageFunction<T>>(
    chain: Chain,
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: StageTrack,
) -> Deferred<C::Value> {
    let origin = chain.origin.unwrap_or_else(|| ChainSource::<T>::fired_at(chain.made_at));
    let node = Node::<C::Value, Added<T, C>>::added(callback, place, step);
    let pending = PendingChain::new(origin.clone(), node.clone());
    chain::drive_later(origin, node, input);
    Deferred::of(DeferredState::Pending(pending))
}

impl<T: 'static> PendingChain<T> {
    /// Makes the Deferred that a late callback returned the rest of `chain`, which had fired.
    #[cold]
    pub(crate) fn returned_late(self, chain: Chain) -> Deferred<T> {
        if let Some((result, _)) = self.read() {
            return Deferred::fired(result).in_chain_of(chain.origin);
        }
        let Some((origin, end)) = self.into_ends() else { return Deferred::fired(Err(Unhandled::taken())) };
        // Without a `Canceller` of either chain, the two are indistinguishable from outside.
        if !chain.origin.as_ref().is_some_and(origin::is_watched) && !origin::is_watched(&origin) {
            end.stage.forget_waker();
            return Deferred::of(DeferredState::Pending(PendingChain::new(origin, end)));
        }
        let outer = chain.origin.unwrap_or_else(|| ChainSource::<T>::fired_at(chain.made_at));
        // Not `Slot::Forward`, which would bypass the waker.
        let last = Rc::<Node<T, Awaited>>::default();
        chain::join((origin, end), Slot::Next(last.clone()), &outer);
        Deferred::of(DeferredState::Pending(PendingChain::new(outer, last)))
    }
}

impl<T: 'static> Deferred<T> {
    /// Keeps a result in its chain while a [`Canceller`](crate::Canceller) of the chain exists, so that the canceller also
    /// reaches the Deferreds that later callbacks return.
    #[inline]
    pub(crate) fn in_chain_of(self, origin: Option<Rc<dyn Origin>>) -> Deferred<T> {
        match (self.0, origin) {
            (DeferredState::Fired(result), Some(origin)) if origin::is_watched(&origin) => {
                let end = Node::with(Slot::watched(result, origin), Awaited::default());
                Deferred::of(DeferredState::Pending(PendingChain::of(end)))
            }
            (state, _) => Deferred::of(state),
        }
    }
}
