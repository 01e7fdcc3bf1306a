//! The result of a stage, or the place that it goes to.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use crate::chain::{AnyStage, NextStage, Node, Settled};
use crate::lent::Lent;

pub(crate) enum Slot<T> {
    /// No result yet. A handle may read it later.
    Open,
    /// The handle is gone: a result will be dropped.
    Closed,
    /// The result goes to the next stage.
    Next(Rc<dyn NextStage<T>>),
    /// The result becomes that of another node, whose callback returned the Deferred that ends here.
    Forward(Rc<Node<T, dyn AnyStage>>),
    /// The result, ready for the handle.
    Done(Settled<T>),
    /// A lent value, ready for the handle. It returns to its source if it is dropped unread.
    Lent(Lent<T>),
}

/// The slot of a node.
///
/// `ManuallyDrop`, because most slots on the path of a result are empty whenever they are overwritten or dropped. Checking
/// for that each time costs as much as the rest of the walk.
pub(crate) struct Out<T>(Cell<ManuallyDrop<Slot<T>>>);

impl<T> Out<T> {
    #[inline]
    pub(crate) fn new(slot: Slot<T>) -> Out<T> {
        Out(Cell::new(ManuallyDrop::new(slot)))
    }

    /// Takes the contents and leaves the slot open.
    #[inline]
    pub(crate) fn take(&self) -> Slot<T> {
        self.replace(Slot::Open)
    }

    /// Stores the result if only a handle can read it. Returns it otherwise.
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

    /// Fills the slot, which must be open or closed: its contents are not dropped.
    #[inline]
    pub(crate) fn put(&self, slot: Slot<T>) {
        self.0.set(ManuallyDrop::new(slot));
    }

    #[inline]
    fn replace(&self, slot: Slot<T>) -> Slot<T> {
        ManuallyDrop::into_inner(self.0.replace(ManuallyDrop::new(slot)))
    }

    /// Takes the result, if it has arrived.
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

    /// Takes the next stage, if there is one.
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

    /// Closes the slot, whose handle is dropped. Returns whether the result was still to come.
    #[inline]
    pub(crate) fn close(&self) -> bool {
        matches!(self.replace(Slot::Closed), Slot::Open)
    }

    /// Takes the link to the next node out of a slot that is about to be dropped. No result can arrive there any more, so
    /// the next node may lose its own link too. Only the last node can have another owner, its handle, and it has no link.
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
    /// Drops the rest of the chain in a loop. Nested drops would overflow the stack with a chain of a million nodes.
    #[inline]
    fn drop(&mut self) {
        if !matches!(**self.0.get_mut(), Slot::Open | Slot::Closed) {
            self.take_apart();
        }
    }
}

/// A node of a chain that is being taken apart.
pub(crate) trait Unlink {
    /// Takes the link to the next node.
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>>;
}

impl<T, S> Unlink for Node<T, S> {
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>> {
        self.out.unlinked()
    }
}
