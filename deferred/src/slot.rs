//! Where the result of a stage is, or where it goes.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use crate::chain::{AnyStage, NextStage, Node, Settled};
use crate::lent::Lent;

pub(crate) enum Slot<T> {
    /// No result yet, and nothing to take it but a handle.
    Open,
    /// No result yet, and the handle is gone.
    Closed,
    /// The next stage takes it.
    Next(Rc<dyn NextStage<T>>),
    /// It is the result of that node, whose callback returned the Deferred that ends here.
    Forward(Rc<Node<T, dyn AnyStage>>),
    /// The result, for the handle to pick up.
    Done(Settled<T>),
    /// The value, for the handle to pick up, or else to go back.
    Lent(Lent<T>),
}

/// The slot of a node.
///
/// The cell drops nothing by itself: on the way of a result most slots are empty when something is put into
/// them and when they go, and to find that out over and over costs as much as all the rest.
pub(crate) struct Out<T>(Cell<ManuallyDrop<Slot<T>>>);

impl<T> Out<T> {
    #[inline]
    pub(crate) fn new(slot: Slot<T>) -> Out<T> {
        Out(Cell::new(ManuallyDrop::new(slot)))
    }

    /// Takes what is there, and leaves it open.
    #[inline]
    pub(crate) fn take(&self) -> Slot<T> {
        self.replace(Slot::Open)
    }

    /// Keeps the result if the handle is all that takes it; otherwise returns it.
    #[inline]
    pub(crate) fn fill(&self, result: Settled<T>) -> Result<(), Settled<T>> {
        match self.take() {
            Slot::Open => {
                self.put(Slot::Done(result));
                Ok(())
            }
            other => {
                self.put(other);
                Err(result)
            }
        }
    }

    /// Fills the slot, which is empty.
    #[inline]
    pub(crate) fn put(&self, slot: Slot<T>) {
        self.0.set(ManuallyDrop::new(slot));
    }

    #[inline]
    fn replace(&self, slot: Slot<T>) -> Slot<T> {
        ManuallyDrop::into_inner(self.0.replace(ManuallyDrop::new(slot)))
    }

    /// The result, if it is there.
    #[inline]
    pub(crate) fn take_result(&self) -> Option<Settled<T>> {
        match self.take() {
            Slot::Done(result) => Some(result),
            Slot::Lent(lent) => lent.read().map(Ok),
            other => {
                self.put(other);
                None
            }
        }
    }

    /// The next stage, if there is one.
    #[inline]
    pub(crate) fn take_next(&self) -> Option<Rc<dyn NextStage<T>>> {
        match self.take() {
            Slot::Next(next) => Some(next),
            other => {
                self.put(other);
                None
            }
        }
    }

    #[cfg(feature = "trace")]
    pub(crate) fn look_at_result(&self, look: impl FnOnce(&Settled<T>)) {
        let slot = self.take();
        if let Slot::Done(result) = &slot {
            look(result);
        }
        self.put(slot);
    }

    pub(crate) fn has_result(&self) -> bool {
        let slot = self.take();
        let done = matches!(slot, Slot::Done(_) | Slot::Lent(_));
        self.put(slot);
        done
    }

    pub(crate) fn is_lent(&self) -> bool {
        let slot = self.take();
        let lent = matches!(slot, Slot::Lent(_));
        self.put(slot);
        lent
    }

    /// Nobody will read the result from here any more, where a handle could until now, so that it leads nowhere else.
    /// Returns whether it was still to come.
    #[inline]
    pub(crate) fn close(&self) -> bool {
        matches!(self.replace(Slot::Closed), Slot::Open)
    }

    /// What comes next, of a slot that is about to be dropped. No result can come from there any more, so what leads on
    /// from it goes too; the one node that somebody else may still hold is the last, by its handle, and leads nowhere.
    fn unlinked(&self) -> Option<Rc<dyn Unlink>> {
        let mut taken = self.take();
        loop {
            match taken {
                Slot::Next(next) => return Some(next.into_link()),
                Slot::Forward(node) => taken = node.out.take(),
                Slot::Open | Slot::Closed | Slot::Done(_) | Slot::Lent(_) => return None,
            }
        }
    }

    #[cold]
    fn take_apart(&self) {
        let mut next = self.unlinked();
        while let Some(link) = next {
            next = link.unlink();
        }
    }
}

impl<T> Drop for Out<T> {
    /// One node after the other, not one inside the other: a chain may be a million long.
    #[inline]
    fn drop(&mut self) {
        if !matches!(**self.0.get_mut(), Slot::Open | Slot::Closed) {
            self.take_apart();
        }
    }
}

/// A piece of a chain, to be taken apart.
pub(crate) trait Unlink {
    /// What comes next.
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>>;
}

impl<T, S> Unlink for Node<T, S> {
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>> {
        self.out.unlinked()
    }
}
