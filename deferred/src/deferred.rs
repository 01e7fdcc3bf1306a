//! The receiving half: a result that has not arrived yet, and its callbacks.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::failure::{Settled, Unhandled};
use crate::late::fired;
use crate::origin::{self, Origin};
use crate::pending_chain::PendingChain;
use crate::stage_function::{OnBoth, OnEither, OnFailure, OnValue, StageFunction};
use crate::trace::{TracedState, Track};
use crate::trigger::ChainSource;
use crate::{Canceller, Failure, Outcome, OutcomeOf, Trigger};

/// A result that has not arrived yet, and the callbacks that will process it. Twisted: `Deferred`.
///
/// [`new`](Deferred::new) returns a Deferred and the [`Trigger`] that fires it. Adding a callback consumes the Deferred
/// and returns the next one, because a callback may change the type of the result. Callbacks are closures and capture
/// their arguments.
///
/// ```
/// use twistor::prelude::*;
///
/// let (deferred, trigger) = Deferred::<u64>::new();
/// deferred
///     .add_callback(|n| Ok(n.to_string()))
///     .add_callback(|text| println!("the answer is {text}"))
///     .detach();
/// trigger.callback(42);
/// ```
///
/// # Ordering
/// Callbacks run in the order in which they were added. Each receives the result of the previous one. A callback added
/// to a fired Deferred runs before `add_callback` returns.
///
/// Callbacks that fire other Deferreds, or add callbacks to fired ones, can be nested 32 deep. Deeper callbacks are
/// parked. They run in order before the outermost call returns, so recursion through callbacks takes constant stack.
/// `add_callback` then returns a Deferred that has not fired yet.
///
/// # Errors
/// If a callback returns `Err` or panics, the failure goes to the errback of a *later* stage. A stage without a function
/// for the side it receives passes the result on. A failure that is dropped unhandled is logged with `log::error!`;
/// [`log_to_stderr`](crate::log_to_stderr) prints it in programs without a logger.
///
/// # Re-entrancy
/// A callback may fire, cancel and drop any Deferred, or add callbacks to it, its own included. A chain of any length
/// takes constant stack.
///
/// # Dropping
/// Dropping a Deferred before it fires does not cancel it: the callbacks already added still run. A Deferred that was
/// polled, for example by `await`, is cancelled when it is dropped.
///
/// The trigger owns the chain. The captures of a callback are dropped after it has run or was skipped. A callback or
/// canceller that owns the source that will fire it (its trigger, or the queue or pool it waits for) makes a reference
/// cycle, which lasts until the Deferred fires or is cancelled. Capture a [`Weak`](std::rc::Weak) instead. A
/// [`Canceller`] owns nothing.
///
/// # Threads
/// A Deferred stays on its thread:
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(twistor::deferred::succeed(1));
/// ```
#[must_use = "a failure in a dropped Deferred is only logged: return the Deferred, pass it to `run_until`, or call `.detach()`"]
pub struct Deferred<T>(pub(crate) DeferredState<T>, pub(crate) Track);

pub(crate) enum DeferredState<T> {
    Fired(Settled<T>),
    Pending(PendingChain<T>),
}

impl<T> TracedState<T> for DeferredState<T> {
    #[cfg(feature = "trace")]
    fn fired(&self) -> Option<&Settled<T>> {
        match self {
            DeferredState::Fired(result) => Some(result),
            DeferredState::Pending(_) => None,
        }
    }

    #[cfg(feature = "trace")]
    fn look_at_result(&self, look: impl FnOnce(&Settled<T>)) {
        match self {
            DeferredState::Fired(result) => look(result),
            DeferredState::Pending(pending) => pending.look_at_result(look),
        }
    }
}

impl<T: 'static> Deferred<T> {
    /// Creates a Deferred and the trigger that fires it. Twisted: `Deferred()`.
    #[allow(clippy::new_ret_no_self)]
    #[inline]
    #[track_caller]
    pub fn new() -> (Deferred<T>, Trigger<T>) {
        Deferred::from_source(ChainSource::at(Location::caller(), None))
    }

    /// Creates a Deferred with a function that stops the operation it waits for. Twisted: `Deferred(canceller)`.
    ///
    /// `canceller` runs at most once, when the Deferred is cancelled before it has fired. It receives a second trigger
    /// and may fire it with a value or a failure. If it returns without firing, the Deferred fails with [`Cancelled`].
    ///
    /// ```
    /// use twistor::deferred::Cancelled;
    /// use twistor::prelude::*;
    ///
    /// let (deferred, trigger) = Deferred::<u64>::with_canceller(|_| println!("stopping the download"));
    /// deferred.cancel();
    /// assert!(!trigger.is_live());
    /// let bytes = deferred.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0));
    /// assert!(matches!(bytes.try_result(), Ok(Ok(0))));
    /// ```
    ///
    /// [`Cancelled`]: crate::Cancelled
    #[track_caller]
    pub fn with_canceller(canceller: impl FnOnce(Trigger<T>) + 'static) -> (Deferred<T>, Trigger<T>) {
        Deferred::with_canceller_at(canceller, Location::caller())
    }

    pub(crate) fn with_canceller_at(
        canceller: impl FnOnce(Trigger<T>) + 'static,
        made_at: &'static Location<'static>,
    ) -> (Deferred<T>, Trigger<T>) {
        Deferred::from_source(ChainSource::at(made_at, Some(Box::new(canceller))))
    }

    #[inline]
    fn from_source(source: Rc<ChainSource<T>>) -> (Deferred<T>, Trigger<T>) {
        let track = source.link().track();
        let pending = PendingChain::new(source.clone(), source.clone());
        (Deferred(DeferredState::Pending(pending), track), Trigger::new(source))
    }

    #[inline]
    pub(crate) fn fired(result: Settled<T>) -> Deferred<T> {
        Deferred::of(DeferredState::Fired(result))
    }

    /// Creates a fired Deferred that passes its value to `give_back` if it is dropped unread.
    pub(crate) fn lent(
        value: T,
        give_back: impl FnOnce(T) + 'static,
        made_at: &'static Location<'static>,
    ) -> Deferred<T> {
        let (deferred, trigger) = Deferred::from_source(ChainSource::at(made_at, None));
        trigger.lend(value, give_back);
        deferred
    }

    /// Rebuilds the result of a call. Otherwise the call would write it to where the next stage of a fired chain reads it,
    /// and that chain would go through memory instead of registers.
    #[inline(always)]
    #[allow(clippy::needless_match)] // The copy is the purpose.
    pub(crate) fn apart(self) -> Deferred<T> {
        let state = match self.0 {
            DeferredState::Fired(Ok(value)) => DeferredState::Fired(Ok(value)),
            DeferredState::Fired(Err(failure)) => DeferredState::Fired(Err(failure)),
            DeferredState::Pending(pending) => DeferredState::Pending(pending),
        };
        Deferred(state, self.1)
    }

    #[inline]
    pub(crate) fn of(state: DeferredState<T>) -> Deferred<T> {
        Deferred(state, Track::default())
    }

    #[inline]
    pub(crate) fn tracked(self, track: Track) -> Deferred<T> {
        Deferred(self.0, track)
    }

    /// Names `place` as the line that created this Deferred, in log lines and in the output of the feature `trace`. For
    /// libraries that create a Deferred for their caller: pass the caller's location.
    ///
    /// ```
    /// use std::panic::Location;
    /// use twistor::prelude::*;
    ///
    /// fn open() -> Deferred<u64> {
    ///     succeed(7)
    /// }
    ///
    /// /// If its failure is not handled, the log names the line that called `connect`.
    /// #[track_caller]
    /// fn connect() -> Deferred<u64> {
    ///     open().attributed_to(Location::caller())
    /// }
    ///
    /// connect().add_callback(|number| println!("connection {number}")).detach();
    /// ```
    pub fn attributed_to(self, place: &'static Location<'static>) -> Deferred<T> {
        let track = self.1;
        track.attribute_to(place);
        let named = match self.0 {
            DeferredState::Pending(pending) => {
                pending.out().into_iter().for_each(|out| out.attribute_to(place));
                match if pending.is_lent() { None } else { pending.read() } {
                    Some((result, chain)) => Deferred::fired(result).made_at(place).in_chain_of(chain.origin),
                    None => Deferred::of(DeferredState::Pending(pending)),
                }
            }
            fired => Deferred::of(fired).made_at(place),
        };
        named.tracked(track)
    }

    /// Notes `place` in a failure, as the Deferred that it was in last.
    #[inline]
    pub(crate) fn made_at(self, place: &'static Location<'static>) -> Deferred<T> {
        match self.0 {
            DeferredState::Fired(Err(failure)) => {
                Deferred(DeferredState::Fired(Err(failure.seen_in(place))), self.1)
            }
            state => Deferred(state, self.1),
        }
    }

    /// Adds a callback for the value. A failure skips it. Twisted: `addCallback`.
    ///
    /// `callback` returns an [`Outcome`]: a `Result`, a Deferred, or nothing.
    #[inline]
    #[track_caller]
    pub fn add_callback<O: Outcome>(self, callback: impl FnOnce(T) -> O + 'static) -> Deferred<O::Value> {
        self.then(OnValue(callback))
    }

    /// Adds a function for the failure. A value skips it. Twisted: `addErrback`.
    ///
    /// `errback` returns an [`Outcome`] of the same type: after `Ok` the chain continues with its callbacks, after
    /// `Err(failure)` with the next errback. [`Failure::trap`] selects the errors to handle.
    ///
    /// An errback that returns nothing, for example one that only prints, must come after a callback that returns
    /// nothing, or beside one in [`add_callbacks`](Deferred::add_callbacks). Elsewhere it does not compile, because the
    /// next callback would have no value.
    ///
    /// ```
    /// use twistor::deferred::Abandoned;
    /// use twistor::prelude::*;
    ///
    /// let page = || fail::<String>(Abandoned);
    /// let recovered = page().add_errback(|_| Ok("nothing".to_owned()));
    /// let passed_on = page().add_errback(|failure| Err(failure.context("the first page")));
    /// page().add_callback(|text| println!("{text}")).add_errback(|failure| println!("failed: {failure}")).detach();
    /// # drop((recovered, passed_on.add_errback(|_| Ok(String::new()))));
    /// ```
    ///
    /// ```compile_fail,E0277
    /// use twistor::deferred::Abandoned;
    /// use twistor::prelude::*;
    ///
    /// let page = || fail::<String>(Abandoned);
    /// page().add_errback(|failure| println!("failed: {failure}")).add_callback(|text| println!("{text}"));
    /// ```
    #[inline]
    #[track_caller]
    pub fn add_errback<O: OutcomeOf<T>>(self, errback: impl FnOnce(Failure) -> O + 'static) -> Deferred<T> {
        self.then(OnFailure(errback))
    }

    /// Adds a callback and an errback, one of which runs. Twisted: `addCallbacks`.
    ///
    /// A failure of `callback` goes to the errback of the next stage, not to `errback`.
    #[inline]
    #[track_caller]
    pub fn add_callbacks<O: Outcome, P: OutcomeOf<O::Value>>(
        self,
        callback: impl FnOnce(T) -> O + 'static,
        errback: impl FnOnce(Failure) -> P + 'static,
    ) -> Deferred<O::Value> {
        self.then(OnEither(callback, errback))
    }

    /// Adds one function that receives the value or the failure. Twisted: `addBoth`.
    #[inline]
    #[track_caller]
    pub fn add_both<O: Outcome>(
        self,
        function: impl FnOnce(Result<T, Failure>) -> O + 'static,
    ) -> Deferred<O::Value> {
        self.then(OnBoth(function))
    }

    // The compiler's own choice to inline this varies from program to program. Out of line, a fired chain costs a call
    // and a copy of the result for each stage.
    #[inline(always)]
    #[track_caller]
    fn then<C: StageFunction<T>>(self, callback: C) -> Deferred<C::Value> {
        let place = Location::caller();
        let track = self.1.or_new(place, &self.0);
        let step = track.step(C::KIND, place);
        let next = match self.0 {
            DeferredState::Fired(input) => fired(input, callback, place, step),
            DeferredState::Pending(pending) => pending.then(callback, place, step).apart(),
        };
        next.tracked(track)
    }

    /// Names the callback that was added last, or the Deferred itself if it has no callback yet. The output of the
    /// feature `trace` shows the name. Without the feature, this function does nothing.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// succeed("21").named("input").add_callback(|text| Ok(text.parse::<u64>()?)).named("parse").detach();
    /// ```
    #[inline]
    pub fn named(self, name: &str) -> Deferred<T> {
        self.1.name(name);
        self
    }

    /// Records the `Debug` text of the value that the last callback returns, or of the trigger's value if there is no
    /// callback yet. The output of the feature `trace` shows it. Without the feature, this function does nothing.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// succeed("21").add_callback(|text| Ok(text.parse::<u64>()?)).named("parse").shown().detach();
    /// ```
    #[inline]
    pub fn shown(self) -> Deferred<T>
    where
        T: fmt::Debug,
    {
        self.1.show(&self.0);
        self
    }

    /// Returns whether the result has arrived, so that a new callback would run immediately.
    /// [`try_result`](Deferred::try_result) takes the result.
    pub fn is_fired(&self) -> bool {
        match &self.0 {
            DeferredState::Fired(_) => true,
            DeferredState::Pending(pending) => pending.has_result(),
        }
    }

    /// Returns whether the result is a lent value, which returns to its source if it is dropped unread.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(&self.0, DeferredState::Pending(pending) if pending.is_lent())
    }

    /// Returns the result if it has arrived, and the Deferred otherwise. For tests, and for loops that check now and
    /// then.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let (deferred, trigger) = Deferred::<u64>::new();
    /// let Err(waiting) = deferred.try_result() else { panic!("it has not fired") };
    /// trigger.callback(42);
    /// assert!(matches!(waiting.try_result(), Ok(Ok(42))));
    /// ```
    ///
    /// # Errors
    /// The unchanged Deferred, if it has no result yet.
    pub fn try_result(self) -> Result<Result<T, Failure>, Deferred<T>> {
        let result = match self.0 {
            DeferredState::Fired(result) => result,
            DeferredState::Pending(pending) => match pending.read() {
                Some((result, _)) => result,
                None => return Err(Deferred(DeferredState::Pending(pending), self.1)),
            },
        };
        Ok(result.map_err(Unhandled::into_failure))
    }

    /// Cancels the operation that the chain waits for. Twisted: `cancel`.
    ///
    /// - Before the Deferred has fired, its canceller runs. If it has none, or the canceller does not fire a result, the
    ///   chain fails with [`Cancelled`].
    /// - While the chain waits for a Deferred that a callback returned, that Deferred is cancelled, and the chain
    ///   continues with its result.
    /// - If the result has arrived, this function does nothing.
    ///
    /// [`Cancelled`]: crate::Cancelled
    pub fn cancel(&self) {
        if let DeferredState::Pending(pending) = &self.0 {
            pending.origin().into_iter().for_each(origin::cancel);
        }
    }

    /// Returns a [`Canceller`], which can cancel this Deferred after its handle has moved elsewhere.
    pub fn canceller(&self) -> Canceller {
        match &self.0 {
            DeferredState::Fired(_) => Canceller::none(),
            DeferredState::Pending(pending) => {
                let origin =
                    pending.out().and_then(|out| out.watched_origin(|at| ChainSource::<T>::fired_at(at)));
                origin.map_or_else(Canceller::none, |origin| Canceller::new(Rc::downgrade(&origin)))
            }
        }
    }

    /// Drops the handle without cancelling, even if the Deferred was polled. The callbacks still run, and a failure that
    /// no errback handles is logged.
    ///
    /// Dropping a Deferred that was never polled has the same effect. `detach` states the intent, and the compiler does
    /// not warn about an unused Deferred.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// # let (upload, trigger) = Deferred::<u64>::new();
    /// upload.add_callback(|bytes| println!("sent {bytes} bytes")).detach();
    /// # trigger.callback(1);
    /// ```
    pub fn detach(self) {
        if let DeferredState::Pending(pending) = self.0 {
            pending.detach();
        }
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            DeferredState::Fired(Ok(_)) => "Deferred(value)",
            DeferredState::Fired(Err(_)) => "Deferred(failure)",
            DeferredState::Pending(pending) if pending.has_result() => "Deferred(result)",
            DeferredState::Pending(_) => "Deferred(pending)",
        })
    }
}
