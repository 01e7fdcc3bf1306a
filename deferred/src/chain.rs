//! The engine: how stages are linked, and how a result walks through them.
//!
//! A chain is a list of nodes. Each node is one allocation with two parts: a stage (a callback, or the head of the chain)
//! and a slot for its result. A slot also stores where its result goes, so firing is a walk from slot to slot. After
//! [`frame::stages`] stages the rest is parked, and the loop in [`Walk::finish`] continues it, so that a chain of any
//! length takes constant stack.
//!
//! ```text
//!   Trigger ──▶ Head │ slot ──Next──▶ callback │ slot ──Next──▶ callback │ slot ◀── Deferred
//!                                                │
//!                     when a callback returns a Deferred, the last slot of
//!                     that one is linked to the next stage, and this node goes
//! ```
//!
//! Nothing is borrowed while user code runs: the contents of a slot are taken out of a `Cell` and put back.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::Waker;

use crate::deferred::DeferredState;
use crate::failure::{Settled, Unhandled};
use crate::frame::{self, Frame, panic_message};
use crate::lent::Lent;
use crate::origin::{self, Origin};
use crate::pending_chain::{Ends, PendingChain};
use crate::slot::{Out, Slot, Unlink};
use crate::stage_function::StageFunction;
use crate::trace::StageTrack;
use crate::{Deferred, Failure, Panicked};

pub(crate) struct Node<T, S: ?Sized> {
    pub(crate) out: Out<T>,
    pub(crate) stage: S,
}

impl<T, S: Default> Default for Node<T, S> {
    #[inline]
    fn default() -> Self {
        Node { out: Out::new(Slot::Closed), stage: S::default() }
    }
}

impl<T, S> Node<T, S> {
    pub(crate) fn with(slot: Slot<T>, stage: S) -> Rc<Self> {
        Rc::new(Node { out: Out::new(slot), stage })
    }
}

/// A stage as its handle sees it, without the type of its input.
pub(crate) trait AnyStage {
    /// Stores `waker`, to be woken by the result. Returns false if this stage cannot store one.
    fn set_waker(&self, _waker: &Waker) -> bool {
        false
    }

    /// Called when the handle is dropped before the result. Returns whether to cancel the chain: the handle was polled.
    fn give_up(&self) -> bool {
        false
    }

    fn forget_waker(&self) {}
}

/// A stage as the slot before it sees it: the consumer of a result of type `T`.
pub(crate) trait NextStage<T> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk);

    /// Runs with a lent value. The default reads the value, as every callback does.
    fn run_lent(self: Rc<Self>, lent: Lent<T>, walk: &mut Walk) {
        if let Some(value) = lent.read() {
            self.run(Ok(value), walk);
        }
    }

    /// If this stage is a boundary that is no longer needed, returns the slot after it.
    fn beyond_boundary(&self, _walk: &mut Walk) -> Option<Slot<T>> {
        None
    }

    /// Converts the node to a link, to take apart a chain that never fired.
    fn into_link(self: Rc<Self>) -> Rc<dyn Unlink>;
}

/// A stage created by one `add_…` call.
pub(crate) struct Added<T, C> {
    /// The callback, the line that added it, and its entry in the trace.
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
        // `Rc::new(Node { … })` would build the node on the stack and copy it, which costs as much as the allocation.
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
        step.left(&outcome.0, &outcome.1);
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

/// Calls user code. Not inlined, so that the user's locals leave the stack before the next stage runs.
#[inline(never)]
fn call<T, C: StageFunction<T>>(
    callback: C,
    input: Settled<T>,
    added_at: &'static Location<'static>,
) -> Deferred<C::Value> {
    caught(added_at, || callback.call(input))
}

/// Runs user code and converts a panic to a failure. The caller must hold a [`Frame`].
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

/// The last stage of a chain that a task awaits.
#[derive(Default)]
pub(crate) struct Awaited {
    /// The waker of the task, after the first poll.
    waker: Cell<Option<Waker>>,
    given_up: Cell<bool>,
}

impl AnyStage for Awaited {
    fn set_waker(&self, waker: &Waker) -> bool {
        self.waker.set(Some(waker.clone()));
        true
    }

    fn give_up(&self) -> bool {
        self.given_up.set(self.waker.take().is_some());
        self.given_up.get()
    }

    fn forget_waker(&self) {
        drop(self.waker.take());
    }
}

impl<T: 'static> NextStage<T> for Node<T, Awaited> {
    fn run(self: Rc<Self>, input: Settled<T>, walk: &mut Walk) {
        if self.stage.given_up.get() {
            // A failure is not logged, because the program dropped the wait on purpose.
            return drop(input.map_err(Unhandled::into_failure));
        }
        let waker = self.stage.waker.take();
        deliver(self, input, walk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn run_lent(self: Rc<Self>, lent: Lent<T>, walk: &mut Walk) {
        match self.out.take() {
            Slot::Open(origin) => {
                self.out.arrive_lent(lent, origin);
                if let Some(waker) = self.stage.waker.take() {
                    waker.wake();
                }
            }
            Slot::Closed => {}
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

/// The walk of one result along its chain.
pub(crate) struct Walk {
    /// The origin of the chain that the result is in; see [`origin`].
    root: Rc<dyn Origin>,
    depth: u32,
    /// The number of stages that may be nested on the stack before the rest is parked.
    limit: u32,
    parked: Option<ParkedStage>,
}

type ParkedStage = Box<dyn FnOnce(&mut Walk)>;

/// Walks `result`, which came from `origin`, from the stage `next` to the point where the chain ends or waits.
pub(crate) fn drive<T: 'static>(origin: Rc<dyn Origin>, next: Rc<dyn NextStage<T>>, result: Settled<T>) {
    let Some(_frame) = Frame::within_depth() else {
        return drive_later(origin, next, result);
    };
    let mut walk = Walk::of(origin);
    advance(next, result, &mut walk);
    walk.finish();
}

/// As [`drive`], for a result that becomes the result of `node`.
#[cold]
pub(crate) fn drive_forward<T: 'static>(
    origin: Rc<dyn Origin>,
    node: Rc<Node<T, dyn AnyStage>>,
    result: Settled<T>,
) {
    let Some(_frame) = Frame::within_depth() else {
        return frame::park(Box::new(move || drive_forward(origin, node, result)));
    };
    let mut walk = Walk::of(origin);
    forward(node, result, &mut walk);
    walk.finish();
}

impl Walk {
    /// Starts a walk. The caller must hold a [`Frame`].
    #[inline]
    fn of(origin: Rc<dyn Origin>) -> Walk {
        Walk { root: origin::root_of(origin), depth: 0, limit: frame::stages(), parked: None }
    }

    /// Continues after each parked stage.
    #[inline]
    fn finish(mut self) {
        while let Some(rest) = self.parked.take() {
            self.depth = 0;
            rest(&mut self);
        }
    }
}

/// As [`drive`], for a lent value, which returns to its source if it is dropped unread.
pub(crate) fn drive_lent<T: 'static>(
    origin: Rc<dyn Origin>,
    mut node: Rc<Node<T, dyn AnyStage>>,
    lent: Lent<T>,
) {
    let next = loop {
        match node.out.take() {
            Slot::Next(next) => break next,
            Slot::Forward(to) => node = to,
            Slot::Open(origin) => return node.out.arrive_lent(lent, origin),
            _ => return,
        }
    };
    let Some(_frame) = Frame::within_depth() else {
        node.out.put(Slot::Next(next));
        return frame::park(Box::new(move || drive_lent(origin, node, lent)));
    };
    drop(node);
    let mut walk = Walk::of(origin);
    next.run_lent(lent, &mut walk);
    walk.finish();
}

/// Parks the walk because the stack is too deep.
#[cold]
#[inline(never)]
pub(crate) fn drive_later<T: 'static>(
    origin: Rc<dyn Origin>,
    next: Rc<dyn NextStage<T>>,
    result: Settled<T>,
) {
    frame::park(Box::new(move || drive(origin, next, result)));
}

/// Passes on the result of `node`.
///
/// Always inlined, as is [`advance`]. With one stack frame for each stage, the processor predicts the returns of a short
/// chain. With two frames, a chain of ten stages takes twice as long.
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

/// As [`deliver`], along nodes that forward their result to another node.
#[inline(never)]
fn forward<T: 'static>(mut node: Rc<Node<T, dyn AnyStage>>, result: Settled<T>, walk: &mut Walk) {
    loop {
        if let Some(origin) = node.out.take_open() {
            let made_at = origin.link().made_at();
            return node.out.arrive(result, origin, made_at);
        }
        match node.out.take() {
            Slot::Next(next) => {
                drop(node);
                return advance(next, result, walk);
            }
            Slot::Forward(to) => node = to,
            _ => return,
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

/// Links `inner`, which the callback of `node` returned, so that its result becomes the result of `node`.
///
/// If `node` has a next stage, `inner` is linked to that stage directly and `node` is dropped. An endless loop of
/// callbacks that each return the next Deferred thus holds one node.
///
/// Compiled once for each type of result, and not for each callback.
#[cold]
#[inline(never)]
fn splice<T: 'static>(node: Rc<Node<T, dyn AnyStage>>, inner: PendingChain<T>, walk: &mut Walk) {
    if let Some((result, _)) = inner.read() {
        return forward(node, result, walk);
    }
    let Some((origin, end)) = inner.into_ends() else { return };
    if origin::waits_for(&origin, &walk.root) {
        end.stage.forget_waker();
        let error = Failure::made_at(Box::new(CircularWait), walk.root.link().made_at());
        return forward(node, Err(error.into()), walk);
    }
    let mut to = match node.out.take() {
        Slot::Open(handles) => {
            node.out.put(Slot::Open(handles));
            Slot::Forward(node)
        }
        next => next,
    };
    while let Slot::Next(next) = &to {
        match next.beyond_boundary(walk) {
            Some(beyond) => to = beyond,
            None => break,
        }
    }
    join((origin, end), to, &walk.root);
}

/// Sends the result of the inner chain to `to`, in the chain of `outer`, which waits for it.
pub(crate) fn join<T: 'static>((origin, end): Ends<T>, mut to: Slot<T>, outer: &Rc<dyn Origin>) {
    let bounded = origin::is_watched(&origin);
    if bounded {
        to = Slot::Next(Node::with(to, Boundary));
    }
    origin::wait(outer, &origin, bounded);
    end.out.put(to);
}

/// A stage between a chain that can be cancelled by itself and the chain that waits for it.
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

/// The error of a chain whose callback returned a Deferred that waits for the same chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircularWait;

impl std::fmt::Display for CircularWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("circular wait: a callback returned a Deferred that waits for the callback's own chain")
    }
}

impl std::error::Error for CircularWait {}
