//! The engine: how stages are linked, and how a result runs through them.
//!
//! A chain is a list of nodes. Each node is one allocation: a stage (the callback, or the head where a
//! chain starts) and the slot for what comes out of it. A slot knows where its result goes, so firing is
//! a walk from slot to slot. The walk is bounded in depth: after [`DEPTH`] stages the rest is parked and
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

use crate::deferred::{Pending, State, Tail};
use crate::failure::Unhandled;
use crate::origin::{self, Origin};
use crate::trigger::Source;
use crate::{Deferred, Failure, Panicked};

/// A result inside a chain: dropped there, a failure is reported.
pub(crate) type Settled<T> = Result<T, Unhandled>;

/// How many stages run one inside the other before the rest is parked.
const DEPTH: u32 = 32;

/// Where the result of a node is, or where it goes.
pub(crate) enum Slot<T> {
    /// No result yet, and nothing to take it but a handle.
    Open,
    /// No result yet, and the handle is gone.
    Closed,
    /// The next stage takes it.
    Next(Rc<dyn Input<T>>),
    /// It is the result of that node, whose callback returned the Deferred that ends here.
    Forward(Rc<Node<T, dyn Stage>>),
    /// The result, for the handle to pick up.
    Done(Settled<T>),
}

pub(crate) struct Node<T, S: ?Sized> {
    pub(crate) out: Cell<Slot<T>>,
    pub(crate) stage: S,
}

impl<T, S> Node<T, S> {
    pub(crate) fn new(stage: S) -> Rc<Self> {
        Rc::new(Node { out: Cell::new(Slot::Open), stage })
    }
}

impl<T, S: ?Sized> Node<T, S> {
    /// The result, if it is there.
    #[inline]
    pub(crate) fn take_result(&self) -> Option<Settled<T>> {
        match self.out.replace(Slot::Open) {
            Slot::Done(result) => Some(result),
            other => {
                self.out.set(other);
                None
            }
        }
    }

    pub(crate) fn has_result(&self) -> bool {
        let slot = self.out.replace(Slot::Open);
        let done = matches!(slot, Slot::Done(_));
        self.out.set(slot);
        done
    }
}

/// What is left of a stage for those who hold only its slot.
pub(crate) trait Stage {
    /// Has `waker` woken when the result comes; false if this stage has no place for it.
    fn set_waker(&self, _waker: &Waker) -> bool {
        false
    }
}

/// Something that takes a result of type `T`.
pub(crate) trait Input<T> {
    fn run(self: Rc<Self>, input: Settled<T>, run: &mut Run);

    /// If this is nothing but a boundary that nobody needs any more: what comes after it.
    fn beyond_boundary(&self, _run: &mut Run) -> Option<Slot<T>> {
        None
    }

    /// The same, for taking a chain apart that never fired.
    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink>;
}

/// A user's function in one of its four forms, on one side of the chain or on both.
pub(crate) trait Callback<T>: 'static {
    type Value: 'static;
    fn call(self, input: Settled<T>) -> Deferred<Self::Value>;
}

/// A stage made by one `add_…` call.
pub(crate) struct Added<T, C> {
    callback: Cell<Option<C>>,
    added_at: &'static Location<'static>,
    input: PhantomData<fn(T)>,
}

impl<T, C> Added<T, C> {
    #[inline]
    pub(crate) fn new(callback: C, added_at: &'static Location<'static>) -> Self {
        Added { callback: Cell::new(Some(callback)), added_at, input: PhantomData }
    }
}

impl<T, C> Stage for Added<T, C> {}

impl<T: 'static, C: Callback<T>> Input<T> for Node<C::Value, Added<T, C>> {
    fn run(self: Rc<Self>, input: Settled<T>, run: &mut Run) {
        let Some(callback) = self.stage.callback.take() else { return };
        match call(callback, input, self.stage.added_at).0 {
            State::Fired(mut result) => {
                if let Err(failure) = &mut result {
                    failure.seen_in(run.root.link().made_at);
                }
                deliver(self, result, run);
            }
            State::Pending(inner) => splice(self, inner, run),
        }
    }

    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink> {
        self
    }
}

/// A frame of its own, so that the user's locals are off the stack before the next stage runs.
#[inline(never)]
fn call<T, C: Callback<T>>(
    callback: C,
    input: Settled<T>,
    added_at: &'static Location<'static>,
) -> Deferred<C::Value> {
    guarded(added_at, || callback.call(input))
}

/// Runs a user's function; a panic is its failure.
#[inline]
pub(crate) fn guarded<T: 'static>(
    added_at: &'static Location<'static>,
    function: impl FnOnce() -> Deferred<T>,
) -> Deferred<T> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let error = Panicked::new(payload, added_at);
            Deferred::fired(Err(Failure::made_at(Box::new(error), added_at).into()))
        }
    }
}

/// Stands at the end of a chain that a future awaits.
#[derive(Default)]
pub(crate) struct Awaited {
    waker: Cell<Option<Waker>>,
}

impl Stage for Awaited {
    fn set_waker(&self, waker: &Waker) -> bool {
        self.waker.set(Some(waker.clone()));
        true
    }
}

impl<T: 'static> Input<T> for Node<T, Awaited> {
    fn run(self: Rc<Self>, input: Settled<T>, run: &mut Run) {
        let waker = self.stage.waker.take();
        deliver(self, input, run);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink> {
        self
    }
}

/// One walk of a result down its chain.
pub(crate) struct Run {
    /// The source of the chain the result is in; see [`origin`].
    root: Rc<dyn Origin>,
    depth: u32,
    parked: Option<Parked>,
}

type Parked = Box<dyn FnOnce(&mut Run)>;

/// Runs `result`, which comes from `origin`, from `node` down to where the chain ends or waits.
pub(crate) fn drive<T: 'static>(origin: Rc<dyn Origin>, node: Rc<Node<T, dyn Stage>>, result: Settled<T>) {
    let mut run = Run { root: origin::root_of(origin), depth: 0, parked: None };
    deliver(node, result, &mut run);
    while let Some(rest) = run.parked.take() {
        run.depth = 0;
        rest(&mut run);
    }
}

/// Hands on what came out of `node`.
#[inline]
fn deliver<T: 'static, S: Stage + ?Sized>(node: Rc<Node<T, S>>, result: Settled<T>, run: &mut Run) {
    match node.out.replace(Slot::Open) {
        Slot::Next(next) => {
            drop(node);
            advance(next, result, run);
        }
        Slot::Forward(to) => {
            drop(node);
            forward(to, result, run);
        }
        Slot::Open => node.out.set(Slot::Done(result)),
        Slot::Closed | Slot::Done(_) => node.out.set(Slot::Closed),
    }
}

/// As [`deliver`], along the nodes that were left waiting on one another.
fn forward<T: 'static>(mut node: Rc<Node<T, dyn Stage>>, result: Settled<T>, run: &mut Run) {
    loop {
        match node.out.replace(Slot::Open) {
            Slot::Next(next) => {
                drop(node);
                return advance(next, result, run);
            }
            Slot::Forward(to) => node = to,
            Slot::Open => return node.out.set(Slot::Done(result)),
            Slot::Closed | Slot::Done(_) => return node.out.set(Slot::Closed),
        }
    }
}

#[inline]
fn advance<T: 'static>(next: Rc<dyn Input<T>>, result: Settled<T>, run: &mut Run) {
    if run.depth < DEPTH {
        run.depth += 1;
        next.run(result, run);
    } else {
        run.parked = Some(Box::new(move |run| next.run(result, run)));
    }
}

/// The callback of `node` returned `inner`, which has not fired: what comes out of that is to come out
/// of `node`. A node that has a next stage steps aside altogether, so an endless loop of callbacks that
/// each return the next Deferred holds nothing but the last.
#[cold]
fn splice<T: 'static, S: Stage + 'static>(node: Rc<Node<T, S>>, inner: Pending<T>, run: &mut Run) {
    if let Some(result) = inner.tail.take_result() {
        return deliver(node, result, run);
    }
    if origin::waits_for(&inner.origin, &run.root) {
        let error = Failure::made_at(Box::new(CircularWait), run.root.link().made_at);
        return deliver(node, Err(error.into()), run);
    }
    let mut to = match node.out.replace(Slot::Open) {
        Slot::Open => Slot::Forward(node),
        next => next,
    };
    while let Slot::Next(next) = &to {
        match next.beyond_boundary(run) {
            Some(beyond) => to = beyond,
            None => break,
        }
    }
    inner.end_in(to, &run.root);
}

impl<T: 'static> Pending<T> {
    /// Lets the result go on to `to`, in the chain of `outer`, which waits for it.
    fn end_in(self, mut to: Slot<T>, outer: &Rc<dyn Origin>) {
        let bounded = origin::is_watched(&self.origin);
        if bounded {
            to = Slot::Next(Rc::new(Node { out: Cell::new(to), stage: Boundary }));
        }
        origin::wait(outer, &self.origin, bounded);
        self.tail.out.set(to);
    }
}

impl<T: 'static> Pending<T> {
    /// What a callback returned that was added after its chain had its result, where it was added: the rest
    /// of that chain. `origin` is the chain's, if it is still known.
    #[cold]
    pub(crate) fn returned_late(
        self,
        origin: Option<Rc<dyn Origin>>,
        place: &'static Location<'static>,
    ) -> Deferred<T> {
        if let Some(result) = self.tail.take_result() {
            return Deferred::fired(result).in_chain_of(origin);
        }
        // Without a `Canceller` of either, nobody can tell the two chains apart.
        if !origin.as_ref().is_some_and(origin::is_watched) && !origin::is_watched(&self.origin) {
            return Deferred(State::Pending(self));
        }
        let origin = origin.unwrap_or_else(|| Source::<T>::fired_at(place));
        let end: Rc<Node<T, dyn Stage>> = Node::new(Awaited::default());
        self.end_in(Slot::Forward(end.clone()), &origin);
        Deferred(State::Pending(Pending { origin, tail: Tail(end) }))
    }
}

impl<T: 'static> Deferred<T> {
    /// Keeps a result in its chain for as long as somebody has a [`Canceller`](crate::Canceller) of that, who
    /// can then reach what callbacks added later wait for.
    #[inline]
    pub(crate) fn in_chain_of(self, origin: Option<Rc<dyn Origin>>) -> Deferred<T> {
        match (self.0, origin) {
            (State::Fired(result), Some(origin)) if origin::is_watched(&origin) => {
                let end: Rc<Node<T, dyn Stage>> = Node::new(Awaited::default());
                end.out.set(Slot::Done(result));
                Deferred(State::Pending(Pending { origin, tail: Tail(end) }))
            }
            (state, _) => Deferred(state),
        }
    }
}

/// Stands where a chain ends that can be cancelled by itself, and the one that waits for it goes on.
struct Boundary;

impl Stage for Boundary {}

impl<T: 'static> Input<T> for Node<T, Boundary> {
    fn run(self: Rc<Self>, input: Settled<T>, run: &mut Run) {
        run.root = origin::leave(run.root.clone());
        deliver(self, input, run);
    }

    fn beyond_boundary(&self, run: &mut Run) -> Option<Slot<T>> {
        origin::leave_unwatched(&mut run.root).then(|| self.out.replace(Slot::Open))
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

/// A piece of a chain, to be taken apart.
pub(crate) trait Unlink {
    /// What comes next, if nobody else holds this piece.
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>>;
}

impl<T, S> Unlink for Node<T, S> {
    fn unlink(self: Rc<Self>) -> Option<Rc<dyn Unlink>> {
        if Rc::strong_count(&self) == 1 { unlinked(&self.out) } else { None }
    }
}

/// Empties a slot that is about to be dropped.
fn unlinked<T>(slot: &Cell<Slot<T>>) -> Option<Rc<dyn Unlink>> {
    let mut taken = slot.replace(Slot::Open);
    loop {
        match taken {
            Slot::Next(next) => return Some(next.into_link()),
            Slot::Forward(node) if Rc::strong_count(&node) == 1 => taken = node.out.replace(Slot::Open),
            Slot::Forward(_) | Slot::Open | Slot::Closed | Slot::Done(_) => return None,
        }
    }
}

impl<T, S: ?Sized> Drop for Node<T, S> {
    /// One node after the other, not one inside the other: a chain may be a million long.
    #[inline]
    fn drop(&mut self) {
        if matches!(self.out.get_mut(), Slot::Next(_) | Slot::Forward(_)) {
            take_apart(&self.out);
        }
    }
}

#[cold]
fn take_apart<T>(slot: &Cell<Slot<T>>) {
    let mut next = unlinked(slot);
    while let Some(link) = next {
        next = link.unlink();
    }
}
