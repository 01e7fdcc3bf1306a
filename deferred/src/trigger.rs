//! The firing half.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::chain::{self, AnyStage, Node, Settled};
use crate::ending::is_ending;
use crate::failure::Unhandled;
use crate::frame::{self, Frame};
use crate::lent::Lent;
use crate::origin::{self, Origin, OriginLink, OriginState};
use crate::trace::Track;
use crate::{Cancelled, Failure, guarded};

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

    /// A source that has fired, for a chain that has none of its own any more.
    pub(crate) fn fired_at(made_at: &'static Location<'static>) -> Rc<ChainSource<T>> {
        let source = Rc::<Self>::default();
        source.stage.link.init(made_at, Track::default());
        source.stage.link.enter(OriginState::Fired);
        source
    }

    /// From here on it has fired.
    #[inline]
    fn settle(&self) {
        self.stage.link.enter(OriginState::Fired);
        drop(self.stage.canceller.take());
    }

    #[inline]
    fn fire(self: Rc<Self>, result: Settled<T>) {
        self.stage.link.fired(&result);
        self.settle();
        // Without callbacks there is nothing to run.
        if let Err(result) = self.out.fill(result) {
            chain::drive(self.clone(), self, result);
        }
    }

    fn fail(self: Rc<Self>, failure: Failure) {
        let failure = if is_ending() { failure.quiet() } else { failure };
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
        let Some(_frame) = Frame::within_depth() else {
            let origin: Rc<dyn Origin> = self;
            return frame::park(Box::new(move || origin::cancel(origin)));
        };
        let link = &self.stage.link;
        link.enter(OriginState::Cancelling);
        if let Some(canceller) = self.stage.canceller.take() {
            let trigger = Trigger::new(self.clone());
            if let Err(message) = guarded(|| canceller(trigger)) {
                let place = link.made_at();
                log::error!("the canceller of the Deferred made at {place} panicked: {message}");
            }
        }
        if link.state() == OriginState::Cancelling {
            let failure = Failure::made_at(Box::new(Cancelled), link.made_at());
            self.fail(failure);
        }
    }
}

/// Fires a [`Deferred`](crate::Deferred), once: firing consumes it. The half of Twisted's `Deferred` that
/// has `callback` and `errback`.
///
/// # Re-entrancy
/// Firing is synchronous: the callbacks have run, as far as they can, when it returns.
///
/// # Dropping
/// A trigger dropped unfired fires [`Abandoned`], so that no waiter hangs. If it is dropped while a panic unwinds, it
/// fires as soon as this library has caught the panic; see [`guarded`](crate::guarded).
///
/// # Threads
/// A trigger stays in its Deferred's thread. What another thread has found out goes there first: as the result of
/// `reactor.defer_to_thread(work)`, which is a Deferred, or by `remote.call_from_thread(call)`.
#[must_use = "a trigger dropped unfired fires `Abandoned`"]
pub struct Trigger<T: 'static> {
    /// There until it fires.
    source: Option<Rc<ChainSource<T>>>,
}

impl<T: 'static> Trigger<T> {
    #[inline]
    pub(crate) fn new(source: Rc<ChainSource<T>>) -> Trigger<T> {
        Trigger { source: Some(source) }
    }

    /// Fires the Deferred with its value. Twisted's `callback`.
    ///
    /// Ignored after the Deferred was cancelled.
    #[inline]
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Fires the Deferred with a failure: an error, or a [`Failure`] from elsewhere, or of text by [`Failure::new`].
    /// Twisted's `errback`.
    ///
    /// Ignored after the Deferred was cancelled.
    #[track_caller]
    pub fn errback(self, failure: impl Into<Failure>) {
        self.fire(Err(failure.into()));
    }

    /// Fires the Deferred with a result that is there as one.
    ///
    /// Ignored after the Deferred was cancelled.
    #[inline]
    pub fn fire(mut self, result: Result<T, Failure>) {
        if let Some(source) = self.take_live() {
            match result {
                Ok(value) => source.fire(Ok(value)),
                Err(failure) => source.fail(failure),
            }
        }
    }

    #[inline]
    fn take_live(&mut self) -> Option<Rc<ChainSource<T>>> {
        self.source.take().filter(|source| source.stage.link.state() != OriginState::Fired)
    }

    /// Fires the Deferred with a value that goes back if nobody reads it: `give_back` gets it where the Deferred is
    /// dropped before a callback, [`try_result`](crate::Deferred::try_result) or an `await` took it. For sources whose
    /// items are not to be lost where a task is cancelled, as [`DeferredQueue`](crate::DeferredQueue).
    ///
    /// After the Deferred was cancelled, the value goes back at once.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use twistor_deferred::Deferred;
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
    /// A panic of `give_back` is logged.
    pub fn lend(mut self, value: T, give_back: impl FnOnce(T) + 'static) {
        let lent = Lent::new(value, give_back);
        if let Some(source) = self.take_live() {
            source.stage.link.lent();
            source.settle();
            chain::drive_lent(source.clone(), source, lent);
        }
    }

    /// Whether firing would do anything: false once the Deferred was cancelled.
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
        // Callbacks do not run inside of a panic, but as soon as it is caught.
        let failure = if is_ending() { failure.quiet() } else { failure };
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
        f.write_str(if self.is_live() { "Trigger(live)" } else { "Trigger(of a cancelled Deferred)" })
    }
}

/// The error of a Deferred whose trigger was dropped without firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("abandoned: the trigger was dropped without firing")
    }
}

impl std::error::Error for Abandoned {}
