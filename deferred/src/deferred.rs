//! The reading half: a result that is not there yet, and what is to be done with it.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::chain::{self, Added, AnyStage, Node, Settled, StageFunction};
use crate::failure::Unhandled;
use crate::frame::{self, Frame};
use crate::origin::{self, Origin};
use crate::slot::Slot;
use crate::trace::{StageKind, StageTrack, Track};
use crate::trigger::ChainSource;
use crate::{Canceller, Failure, Outcome, OutcomeOf, Trigger};

/// A result that is not there yet, to which callbacks are added. Twisted's `Deferred`.
///
/// [`new`](Deferred::new) gives one together with the [`Trigger`] that fires it. Adding a callback
/// consumes the handle and returns the next one, because a callback may change the type of the result.
/// A callback captures what it needs, so there are no extra arguments as Twisted has them.
///
/// ```
/// use twistor_deferred::Deferred;
///
/// let (deferred, trigger) = Deferred::<u64>::new();
/// deferred
///     .add_callback(|n| Ok(n.to_string()))
///     .add_callback(|text| println!("it came: {text}"));
/// trigger.callback(42);
/// ```
///
/// # Ordering
/// Callbacks run in the order they were added, each on what the one before returned. One added after
/// the result is there runs at once, before `add_callback` returns.
///
/// Callbacks that fire or add to further Deferreds may be nested 32 deep. Beyond that they are parked, and run in order
/// before the outermost call returns, so recursion through callbacks takes constant stack. `add_callback` then returns
/// a Deferred that has not fired yet.
///
/// # Errors and panics
/// An `Err` that a callback returns, or its panic, goes to the errback of a *later* stage. A stage that
/// has no callback for the side it gets passes the result on. A failure that nobody handled is logged
/// with `log::error!` at the moment the last handle to it is dropped; [`log_to_stderr`](crate::log_to_stderr) shows it
/// in programs without a logger.
///
/// # Re-entrancy
/// A callback may do anything: fire, cancel, drop and add to other Deferreds, or to its own. Firing is a
/// loop, so chains of any length take constant stack.
///
/// # Dropping
/// A handle dropped before the result is there cancels nothing: the callbacks already added still run. One that was
/// polled, as by `await`, is cancelled.
///
/// The trigger owns the chain, and what a callback captured goes when it has run or was passed over. A callback, or a
/// canceller, that itself owns what is to fire it (its trigger, or the queue or pool where it waits) is a ring of
/// owners: firing or cancelling breaks it, and nothing else frees it. Let it hold a [`Weak`](std::rc::Weak) then.
/// A [`Canceller`] owns nothing.
///
/// # Threads
/// A Deferred belongs to its thread:
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(twistor_deferred::succeed(1));
/// ```
#[must_use = "a failure in a Deferred that is dropped can only be logged: return it, give it to `run_until`, or `drop` it to say so"]
pub struct Deferred<T>(pub(crate) DeferredState<T>, pub(crate) Track);

pub(crate) enum DeferredState<T> {
    Fired(Settled<T>),
    Pending(PendingChain<T>),
}

/// The handle of a chain that had not fired when it was last looked at: where the chain starts, and its end.
pub(crate) struct PendingChain<T> {
    origin: Rc<dyn Origin>,
    tail: Tail<T>,
}

/// Where a chain starts, and its last node.
type Ends<T> = (Rc<dyn Origin>, Rc<Node<T, dyn AnyStage>>);

impl<T> PendingChain<T> {
    #[inline]
    pub(crate) fn new(origin: Rc<dyn Origin>, end: Rc<Node<T, dyn AnyStage>>) -> PendingChain<T> {
        PendingChain { origin, tail: Tail(Some(end)) }
    }

    /// Both ends of the chain, whose result, which has not come, is to go elsewhere. They are always there.
    #[inline]
    pub(crate) fn into_ends(self) -> Option<Ends<T>> {
        // The tail is not to be closed, then.
        let end = ManuallyDrop::new(self.tail).0.take()?;
        Some((self.origin, end))
    }

    #[inline]
    pub(crate) fn origin(&self) -> &Rc<dyn Origin> {
        &self.origin
    }

    /// The result, if it is there.
    #[inline]
    pub(crate) fn take_result(&self) -> Option<Settled<T>> {
        self.tail.0.as_ref()?.out.take_result()
    }

    pub(crate) fn has_result(&self) -> bool {
        self.tail.0.as_ref().is_some_and(|end| end.out.has_result())
    }

    #[cfg(feature = "trace")]
    pub(crate) fn look_at_result(&self, look: impl FnOnce(&Settled<T>)) {
        if let Some(end) = &self.tail.0 {
            end.out.look_at_result(look);
        }
    }

    /// Whether it has a value that goes back where it is dropped unread.
    fn is_lent(&self) -> bool {
        self.tail.0.as_ref().is_some_and(|end| end.out.is_lent())
    }

    /// Has `waker` woken when the result comes; false if there is no place for it yet.
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        self.tail.0.as_ref().is_some_and(|end| end.stage.set_waker(waker, &self.origin))
    }

    /// Ends the wait of the task that polled it, so that dropping it cancels nothing.
    pub(crate) fn forget_waker(&self) {
        if let Some(end) = &self.tail.0 {
            end.stage.forget_waker();
        }
    }

    /// Drops the handle, and cancels nothing.
    pub(crate) fn detach(self) {
        self.forget_waker();
    }
}

/// The end of a chain, in the hands of the one who may read its result; there until it leads elsewhere.
struct Tail<T>(Option<Rc<Node<T, dyn AnyStage>>>);

impl<T> Drop for Tail<T> {
    /// A result that nobody can read any more goes at once, although the trigger of a Deferred that was
    /// cancelled may hold the node for longer.
    #[inline]
    fn drop(&mut self) {
        if let Some(end) = &self.0 {
            if end.out.close() {
                if let Some(origin) = end.stage.give_up() {
                    cancel_awaited(origin);
                }
            }
        }
    }
}

/// Cancels what was awaited, and no longer is.
#[cold]
fn cancel_awaited(origin: Rc<dyn Origin>) {
    if std::thread::panicking() {
        // Cancellers do not run inside of a panic, but as soon as it is caught.
        frame::park(Box::new(move || origin::cancel(origin)));
    } else {
        origin::cancel(origin);
    }
}

impl<T: 'static> Deferred<T> {
    /// A Deferred and the trigger that fires it. Twisted's `Deferred()`.
    #[allow(clippy::new_ret_no_self)]
    #[inline]
    #[track_caller]
    pub fn new() -> (Deferred<T>, Trigger<T>) {
        Deferred::from_source(ChainSource::at(Location::caller(), None))
    }

    /// A Deferred that knows how to stop what it waits for. Twisted's `Deferred(canceller)`.
    ///
    /// `canceller` runs at most once, when the Deferred is cancelled before it fired. It gets a trigger of
    /// its own, and may fire it, either way; if nothing was fired when it returns, [`Cancelled`] follows.
    ///
    /// ```
    /// use twistor_deferred::{Cancelled, Deferred};
    ///
    /// let (deferred, trigger) = Deferred::<u64>::with_canceller(|_| println!("stopping the download"));
    /// deferred.cancel();
    /// assert!(!trigger.is_live());
    /// deferred.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0));
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

    /// A Deferred that has a value, which `give_back` gets where it is dropped unread.
    pub(crate) fn lent(
        value: T,
        give_back: impl FnOnce(T) + 'static,
        made_at: &'static Location<'static>,
    ) -> Deferred<T> {
        let (deferred, trigger) = Deferred::from_source(ChainSource::at(made_at, None));
        trigger.lend(value, give_back);
        deferred
    }

    #[inline]
    pub(crate) fn of(state: DeferredState<T>) -> Deferred<T> {
        Deferred(state, Track::default())
    }

    #[inline]
    pub(crate) fn tracked(self, track: Track) -> Deferred<T> {
        Deferred(self.0, track)
    }

    /// Names `place` as where the Deferred was made, in log lines and in what the feature `trace` shows. For libraries
    /// that make a Deferred for their caller, deep inside: `place` is the caller's.
    ///
    /// ```
    /// use std::panic::Location;
    /// use twistor_deferred::Deferred;
    ///
    /// # fn open() -> Deferred<u64> { twistor_deferred::fail(twistor_deferred::Cancelled) }
    /// /// If nobody handles its failure, the log names the line that called `connect`.
    /// #[track_caller]
    /// fn connect() -> Deferred<u64> {
    ///     open().attributed_to(Location::caller())
    /// }
    /// ```
    pub fn attributed_to(self, place: &'static Location<'static>) -> Deferred<T> {
        let track = self.1;
        track.attribute_to(place);
        let named = match self.0 {
            DeferredState::Pending(pending) => {
                pending.origin.link().attribute_to(place);
                let result = if pending.is_lent() { None } else { pending.take_result() };
                match result {
                    Some(result) => Deferred::fired(result).made_at(place).in_chain_of(Some(pending.origin)),
                    None => Deferred::of(DeferredState::Pending(pending)),
                }
            }
            fired => Deferred::of(fired).made_at(place),
        };
        named.tracked(track)
    }

    /// Lets a failure in it know where it was.
    #[inline]
    pub(crate) fn made_at(self, place: &'static Location<'static>) -> Deferred<T> {
        match self.0 {
            DeferredState::Fired(Err(failure)) => {
                Deferred(DeferredState::Fired(Err(failure.seen_in(place))), self.1)
            }
            state => Deferred(state, self.1),
        }
    }

    /// Adds a function for the value; a failure passes it by. Twisted's `addCallback`.
    ///
    /// `callback` returns an [`Outcome`]: a `Result`, a Deferred, or nothing.
    #[inline]
    #[track_caller]
    pub fn add_callback<O: Outcome>(self, callback: impl FnOnce(T) -> O + 'static) -> Deferred<O::Value> {
        self.then(OnValue(callback))
    }

    /// Adds a function for the failure; a value passes it by. Twisted's `addErrback`.
    ///
    /// `errback` returns an [`Outcome`] of the same type: `Ok` brings the chain back to its callbacks, and
    /// `Err(failure)` goes on to the next errback. [`Failure::trap`] picks the errors to handle.
    ///
    /// One that only tells of the failure, and returns nothing, therefore stands behind a callback that returns nothing,
    /// or beside one in [`add_callbacks`](Deferred::add_callbacks); anywhere else it does not compile, since the
    /// callbacks behind it would get nothing.
    ///
    /// ```
    /// # use twistor_deferred::{Abandoned, fail};
    /// # let page = || fail::<String>(Abandoned);
    /// page().add_errback(|_| Ok("nothing".to_owned())); // another value instead
    /// page().add_errback(|failure| Err(failure.context("the first page"))); // and on it goes
    /// page().add_callback(|text| println!("{text}")).add_errback(|failure| println!("failed: {failure}"));
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use twistor_deferred::{Abandoned, fail};
    /// # let page = || fail::<String>(Abandoned);
    /// page().add_errback(|failure| println!("failed: {failure}")).add_callback(|text| println!("{text}"));
    /// ```
    #[inline]
    #[track_caller]
    pub fn add_errback<O: OutcomeOf<T>>(self, errback: impl FnOnce(Failure) -> O + 'static) -> Deferred<T> {
        self.then(OnFailure(errback))
    }

    /// Adds a function for either side, of which one runs. Twisted's `addCallbacks`.
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

    /// Adds one function for both sides. Twisted's `addBoth`.
    #[inline]
    #[track_caller]
    pub fn add_both<O: Outcome>(
        self,
        function: impl FnOnce(Result<T, Failure>) -> O + 'static,
    ) -> Deferred<O::Value> {
        self.then(OnBoth(function))
    }

    // Left to itself, the compiler inlines this in one program and not in the next, and a fired chain is to cost nothing.
    #[inline(always)]
    #[track_caller]
    fn then<C: StageFunction<T>>(self, callback: C) -> Deferred<C::Value> {
        let place = Location::caller();
        let track = self.1.or_new(place, &self.0);
        let step = track.step(C::KIND, place);
        let next = match self.0 {
            DeferredState::Fired(input) => fired(input, callback, place, step),
            DeferredState::Pending(pending) => pending.then(callback, place, step),
        };
        next.tracked(track)
    }

    /// Gives a name to the callback that was added last, or to the Deferred itself when there is none yet, to
    /// be found by in what the cargo feature `trace` shows. Without the feature it does nothing.
    ///
    /// ```
    /// # use twistor_deferred::succeed;
    /// succeed("21").named("input").add_callback(|text| Ok(text.parse::<u64>()?)).named("parse");
    /// ```
    #[inline]
    pub fn named(self, name: &str) -> Deferred<T> {
        self.1.name(name);
        self
    }

    /// Records the value that comes out of the callback that was added last, or out of the trigger, as its `Debug` text:
    /// the cargo feature `trace` shows it. Without the feature it does nothing.
    ///
    /// ```
    /// # use twistor_deferred::succeed;
    /// succeed("21").add_callback(|text| Ok(text.parse::<u64>()?)).named("parse").shown();
    /// ```
    #[inline]
    pub fn shown(self) -> Deferred<T>
    where
        T: fmt::Debug,
    {
        self.1.show(&self.0);
        self
    }

    /// Whether the result is there, so that a callback would run at once. [`try_result`](Deferred::try_result)
    /// takes it.
    pub fn is_fired(&self) -> bool {
        match &self.0 {
            DeferredState::Fired(_) => true,
            DeferredState::Pending(pending) => pending.has_result(),
        }
    }

    /// Whether it has a value that goes back where it is dropped unread.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(&self.0, DeferredState::Pending(pending) if pending.is_lent())
    }

    /// The result, if it is there, and otherwise the Deferred again: for a test, or a loop that only looks.
    ///
    /// ```
    /// use twistor_deferred::Deferred;
    ///
    /// let (deferred, trigger) = Deferred::<u64>::new();
    /// let Err(waiting) = deferred.try_result() else { panic!("it has not fired") };
    /// trigger.callback(42);
    /// assert!(matches!(waiting.try_result(), Ok(Ok(42))));
    /// ```
    ///
    /// # Errors
    /// The Deferred itself, as it was, when it waits.
    pub fn try_result(self) -> Result<Result<T, Failure>, Deferred<T>> {
        let result = match self.0 {
            DeferredState::Fired(result) => result,
            DeferredState::Pending(pending) => match pending.take_result() {
                Some(result) => result,
                None => return Err(Deferred(DeferredState::Pending(pending), self.1)),
            },
        };
        Ok(result.map_err(Unhandled::into_failure))
    }

    /// Cancels what the chain waits for. Twisted's `cancel`.
    ///
    /// Before it fired: the canceller runs, if there is one, and unless that fires something the chain gets
    /// [`Cancelled`]. While the chain waits for a Deferred that a callback returned, that one is cancelled,
    /// and its outcome goes on down the chain. On a Deferred that has its result: nothing.
    ///
    /// [`Cancelled`]: crate::Cancelled
    pub fn cancel(&self) {
        if let DeferredState::Pending(pending) = &self.0 {
            origin::cancel(pending.origin.clone());
        }
    }

    /// Something that cancels this Deferred after the handle was given away.
    pub fn canceller(&self) -> Canceller {
        match &self.0 {
            DeferredState::Fired(_) => Canceller::none(),
            DeferredState::Pending(pending) => Canceller::new(Rc::downgrade(&pending.origin)),
        }
    }

    /// Lets the chain run on without its handle, also if the Deferred was polled. A failure that no errback of the chain
    /// handles is logged.
    ///
    /// Dropping a Deferred that was never polled does the same.
    ///
    /// ```
    /// # use twistor_deferred::Deferred;
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

impl<T: 'static> PendingChain<T> {
    // As above: in its own frame a pending chain takes half as much again.
    #[inline(always)]
    fn then<C: StageFunction<T>>(
        self,
        callback: C,
        place: &'static Location<'static>,
        step: StageTrack,
    ) -> Deferred<C::Value> {
        let input = self.take_result();
        // Always there.
        let Some((origin, end)) = self.into_ends() else { return Deferred::fired(Err(Unhandled::taken())) };
        match input {
            None => {
                let node = Node::<C::Value, Added<T, C>>::added(callback, place, step);
                end.out.put(Slot::Next(node.clone()));
                Deferred::of(DeferredState::Pending(PendingChain::new(origin, node)))
            }
            Some(input) => match Frame::within_depth() {
                Some(_frame) => late(origin, input, callback, place, &step),
                None => later(origin, end, input, callback, place, step),
            },
        }
    }
}

/// Adds a callback to a chain that has its result, too deep to run it now.
#[cold]
#[inline(never)]
fn later<T: 'static, C: StageFunction<T>>(
    origin: Rc<dyn Origin>,
    end: Rc<Node<T, dyn AnyStage>>,
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: StageTrack,
) -> Deferred<C::Value> {
    let node = Node::<C::Value, Added<T, C>>::added(callback, place, step);
    end.out.put(Slot::Next(node.clone()));
    chain::drive_later(origin.clone(), end, input);
    Deferred::of(DeferredState::Pending(PendingChain::new(origin, node)))
}

/// Runs a callback that was added to a Deferred which has fired.
#[inline(always)]
fn fired<T: 'static, C: StageFunction<T>>(
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: StageTrack,
) -> Deferred<C::Value> {
    let Some(_frame) = Frame::within_depth() else {
        let source = ChainSource::<T>::fired_at(place);
        return later(source.clone(), source, input, callback, place, step);
    };
    step.entered(&input);
    let outcome = chain::caught(place, || callback.call(input));
    step.left(&outcome);
    match outcome.0 {
        DeferredState::Pending(inner) => inner.returned_late(None, place),
        fired => Deferred::of(fired).made_at(place),
    }
}

/// Runs a callback that was added after the chain of `origin` had its result.
#[cold]
fn late<T: 'static, C: StageFunction<T>>(
    origin: Rc<dyn Origin>,
    input: Settled<T>,
    callback: C,
    place: &'static Location<'static>,
    step: &StageTrack,
) -> Deferred<C::Value> {
    step.entered(&input);
    let outcome = chain::caught(place, || callback.call(input));
    step.left(&outcome);
    match outcome.0 {
        DeferredState::Pending(inner) => inner.returned_late(Some(origin), place),
        fired => Deferred::of(fired).made_at(origin.link().made_at()).in_chain_of(Some(origin)),
    }
}

struct OnValue<F>(F);
struct OnFailure<F>(F);
struct OnEither<F, G>(F, G);
struct OnBoth<F>(F);

impl<T: 'static, O: Outcome, F: FnOnce(T) -> O + 'static> StageFunction<T> for OnValue<F> {
    const KIND: StageKind = StageKind::Callback;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        match input {
            Ok(value) => (self.0)(value).into_deferred(),
            Err(failure) => Deferred::fired(Err(failure)),
        }
    }
}

impl<T: 'static, O: Outcome<Value = T>, F: FnOnce(Failure) -> O + 'static> StageFunction<T> for OnFailure<F> {
    const KIND: StageKind = StageKind::Errback;
    type Value = T;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<T> {
        match input {
            Ok(value) => Deferred::fired(Ok(value)),
            Err(failure) => (self.0)(failure.into_failure()).into_deferred(),
        }
    }
}

impl<T, O, P, F, G> StageFunction<T> for OnEither<F, G>
where
    T: 'static,
    O: Outcome,
    P: Outcome<Value = O::Value>,
    F: FnOnce(T) -> O + 'static,
    G: FnOnce(Failure) -> P + 'static,
{
    const KIND: StageKind = StageKind::Callbacks;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        match input {
            Ok(value) => (self.0)(value).into_deferred(),
            Err(failure) => (self.1)(failure.into_failure()).into_deferred(),
        }
    }
}

impl<T: 'static, O: Outcome, F: FnOnce(Result<T, Failure>) -> O + 'static> StageFunction<T> for OnBoth<F> {
    const KIND: StageKind = StageKind::Both;
    type Value = O::Value;

    #[inline]
    fn call(self, input: Settled<T>) -> Deferred<O::Value> {
        (self.0)(input.map_err(|failure| failure.into_failure())).into_deferred()
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            DeferredState::Fired(Ok(_)) => "Deferred(has its value)",
            DeferredState::Fired(Err(_)) => "Deferred(has failed)",
            DeferredState::Pending(pending) if pending.has_result() => "Deferred(has its result)",
            DeferredState::Pending(_) => "Deferred(waiting)",
        })
    }
}
