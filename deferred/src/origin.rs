//! The origins of chains, and the links between chains that wait for one another. Cancelling follows these links.
//!
//! ```text
//!            waited_by                  waited_by
//!   outer ◀───────────── inner ◀───────────────── innermost
//!         ─────────────▶       ─────────────────▶
//!            waiting_on                 waiting_on
//! ```
//!
//! At the end of the inner chain its result continues in the outer one. So the two are one chain from the moment when the
//! inner one fires, and the inner origin is released. This is why an endless loop of callbacks that each return the next
//! Deferred holds only the last origin.
//!
//! An inner chain that has a [`Canceller`](crate::Canceller) stays separate until its own end, because it can still be
//! cancelled by itself. A [`Boundary`](crate::chain) stage marks that end, and such an origin is *bounded*.

use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::failure::Settled;
use crate::trace::Track;

/// The start of a chain, which can be cancelled.
pub(crate) trait Origin {
    fn link(&self) -> &OriginLink;

    /// Cancels this origin, if it has not fired.
    fn cancel_source(self: Rc<Self>);
}

pub(crate) struct OriginLink {
    made_at: Cell<&'static Location<'static>>,
    track: OnceCell<Track>,
    state: Cell<OriginState>,
    /// Whether a boundary stage separates this chain from the chain that waits for it.
    bounded: Cell<bool>,
    /// The origin that this chain waits for, after it has fired itself.
    waiting_on: Cell<Option<Weak<dyn Origin>>>,
    /// The chain that waits for this one, because one of its callbacks returned it.
    waited_by: Cell<Option<Rc<dyn Origin>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginState {
    Live,
    Cancelling,
    Fired,
}

impl Default for OriginLink {
    #[inline]
    fn default() -> Self {
        OriginLink {
            made_at: Cell::new(Location::caller()),
            track: OnceCell::new(),
            state: Cell::new(OriginState::Live),
            bounded: Cell::new(false),
            waiting_on: Cell::new(None),
            waited_by: Cell::new(None),
        }
    }
}

impl OriginLink {
    /// Sets the fields that `Default` cannot know.
    #[inline]
    pub(crate) fn init(&self, made_at: &'static Location<'static>, track: Track) {
        self.made_at.set(made_at);
        // It is empty: `init` is called once for each origin.
        let _ = self.track.set(track);
    }

    #[inline]
    pub(crate) fn track(&self) -> Track {
        self.track.get().cloned().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn fired<T: 'static>(&self, result: &Settled<T>) {
        if let Some(track) = self.track.get() {
            track.fired(result);
        }
    }

    #[inline]
    pub(crate) fn lent(&self) {
        if let Some(track) = self.track.get() {
            track.lent();
        }
    }

    /// The line that created the Deferred, or the line it is attributed to.
    #[inline]
    pub(crate) fn made_at(&self) -> &'static Location<'static> {
        self.made_at.get()
    }

    pub(crate) fn attribute_to(&self, place: &'static Location<'static>) {
        self.made_at.set(place);
        if let Some(track) = self.track.get() {
            track.attribute_to(place);
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> OriginState {
        self.state.get()
    }

    #[inline]
    pub(crate) fn enter(&self, state: OriginState) {
        self.state.set(state);
    }

    fn waiting_on(&self) -> Option<Rc<dyn Origin>> {
        let waiting = self.waiting_on.take();
        let origin = waiting.as_ref().and_then(Weak::upgrade);
        self.waiting_on.set(waiting);
        origin
    }

    fn waited_by(&self) -> Option<Rc<dyn Origin>> {
        let waiting = self.waited_by.take();
        let origin = waiting.clone();
        self.waited_by.set(waiting);
        origin
    }
}

impl Drop for OriginLink {
    /// Drops the outer origins in a loop, not nested: there may be a million. Their chains can never continue.
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.waited_by.take() {
            drop_all(outer);
        }
    }
}

#[cold]
fn drop_all(outer: Rc<dyn Origin>) {
    let mut next = Some(outer);
    while let Some(origin) = next {
        next = origin.link().waited_by.take();
    }
}

/// Cancels the operation that the chain of `origin` waits for at present.
pub(crate) fn cancel(mut origin: Rc<dyn Origin>) {
    loop {
        match origin.link().state() {
            OriginState::Live => return origin.cancel_source(),
            OriginState::Cancelling => return,
            OriginState::Fired => match origin.link().waiting_on() {
                Some(inner) => origin = inner,
                None => return,
            },
        }
    }
}

/// Returns whether a `Canceller` of `origin` exists. Only valid while no other chain waits for it, because the waiting
/// chain holds a weak reference too.
pub(crate) fn is_watched(origin: &Rc<dyn Origin>) -> bool {
    Rc::weak_count(origin) > 0
}

/// Links `outer`, which waits, to `inner`.
pub(crate) fn wait(outer: &Rc<dyn Origin>, inner: &Rc<dyn Origin>, bounded: bool) {
    inner.link().bounded.set(bounded);
    inner.link().waited_by.set(Some(outer.clone()));
    outer.link().waiting_on.set(Some(Rc::downgrade(inner)));
}

/// Returns the chain in which a result of `origin` runs: the outermost chain that waits for it, up to the first boundary.
#[inline]
pub(crate) fn root_of(origin: Rc<dyn Origin>) -> Rc<dyn Origin> {
    let mut root = origin;
    while !root.link().bounded.get() {
        match root.link().waited_by.take() {
            Some(outer) => {
                outer.link().waiting_on.set(None);
                root = outer;
            }
            None => break,
        }
    }
    root
}

/// Returns the chain in which a result continues after the boundary at the end of `root`.
pub(crate) fn leave(root: Rc<dyn Origin>) -> Rc<dyn Origin> {
    root.link().bounded.set(false);
    root_of(root)
}

/// As [`leave`], if `root` can no longer be cancelled by itself. Returns whether it was left.
pub(crate) fn leave_unwatched(root: &mut Rc<dyn Origin>) -> bool {
    // The waiting chain holds one weak reference; others belong to cancellers.
    let unwatched = Rc::weak_count(root) <= 1;
    if unwatched {
        *root = leave(root.clone());
    }
    unwatched
}

/// Returns whether `outer` waits for `origin`, directly or indirectly, or is the same chain.
pub(crate) fn waits_for(outer: &Rc<dyn Origin>, origin: &Rc<dyn Origin>) -> bool {
    // A chain waits for another only after its own origin has fired. Most calls end here.
    if outer.link().state() != OriginState::Fired {
        return false;
    }
    let mut at = origin.clone();
    while let Some(next) = at.link().waited_by() {
        at = next;
    }
    std::ptr::eq(at.link(), outer.link())
}
