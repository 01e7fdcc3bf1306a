//! The engine: how stages are linked, and how a result runs through them.
//!
//! A chain is a list of nodes. Each node is one allocation: a stage (the callback, or the head where a
//! chain starts) and the slot for what comes out of it. A slot knows where its result goes, so firing is
//! a walk from slot to slot. The walk is bounded in depth: after [`frame::stages`] stages the rest is parked and
//! taken up by the loop in [`drive`], so that a chain of any length takes constant stack.
//!
//! ```text
//!   Trigger ──▶ Head │ slot ──Next──▶ callback │ slot ──Next──▶ callback │ slot ◀── Deferred
//!                                                │
//!                     a stage that returned a Deferred: that one's last slot is
//!                     pointed at whatever came next, and the stage is out of the way
//! ```
//!
//! Nothing here is borrowed while a user's code runs: slots are `Cell`s, taken and put back.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::Waker;

use crate::deferred::{DeferredState, PendingChain};
use crate::failure::{Unhandled, panic_message};
use crate::frame::{self, Frame};
use crate::lent::Lent;
use crate::origin::{self, Origin};
use crate::slot::{Out, Slot, Unlink};
use crate::trace::{StageKind, StageTrack};
use crate::trigger::ChainSource;
use crate::{Deferred, Failure, Panicked};

/// A result inside a chain: dropped there, a failure is reported.
pub(crate) type Settled<T> = Result<T, Unhandled>;

pub(crate) struct Node<T, S: ?Sized> {
    pub(crate) out: Out<T>,
    pub(crate) stage: S,
}

impl<T, S: Default> Default for Node<T, S> {
    #[inline]
    fn default() -> Self {
        Node { out: Out::new(Slot::Open), stage: S::default() }
    }
}

impl<T, S> Node<T, S> {
    pub(crate) fn new(stage: S) -> Rc<Self> {
        Node::with(Slot::Open, stage)
    }

    pub(crate) fn with(slot: Slot<T>, stage: S) -> Rc<Self> {
        Rc::new(Node { out: Out::new(slot), stage })
    }
}

/// What is left of a stage for those who hold only its slot.
pub(crate) trait AnyStage {
    /// Has `waker` woken when the result comes; false if this stage has no place for it.
    fn set_waker(&self, _waker: &Waker, _origin: &Rc<dyn Origin>) -> bool {
        false
    }

    /// The handle is gone before the result came. If it was polled, nobody is to hear of the result, and the source of
    /// the chain is to be cancelled.
    fn give_up(&self) -> Option<Rc<dyn Origin>> {
        None
    }

    fn forget_waker(&self) {}
}

/// Something that takes a result of type `T`.
pub(crate) trait NextStage<T> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk);

    /// The same with a value that goes back if nobody reads it. A callback reads it.
    fn run_lent(self: Rc<Self>, lent: Lent<T>, walk: &mut Walk) {
        if let Some(value) = lent.read() {
            self.run(Ok(value), walk);
        }
    }

    /// If this is nothing but a boundary that nobody needs any more: what comes after it.
    fn beyond_boundary(&self, _walk: &mut Walk) -> Option<Slot<T>> {
        None
    }

    /// The same, for taking a chain apart that never fired.
    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink>;
}

/// A user's function in one of its four forms, on one side of the chain or on both.
pub(crate) trait StageFunction<T>: 'static {
    const KIND: StageKind;
    type Value: 'static;
    fn call(self, input: Settled<T>) -> Deferred<Self::Value>;
}

/// A stage made by one `add_…` call.
pub(crate) struct Added<T, C> {
    /// The callback, where it was added, and what is recorded of it.
    callback: Cell<Option<(C, &'static Location<'static>, StageTrack)>>,
    input: PhantomData<fn(T)>,
}

impl<T, C> Default for Added<T, C> {
    fn default() -> Self {
        Added { callback: Cell::new(None), input: PhantomData }
    }
}

impl<U, T, C> Node<U, Added<T, C>> {
    #[inline]
    pub(crate) fn added(callback: C, added_at: &'static Location<'static>, step: StageTrack) -> Rc<Self> {
        // `Rc::new` would make the node on the stack and copy it, which costs as much as the allocation.
        let node = Rc::<Self>::default();
        node.stage.callback.set(Some((callback, added_at, step)));
        node
    }
}

impl<T, C> AnyStage for Added<T, C> {}

impl<T: 'static, C: StageFunction<T>> NextStage<T> for Node<C::Value, Added<T, C>> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk) {
        let Some((callback, added_at, step)) = self.stage.callback.take() else { return };
        step.entered(&input);
        let outcome = call(callback, input, added_at);
        step.left(&outcome);
        match outcome.0 {
            DeferredState::Fired(result) => {
                let result = result.map_err(|failure| failure.seen_in(walk.root.link().made_at()));
                deliver(self, result, walk);
            }
            DeferredState::Pending(inner) => splice(self, inner, walk),
        }
    }

    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink> {
        self
    }
}

/// A frame of its own, so that the user's locals are off the stack before the next stage runs.
#[inline(never)]
fn call<T, C: StageFunction<T>>(
    callback: C,
    input: Settled<T>,
    added_at: &'static Location<'static>,
) -> Deferred<C::Value> {
    caught(added_at, || callback.call(input))
}

/// Runs a user's function; a panic is its failure. The caller holds a [`Frame`].
#[inline(always)]
pub(crate) fn caught<T: 'static>(
    added_at: &'static Location<'static>,
    function: impl FnOnce() -> Deferred<T>,
) -> Deferred<T> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let error = Panicked::new(panic_message(payload), added_at);
            Deferred::fired(Err(Failure::made_at(Box::new(error), added_at).into()))
        }
    }
}

/// Stands at the end of a chain that a future awaits.
#[derive(Default)]
pub(crate) struct Awaited {
    waker: Cell<Option<Waker>>,
    /// The source of the chain, if it was polled. That owns the chain, which owns this: the ring ends when it fires.
    origin: Cell<Option<Rc<dyn Origin>>>,
    given_up: Cell<bool>,
}

impl AnyStage for Awaited {
    fn set_waker(&self, waker: &Waker, origin: &Rc<dyn Origin>) -> bool {
        self.waker.set(Some(waker.clone()));
        self.origin.set(Some(origin.clone()));
        true
    }

    fn give_up(&self) -> Option<Rc<dyn Origin>> {
        let origin = self.origin.take();
        self.given_up.set(origin.is_some());
        origin
    }

    fn forget_waker(&self) {
        drop((self.waker.take(), self.origin.take()));
    }
}

impl<T: 'static> NextStage<T> for Node<T, Awaited> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk) {
        if self.stage.given_up.get() {
            // A failure is not to be logged: the program gave up the wait.
            return drop(input.map_err(Unhandled::into_failure));
        }
        drop(self.stage.origin.take());
        let waker = self.stage.waker.take();
        deliver(self, input, walk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn run_lent(self: Rc<Self>, lent: Lent<T>, walk: &mut Walk) {
        match self.out.take() {
            Slot::Open => {
                self.out.put(Slot::Lent(lent));
                drop(self.stage.origin.take());
                if let Some(waker) = self.stage.waker.take() {
                    waker.wake();
                }
            }
            Slot::Closed => {
                self.out.put(Slot::Closed);
                drop(self.stage.origin.take());
            }
            next => {
                self.out.put(next);
                if let Some(value) = lent.read() {
                    self.run(Ok(value), walk);
                }
            }
        }
    }

    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink> {
        self
    }
}

/// One walk of a result down its chain.
pub(crate) struct Walk {
    /// The source of the chain the result is in; see [`origin`].
    root: Rc<dyn Origin>,
    depth: u32,
    /// How many stages run one inside the other before the rest is parked.
    limit: u32,
    parked: Option<ParkedStage>,
}

type ParkedStage = Box<dyn FnOnce(&mut Walk)>;

/// Runs `result`, which comes from `origin`, from `node` down to where the chain ends or waits.
pub(crate) fn drive<T: 'static>(origin: Rc<dyn Origin>, node: Rc<Node<T, dyn AnyStage>>, result: Settled<T>) {
    let Some(_frame) = Frame::within_depth() else {
        return drive_later(origin, node, result);
    };
    let limit = frame::stages();
    let mut walk = Walk { root: origin::root_of(origin), depth: 0, limit, parked: None };
    forward(node, result, &mut walk);
    walk.finish();
}

impl Walk {
    /// Takes up what was parked on the way.
    #[inline]
    fn finish(mut self) {
        while let Some(rest) = self.parked.take() {
            self.depth = 0;
            rest(&mut self);
        }
    }
}

/// As [`drive`], with a value that goes back if nobody reads it.
pub(crate) fn drive_lent<T: 'static>(
    origin: Rc<dyn Origin>,
    mut node: Rc<Node<T, dyn AnyStage>>,
    lent: Lent<T>,
) {
    let next = loop {
        match node.out.take() {
            Slot::Next(next) => break next,
            Slot::Forward(to) => node = to,
            Slot::Open => return node.out.put(Slot::Lent(lent)),
            Slot::Closed | Slot::Done(_) | Slot::Lent(_) => return node.out.put(Slot::Closed),
        }
    };
    let Some(_frame) = Frame::within_depth() else {
        node.out.put(Slot::Next(next));
        return frame::park(Box::new(move || drive_lent(origin, node, lent)));
    };
    drop(node);
    let root = origin::root_of(origin);
    let mut walk = Walk { root, depth: 0, limit: frame::stages(), parked: None };
    next.run_lent(lent, &mut walk);
    walk.finish();
}

/// Too deep to call anybody: the walk is parked, unless there is nothing to call.
#[cold]
#[inline(never)]
pub(crate) fn drive_later<T: 'static>(
    origin: Rc<dyn Origin>,
    node: Rc<Node<T, dyn AnyStage>>,
    result: Settled<T>,
) {
    match node.out.take() {
        Slot::Open => node.out.put(Slot::Done(result)),
        Slot::Closed => node.out.put(Slot::Closed),
        next => {
            node.out.put(next);
            frame::park(Box::new(move || drive(origin, node, result)));
        }
    }
}

/// Hands on what came out of `node`. Always inline, as [`advance`]: with one frame a stage, the returns of a short chain
/// are those that the processor expects; with two, a chain of ten takes twice the time.
#[inline(always)]
fn deliver<T: 'static, S: AnyStage + 'static>(node: Rc<Node<T, S>>, result: Settled<T>, walk: &mut Walk) {
    match node.out.take_next() {
        Some(next) => {
            drop(node);
            advance(next, result, walk);
        }
        None => forward(node, result, walk),
    }
}

/// As [`deliver`], along the nodes that were left waiting on one another.
#[inline(never)]
fn forward<T: 'static>(mut node: Rc<Node<T, dyn AnyStage>>, result: Settled<T>, walk: &mut Walk) {
    loop {
        match node.out.take() {
            Slot::Next(next) => {
                drop(node);
                return advance(next, result, walk);
            }
            Slot::Forward(to) => node = to,
            Slot::Open => return node.out.put(Slot::Done(result)),
            Slot::Closed | Slot::Done(_) | Slot::Lent(_) => return node.out.put(Slot::Closed),
        }
    }
}

#[inline(always)]
fn advance<T: 'static>(next: Rc<dyn NextStage<T>>, result: Settled<T>, walk: &mut Walk) {
    if walk.depth < walk.limit {
        walk.depth += 1;
        next.run(result, walk);
    } else {
        park(next, result, walk);
    }
}

#[cold]
#[inline(never)]
fn park<T: 'static>(next: Rc<dyn NextStage<T>>, result: Settled<T>, walk: &mut Walk) {
    walk.parked = Some(Box::new(move |walk| next.run(result, walk)));
}

/// The callback of `node` returned `inner`, which has not fired: what comes out of that is to come out
/// of `node`. A node that has a next stage steps aside altogether, so an endless loop of callbacks that
/// each return the next Deferred holds nothing but the last.
#[cold]
fn splice<T: 'static, S: AnyStage + 'static>(node: Rc<Node<T, S>>, inner: PendingChain<T>, walk: &mut Walk) {
    if let Some(result) = inner.take_result() {
        return deliver(node, result, walk);
    }
    if origin::waits_for(inner.origin(), &walk.root) {
        inner.detach();
        let error = Failure::made_at(Box::new(CircularWait), walk.root.link().made_at());
        return deliver(node, Err(error.into()), walk);
    }
    let mut to = match node.out.take() {
        Slot::Open => Slot::Forward(node),
        next => next,
    };
    while let Slot::Next(next) = &to {
        match next.beyond_boundary(walk) {
            Some(beyond) => to = beyond,
            None => break,
        }
    }
    inner.end_in(to, &walk.root);
}

impl<T: 'static> PendingChain<T> {
    /// Lets the result go on to `to`, in the chain of `outer`, which waits for it.
    fn end_in(self, mut to: Slot<T>, outer: &Rc<dyn Origin>) {
        let Some((origin, end)) = self.into_ends() else { return };
        let bounded = origin::is_watched(&origin);
        if bounded {
            to = Slot::Next(Node::with(to, Boundary));
        }
        origin::wait(outer, &origin, bounded);
        end.out.put(to);
    }
}

impl<T: 'static> PendingChain<T> {
    /// What a callback returned that was added after its chain had its result, where it was added: the rest
    /// of that chain. `origin` is the chain's, if it is still known.
    #[cold]
    pub(crate) fn returned_late(
        self,
        origin: Option<Rc<dyn Origin>>,
        place: &'static Location<'static>,
    ) -> Deferred<T> {
        if let Some(result) = self.take_result() {
            return Deferred::fired(result).in_chain_of(origin);
        }
        // Without a `Canceller` of either, nobody can tell the two chains apart.
        if !origin.as_ref().is_some_and(origin::is_watched) && !origin::is_watched(self.origin()) {
            self.forget_waker();
            return Deferred::of(DeferredState::Pending(self));
        }
        let origin = origin.unwrap_or_else(|| ChainSource::<T>::fired_at(place));
        // Not `Forward`, which would pass by the waker.
        let end = Node::new(Awaited::default());
        self.end_in(Slot::Next(end.clone()), &origin);
        Deferred::of(DeferredState::Pending(PendingChain::new(origin, end)))
    }
}

impl<T: 'static> Deferred<T> {
    /// Keeps a result in its chain for as long as somebody has a [`Canceller`](crate::Canceller) of that, who
    /// can then reach what callbacks added later wait for.
    #[inline]
    pub(crate) fn in_chain_of(self, origin: Option<Rc<dyn Origin>>) -> Deferred<T> {
        match (self.0, origin) {
            (DeferredState::Fired(result), Some(origin)) if origin::is_watched(&origin) => {
                let end = Node::with(Slot::Done(result), Awaited::default());
                Deferred::of(DeferredState::Pending(PendingChain::new(origin, end)))
            }
            (state, _) => Deferred::of(state),
        }
    }
}

/// Stands where a chain ends that can be cancelled by itself, and the one that waits for it goes on.
struct Boundary;

impl AnyStage for Boundary {}

impl<T: 'static> NextStage<T> for Node<T, Boundary> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk) {
        walk.root = origin::leave(walk.root.clone());
        deliver(self, input, walk);
    }

    fn beyond_boundary(&self, walk: &mut Walk) -> Option<Slot<T>> {
        origin::leave_unwatched(&mut walk.root).then(|| self.out.take())
    }

    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink> {
        self
    }
}

/// The error of a chain whose callback returned a Deferred that waits for that same chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircularWait;

impl std::fmt::Display for CircularWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a callback returned the Deferred whose chain it is in, which would wait for itself")
    }
}

impl std::error::Error for CircularWait {}
