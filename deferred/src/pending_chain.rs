//! The handle of a chain that has not fired, or had not when it was last polled or extended.

use std::mem::ManuallyDrop;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::Deferred;
use crate::chain::{Added, AnyStage, Node};
use crate::deferred::DeferredState;
use crate::failure::{Settled, Unhandled};
use crate::frame::{self, Frame};
use crate::late::{late, later};
use crate::origin::{self, Origin};
use crate::slot::{Chain, Out, Slot};
use crate::stage_function::StageFunction;
use crate::trace::StageTrack;

/// A chain that had not fired when it was last polled or extended: its last node, whose result only this handle can read.
/// While the chain waits, the slot of that node holds the origin.
///
/// The two own each other until the chain fires or the handle is dropped. `None` after [`into_ends`](Self::into_ends).
pub(crate) struct PendingChain<T>(Option<Rc<Node<T, dyn AnyStage>>>);

/// The origin and the last node of a chain.
pub(crate) type Ends<T> = (Rc<dyn Origin>, Rc<Node<T, dyn AnyStage>>);

impl<T> PendingChain<T> {
    /// Creates the handle of a chain whose last slot is closed.
    #[inline]
    pub(crate) fn new(origin: Rc<dyn Origin>, end: Rc<Node<T, dyn AnyStage>>) -> PendingChain<T> {
        end.out.put(Slot::Open(origin));
        PendingChain::of(end)
    }

    #[inline]
    pub(crate) fn of(end: Rc<Node<T, dyn AnyStage>>) -> PendingChain<T> {
        PendingChain(Some(end))
    }

    /// Returns the last node. `None` does not occur.
    #[inline]
    fn into_end(self) -> Option<Rc<Node<T, dyn AnyStage>>> {
        // Dropping the handle would close the slot and cancel an awaited source.
        ManuallyDrop::new(self).0.take()
    }

    /// Returns both ends of a chain that waits, so that the result can be sent on. The last slot is closed then.
    pub(crate) fn into_ends(self) -> Option<Ends<T>> {
        let end = self.into_end()?;
        match end.out.take() {
            Slot::Open(origin) => Some((origin, end)),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn out(&self) -> Option<&Out<T>> {
        self.0.as_ref().map(|end| &end.out)
    }

    /// Returns the origin of a chain that waits.
    pub(crate) fn origin(&self) -> Option<Rc<dyn Origin>> {
        self.out()?.origin()
    }

    /// Takes the result, if it has arrived.
    #[inline]
    pub(crate) fn read(&self) -> Option<(Settled<T>, Chain)> {
        self.out()?.read()
    }

    pub(crate) fn has_result(&self) -> bool {
        self.out().is_some_and(Out::has_result)
    }

    #[cfg(feature = "trace")]
    pub(crate) fn look_at_result(&self, look: impl FnOnce(&Settled<T>)) {
        if let Some(out) = self.out() {
            out.look_at_result(look);
        }
    }

    /// Returns whether the result is a lent value, which returns to its source if it is dropped unread.
    pub(crate) fn is_lent(&self) -> bool {
        self.out().is_some_and(Out::is_lent)
    }

    /// Stores `waker`, to be woken by the result. Returns false if the last stage cannot store one.
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        self.0.as_ref().is_some_and(|end| end.stage.set_waker(waker))
    }

    /// Drops the handle without cancelling.
    pub(crate) fn detach(self) {
        if let Some(end) = &self.0 {
            end.stage.forget_waker();
        }
    }
}

impl<T> Drop for PendingChain<T> {
    /// Drops a result that is now unreadable. The trigger of a cancelled Deferred may keep the node alive for longer.
    #[inline]
    fn drop(&mut self) {
        if let Some(end) = &self.0 {
            match end.out.take_open() {
                Some(origin) => {
                    if end.stage.give_up() {
                        cancel_awaited(origin);
                    }
                }
                None => end.out.discard(),
            }
        }
    }
}

/// Cancels a source whose awaiting task dropped the Deferred.
#[cold]
fn cancel_awaited(origin: Rc<dyn Origin>) {
    if std::thread::panicking() {
        // While a panic unwinds, a canceller would see half-changed state. It runs after the panic is caught.
        frame::park(Box::new(move || origin::cancel(origin)));
    } else {
        origin::cancel(origin);
    }
}

impl<T: 'static> PendingChain<T> {
    // Inlined for the reason of `Deferred::then`. Out of line, adding to a pending chain takes half as long again.
    #[inline(always)]
    pub(crate) fn then<C: StageFunction<T>>(
        self,
        callback: C,
        place: &'static Location<'static>,
        step: StageTrack,
    ) -> Deferred<C::Value> {
        // `None` does not occur.
        let Some(end) = self.into_end() else { return Deferred::fired(Err(Unhandled::taken())) };
        match end.out.take_open() {
            Some(origin) => {
                let node = Node::<C::Value, Added<T, C>>::added(callback, place, step);
                end.out.put(Slot::Next(node.clone()));
                Deferred::of(DeferredState::Pending(PendingChain::new(origin, node)))
            }
            None => match end.out.read() {
                Some((input, chain)) => match Frame::within_depth() {
                    Some(_frame) => late(chain, input, callback, place, &step),
                    None => later(chain, input, callback, place, step),
                },
                // Does not occur.
                None => Deferred::fired(Err(Unhandled::taken())),
            },
        }
    }
}
