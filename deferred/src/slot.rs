//! The result of a stage, or the place that it goes to.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::rc::Rc;

use crate::chain::{AnyStage, NextStage, Node};
use crate::failure::Settled;
use crate::lent::Lent;
use crate::origin::{self, Origin};

pub(crate) enum Slot<T> {
    /// No result yet. The handle of the chain will read it, and finds the chain's origin here.
    Open(Rc<dyn Origin>),
    /// No handle, or nothing left to read: a result will be dropped.
    Closed,
    /// The result goes to the next stage.
    Next(Rc<dyn NextStage<T>>),
    /// The result becomes that of another node, whose callback returned the Deferred that ends here.
    Forward(Rc<Node<T, dyn AnyStage>>),
    /// The result, ready for the handle, and the line that created the Deferred.
    Done(Settled<T>, &'static Location<'static>),
    /// As `Done`, for a lent value, which returns to its source if it is dropped unread. It holds the line itself: two
    /// variants of that size would make the slot larger.
    Lent(Lent<T>),
    /// As one of these two, in a chain that has a [`Canceller`](crate::Canceller).
    Watched(Box<Watched<T>>),
}

/// A result that is ready for the handle, and the origin of its chain.
pub(crate) struct Watched<T> {
    result: Ready<T>,
    origin: Rc<dyn Origin>,
}

enum Ready<T> {
    Done(Settled<T>),
    Lent(Lent<T>),
}

impl<T> Ready<T> {
    fn read(self) -> Option<Settled<T>> {
        match self {
            Ready::Done(result) => Some(result),
            Ready::Lent(lent) => lent.read().map(Ok),
        }
    }
}

/// The chain that a result was read from.
pub(crate) struct Chain {
    pub(crate) made_at: &'static Location<'static>,
    /// The origin, if a `Canceller` existed when the result arrived.
    pub(crate) origin: Option<Rc<dyn Origin>>,
}

impl<T> Slot<T> {
    /// Creates the slot of a result that has arrived in the chain of `origin`.
    #[cold]
    pub(crate) fn watched(result: Settled<T>, origin: Rc<dyn Origin>) -> Slot<T> {
        Slot::Watched(Box::new(Watched { result: Ready::Done(result), origin }))
    }

    /// Reads the result, if it has arrived. Returns the slot unchanged otherwise.
    #[inline]
    pub(crate) fn read(self) -> Result<(Settled<T>, Chain), Slot<T>> {
        let (result, made_at, origin) = match self {
            Slot::Done(result, made_at) => (Some(result), made_at, None),
            Slot::Lent(mut lent) => {
                let made_at = lent.made_at();
                (lent.read().map(Ok), made_at, None)
            }
            Slot::Watched(watched) => {
                (watched.result.read(), watched.origin.link().made_at(), Some(watched.origin))
            }
            other => return Err(other),
        };
        // `None` does not occur: a lent value is read once.
        result.map(|result| (result, Chain { made_at, origin })).ok_or(Slot::Closed)
    }
}

/// The slot of a node.
///
/// `ManuallyDrop`, because most slots on the path of a result are empty whenever they are overwritten or dropped. Checking
/// for that each time costs as much as the rest of the walk.
///
/// The path of a result uses `take_open`, `take_next` and `discard`, which move the slot field by field, and not `take`,
/// which copies it as a whole. A slot is read soon after it was written. A processor passes a write on to a read of the
/// same width, but a wider read of two fields waits until both writes have reached the cache, which takes as long as an
/// allocation.
pub(crate) struct Out<T>(Cell<ManuallyDrop<Slot<T>>>);

impl<T> Out<T> {
    #[inline]
    pub(crate) fn new(slot: Slot<T>) -> Out<T> {
        Out(Cell::new(ManuallyDrop::new(slot)))
    }

    /// Takes the contents and leaves the slot closed. Slow on the path of a result; see above.
    #[inline]
    pub(crate) fn take(&self) -> Slot<T> {
        ManuallyDrop::into_inner(self.0.replace(ManuallyDrop::new(Slot::Closed)))
    }

    /// Drops the contents, which may be a result that arrived.
    #[inline]
    pub(crate) fn discard(&self) {
        match self.take() {
            Slot::Done(result, _) => drop(result),
            other => drop_rare(other),
        }
    }

    /// Fills the slot, which must be closed: its contents are not dropped.
    #[inline]
    pub(crate) fn put(&self, slot: Slot<T>) {
        self.0.set(ManuallyDrop::new(slot));
    }

    /// Stores a result for the handle of the chain, which was created at `made_at`.
    #[inline]
    pub(crate) fn arrive(
        &self,
        result: Settled<T>,
        origin: Rc<dyn Origin>,
        made_at: &'static Location<'static>,
    ) {
        self.put(if origin::is_watched(&origin) {
            Slot::watched(result, origin)
        } else {
            Slot::Done(result, made_at)
        });
    }

    /// As [`arrive`](Out::arrive), for a lent value.
    pub(crate) fn arrive_lent(&self, mut lent: Lent<T>, origin: Rc<dyn Origin>) {
        self.put(if origin::is_watched(&origin) {
            Slot::Watched(Box::new(Watched { result: Ready::Lent(lent), origin }))
        } else {
            lent.arrive(origin.link().made_at());
            Slot::Lent(lent)
        });
    }

    /// Takes the result, if it has arrived.
    #[inline]
    pub(crate) fn read(&self) -> Option<(Settled<T>, Chain)> {
        self.take().read().map_err(|slot| self.put(slot)).ok()
    }

    /// Takes the origin of a chain that waits, and leaves the slot closed.
    #[inline]
    pub(crate) fn take_open(&self) -> Option<Rc<dyn Origin>> {
        match self.take() {
            Slot::Open(origin) => Some(origin),
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

    fn look<R>(&self, look: impl FnOnce(&Slot<T>) -> R) -> R {
        let slot = self.take();
        let seen = look(&slot);
        self.put(slot);
        seen
    }

    #[cfg(feature = "trace")]
    pub(crate) fn look_at_result(&self, look: impl FnOnce(&Settled<T>)) {
        self.look(|slot| match slot {
            Slot::Done(result, _) => look(result),
            Slot::Watched(watched) => match &watched.result {
                Ready::Done(result) => look(result),
                Ready::Lent(_) => {}
            },
            _ => {}
        });
    }

    pub(crate) fn has_result(&self) -> bool {
        self.look(|slot| matches!(slot, Slot::Done(..) | Slot::Lent(_) | Slot::Watched(_)))
    }

    pub(crate) fn is_lent(&self) -> bool {
        self.look(|slot| match slot {
            Slot::Lent(_) => true,
            Slot::Watched(watched) => matches!(watched.result, Ready::Lent(_)),
            _ => false,
        })
    }

    /// Returns the origin of a chain that waits for its result.
    pub(crate) fn origin(&self) -> Option<Rc<dyn Origin>> {
        self.look(|slot| match slot {
            Slot::Open(origin) => Some(origin.clone()),
            _ => None,
        })
    }

    /// Returns the origin, for a `Canceller`. A result that has arrived keeps it from now on: `fired_at` creates an origin
    /// that has fired.
    pub(crate) fn watched_origin(
        &self,
        fired_at: fn(&'static Location<'static>) -> Rc<dyn Origin>,
    ) -> Option<Rc<dyn Origin>> {
        let (result, origin) = match self.take() {
            Slot::Done(result, made_at) => (Ready::Done(result), fired_at(made_at)),
            Slot::Lent(mut lent) => {
                let origin = fired_at(lent.made_at());
                (Ready::Lent(lent), origin)
            }
            Slot::Watched(watched) => (watched.result, watched.origin),
            other => {
                self.put(other);
                return self.origin();
            }
        };
        self.put(Slot::Watched(Box::new(Watched { result, origin: origin.clone() })));
        Some(origin)
    }

    /// Names `place` as the line that created the Deferred.
    pub(crate) fn attribute_to(&self, place: &'static Location<'static>) {
        let mut slot = self.take();
        match &mut slot {
            Slot::Open(origin) => origin.link().attribute_to(place),
            Slot::Watched(watched) => watched.origin.link().attribute_to(place),
            Slot::Done(_, made_at) => *made_at = place,
            Slot::Lent(lent) => lent.arrive(place),
            Slot::Closed | Slot::Next(_) | Slot::Forward(_) => {}
        }
        self.put(slot);
    }

    /// Takes the link to the next node out of a slot that is about to be dropped. No result can arrive there any more, so
    /// the next node may lose its own link too. Only the last node can have another owner, its handle, and it has no link.
    fn unlinked(&self) -> Option<Rc<dyn Unlink>> {
        let mut taken = self.take();
        loop {
            match taken {
                Slot::Next(next) => return Some(next.into_link()),
                Slot::Forward(node) => taken = node.out.take(),
                _ => return None,
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

/// Drops contents that are not a plain result. Out of line, so that `discard` needs no copy of the slot in memory.
#[cold]
#[inline(never)]
fn drop_rare<T>(slot: Slot<T>) {
    drop(slot);
}

impl<T> Drop for Out<T> {
    /// Drops the rest of the chain in a loop. Nested drops would overflow the stack with a chain of a million nodes.
    #[inline]
    fn drop(&mut self) {
        if !matches!(**self.0.get_mut(), Slot::Closed) {
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
