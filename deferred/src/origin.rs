//! Where chains start, and how those that wait on one another hang together: the part of the engine that
//! cancelling needs.
//!
//! ```text
//!            waited_by                  waited_by
//!   outer ◀───────────── inner ◀───────────────── innermost
//!         ─────────────▶       ─────────────────▶
//!            waiting_on                 waiting_on
//! ```
//!
//! When the inner chain comes to its end, its result goes on down the outer one, so from the moment it fires
//! the two are one chain, and the inner origin is let go: that is why an endless loop of callbacks that
//! each return the next Deferred holds nothing but the last. Only an inner chain that somebody can still
//! cancel by itself, by a [`Canceller`](crate::Canceller), is kept apart until its own end, which a
//! [`Boundary`](crate::chain) stage marks; such an origin is *bounded*.

use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::chain::Settled;
use crate::trace::Track;

/// Where a chain starts: what can be cancelled.
pub(crate) trait Origin {
    fn link(&self) -> &OriginLink;

    /// Cancels this source, if it has not fired.
    fn cancel_source(self: Rc<Self>);
}

pub(crate) struct OriginLink {
    made_at: Cell<&'static Location<'static>>,
    track: OnceCell<Track>,
    state: Cell<OriginState>,
    /// Whether a boundary stands where this chain ends and the one that waits for it goes on.
    bounded: Cell<bool>,
    /// The source whose result this chain waits for, after its own has fired.
    waiting_on: Cell<Option<Weak<dyn Origin>>>,
    /// The chain that waits for this one, having had it returned from a callback.
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
    /// Sets what it does not begin with.
    #[inline]
    pub(crate) fn init(&self, made_at: &'static Location<'static>, track: Track) {
        self.made_at.set(made_at);
        // Once for each.
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

    /// Where it was made, or the place that it is attributed to.
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
    /// One after the other, not one inside the other. What waits for this one will never go on.
    fn drop(&mut self) {
        let mut next = self.waited_by.take();
        while let Some(origin) = next {
            next = origin.link().waited_by.take();
        }
    }
}

/// Cancels whatever the chain that starts at `origin` is waiting for now.
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

/// Whether somebody holds a `Canceller` of a chain that nothing waits for yet.
pub(crate) fn is_watched(origin: &Rc<dyn Origin>) -> bool {
    Rc::weak_count(origin) > 0
}

/// Lets `outer` wait for `inner`.
pub(crate) fn wait(outer: &Rc<dyn Origin>, inner: &Rc<dyn Origin>, bounded: bool) {
    inner.link().bounded.set(bounded);
    inner.link().waited_by.set(Some(outer.clone()));
    outer.link().waiting_on.set(Some(Rc::downgrade(inner)));
}

/// The chain in which a result of `origin` runs: that of the outermost origin that waits for it, as far as
/// no boundary lies between.
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

/// The chain in which a result runs that has passed the boundary at the end of `root`.
pub(crate) fn leave(root: Rc<dyn Origin>) -> Rc<dyn Origin> {
    root.link().bounded.set(false);
    root_of(root)
}

/// As [`leave`], if nobody can cancel `root` by itself any more.
pub(crate) fn leave_unwatched(root: &mut Rc<dyn Origin>) -> bool {
    // One weak reference is that of the chain that waits.
    let unwatched = Rc::weak_count(root) <= 1;
    if unwatched {
        *root = leave(root.clone());
    }
    unwatched
}

/// Whether `outer` waits, over however many others, for `origin`, or is it.
pub(crate) fn waits_for(outer: &Rc<dyn Origin>, origin: &Rc<dyn Origin>) -> bool {
    // One that has not fired waits for nobody; most are found out here.
    if outer.link().state() != OriginState::Fired {
        return false;
    }
    let mut at = origin.clone();
    while let Some(next) = at.link().waited_by() {
        at = next;
    }
    std::ptr::eq(at.link(), outer.link())
}
