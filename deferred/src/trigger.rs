//! The firing half of a Deferred.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::rc::Rc;

use crate::chain::{self, AnyStage, Node};
use crate::ending::is_ending;
use crate::failure::{Settled, Unhandled};
use crate::frame::{self, Frame};
use crate::lent::Lent;
use crate::origin::{self, Origin, OriginLink, OriginState};
use crate::slot::Slot;
use crate::trace::Track;
use crate::{Abandoned, Cancelled, Failure, guarded};

type CancelWith<T> = Box<dyn FnOnce(Trigger<T>)>;

/// The start of a chain.
pub(crate) struct ChainHead<T: 'static> {
    link: OriginLink,
    canceller: Cell<Option<CancelWith<T>>>,
}

impl<T: 'static> Default for ChainHead<T> {
    #[inline]
    fn default() -> Self {
        ChainHead { link: OriginLink::default(), canceller: Cell::new(None) }
    }
}

pub(crate) type ChainSource<T> = Node<T, ChainHead<T>>;

impl<T: 'static> ChainSource<T> {
    #[inline]
    pub(crate) fn at(
        made_at: &'static Location<'static>,
        canceller: Option<CancelWith<T>>,
    ) -> Rc<ChainSource<T>> {
        // Not `Rc::new`, for the reason of `Node::added`.
        let source = Rc::<Self>::default();
        source.stage.link.init(made_at, Track::new(made_at));
        if canceller.is_some() {
            source.stage.canceller.set(canceller);
        }
        source
    }

    /// Creates a source that has fired, for a chain whose own source is gone.
    pub(crate) fn fired_at(made_at: &'static Location<'static>) -> Rc<ChainSource<T>> {
        let source = Rc::<Self>::default();
        source.stage.link.init(made_at, Track::default());
        source.stage.link.enter(OriginState::Fired);
        source
    }

    /// Marks the source as fired, and drops its canceller.
    #[inline]
    fn settle(&self) {
        self.stage.link.enter(OriginState::Fired);
        drop(self.stage.canceller.take());
    }

    #[inline]
    fn fire(self: Rc<Self>, result: Settled<T>) {
        self.stage.link.fired(&result);
        self.settle();
        if let Some(next) = self.out.take_next() {
            chain::drive(self, next, result);
        } else if let Some(origin) = self.out.take_open() {
            // Without callbacks there is nothing to walk: the result stays in the slot.
            self.out.arrive(result, origin, self.stage.link.made_at());
        } else if let Slot::Forward(node) = self.out.take() {
            chain::drive_forward(self, node, result);
        }
    }

    fn fail(self: Rc<Self>, failure: Failure) {
        let failure = if is_ending() { failure.at_end_of_loop() } else { failure };
        let made_at = self.stage.link.made_at();
        self.fire(Err(Unhandled::from(failure).seen_in(made_at)));
    }
}

impl<T: 'static> AnyStage for ChainHead<T> {}

impl<T: 'static> Origin for ChainSource<T> {
    fn link(&self) -> &OriginLink {
        &self.stage.link
    }

    fn cancel_source(self: Rc<Self>) {
        let Some(_frame) = Frame::within_depth() else { return cancel_later(self) };
        let link = &self.stage.link;
        link.enter(OriginState::Cancelling);
        if let Some(canceller) = self.stage.canceller.take() {
            let mut call = Some((canceller, Trigger::new(self.clone())));
            call_canceller(link, &mut || call.take().map_or((), |(canceller, trigger)| canceller(trigger)));
        }
        if link.state() == OriginState::Cancelling {
            let failure = Failure::made_at(Box::new(Cancelled), link.made_at());
            self.fail(failure);
        }
    }
}

// The parts of `cancel_source` that are compiled once, and not for each type of result.

#[cold]
#[inline(never)]
fn cancel_later(origin: Rc<dyn Origin>) {
    frame::park(Box::new(move || origin::cancel(origin)));
}

#[inline(never)]
fn call_canceller(link: &OriginLink, call: &mut dyn FnMut()) {
    if let Err(message) = guarded(call) {
        let place = link.made_at();
        log::error!("a canceller panicked: {message} (in the Deferred made at {place})");
    }
}

/// Fires a [`Deferred`](crate::Deferred) once. Firing consumes the trigger. Twisted: `Deferred.callback` and
/// `Deferred.errback`.
///
/// # Re-entrancy
/// Firing is synchronous: it returns after the callbacks have run, up to the first that waits.
///
/// # Dropping
/// A trigger that is dropped unfired fails its Deferred with [`Abandoned`], so that no waiter hangs. If a panic drops it,
/// the Deferred fails as soon as this library has caught the panic; see [`guarded`](crate::guarded).
///
/// # Threads
/// A trigger stays on the thread of its Deferred. For work on another thread, use `reactor.defer_to_thread(work)`, which
/// returns a Deferred, or `remote.call_from_thread(call)`, which runs `call` on the reactor's thread.
#[must_use = "a trigger that is dropped unfired fails its Deferred with `Abandoned`"]
pub struct Trigger<T: 'static> {
    /// `None` after firing.
    source: Option<Rc<ChainSource<T>>>,
}

impl<T: 'static> Trigger<T> {
    #[inline]
    pub(crate) fn new(source: Rc<ChainSource<T>>) -> Trigger<T> {
        Trigger { source: Some(source) }
    }

    /// Fires the Deferred with a value. Twisted: `callback`.
    ///
    /// Does nothing after the Deferred was cancelled.
    #[inline]
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Fires the Deferred with a failure: any error, or a [`Failure`]. Twisted: `errback`.
    ///
    /// [`Failure::new`] creates a failure from a message. Does nothing after the Deferred was cancelled.
    #[track_caller]
    pub fn errback(self, failure: impl Into<Failure>) {
        self.fire(Err(failure.into()));
    }

    /// Fires the Deferred with a `Result`.
    ///
    /// Does nothing after the Deferred was cancelled.
    #[inline]
    pub fn fire(self, result: Result<T, Failure>) {
        if let Some(source) = self.take_live() {
            match result {
                Ok(value) => source.fire(Ok(value)),
                Err(failure) => source.fail(failure),
            }
        }
    }

    #[inline]
    fn take_live(self) -> Option<Rc<ChainSource<T>>> {
        // Nothing is left for `drop` to do.
        let source = ManuallyDrop::new(self).source.take();
        source.filter(|source| source.stage.link.state() != OriginState::Fired)
    }

    /// Fires the Deferred with a value that returns to its source if it is not read.
    ///
    /// `give_back` receives the value if the Deferred is dropped before a callback, an `await` or
    /// [`try_result`](crate::Deferred::try_result) has taken it, or if the Deferred was already cancelled. For sources
    /// that must not lose an item when a task is cancelled, such as [`DeferredQueue`](crate::DeferredQueue).
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use twistor::prelude::*;
    ///
    /// let jobs = Rc::new(RefCell::new(vec!["dishes", "laundry"]));
    /// let (job, trigger) = Deferred::new();
    /// let next = jobs.borrow_mut().pop().unwrap_or("none");
    /// let given_back = jobs.clone();
    /// trigger.lend(next, move |job| given_back.borrow_mut().push(job));
    /// drop(job);
    /// assert_eq!(*jobs.borrow(), ["dishes", "laundry"]);
    /// ```
    ///
    /// # Panics
    /// A panic of `give_back` is caught and logged.
    pub fn lend(self, value: T, give_back: impl FnOnce(T) + 'static) {
        let lent = Lent::new(value, give_back);
        if let Some(source) = self.take_live() {
            source.stage.link.lent();
            source.settle();
            chain::drive_lent(source.clone(), source, lent);
        }
    }

    /// Returns whether firing has an effect: false after the Deferred was cancelled.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.stage.link.state() != OriginState::Fired)
    }
}

impl<T: 'static> Drop for Trigger<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            if source.stage.link.state() == OriginState::Live {
                abandon(source);
            }
        }
    }
}

#[cold]
fn abandon<T: 'static>(source: Rc<ChainSource<T>>) {
    let failure = Failure::made_at(Box::new(Abandoned), source.stage.link.made_at());
    if std::thread::panicking() {
        // While a panic unwinds, callbacks would see half-changed state. They run after it is caught.
        let failure = if is_ending() { failure.at_end_of_loop() } else { failure };
        frame::park(Box::new(move || {
            if source.stage.link.state() == OriginState::Live {
                source.fail(failure);
            }
        }));
    } else {
        source.fail(failure);
    }
}

impl<T: 'static> fmt::Debug for Trigger<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_live() { "Trigger(live)" } else { "Trigger(cancelled)" })
    }
}
