//! Runs a program with the crate.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use super::program::{Act, CHAINS, Canceller, On, Op, Stage};
use twistor_deferred::{
    self as crate_under_test, CircularWait, Deferred, Failure, Panicked, Trigger, guarded, succeed,
};

pub(crate) fn run(program: &[Op]) -> Vec<String> {
    install_logger();
    EVENTS.take();
    let world = Rc::new(World::default());
    for op in program {
        world.perform(op);
    }
    let events = EVENTS.take();
    // The last callbacks may have put objects into the world that own the world: a reference cycle.
    while (0..CHAINS).any(|slot| world.clear(slot)) {}
    events
}

thread_local! {
    static EVENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn event(text: String) {
    EVENTS.with_borrow_mut(|events| events.push(text));
}

#[derive(Debug)]
struct Oops(usize);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}

fn show(failure: &Failure) -> String {
    if let Some(panicked) = failure.downcast_ref::<Panicked>() {
        return panicked.message().to_owned();
    }
    if failure.is::<CircularWait>() {
        return "circular".to_owned();
    }
    if failure.is::<crate_under_test::Abandoned>() {
        return "abandoned".to_owned();
    }
    failure.to_string()
}

/// The objects of each slot. They are not borrowed while chains run.
#[derive(Default)]
struct World {
    handles: RefCell<[Option<Deferred<usize>>; CHAINS]>,
    triggers: RefCell<[Option<Trigger<usize>>; CHAINS]>,
    cancellers: RefCell<[Option<crate_under_test::Canceller>; CHAINS]>,
    /// The waker of the handle in the slot, if it was polled and not used since.
    wakers: RefCell<[Option<Arc<Woken>>; CHAINS]>,
}

/// A waker, and whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    fn handle(&self, slot: usize) -> Option<Deferred<usize>> {
        self.wakers.borrow_mut()[slot] = None;
        self.handles.borrow_mut()[slot].take()
    }

    fn trigger(&self, slot: usize) -> Option<Trigger<usize>> {
        self.triggers.borrow_mut()[slot].take()
    }

    /// Empties a slot, including objects that a drop puts there. Returns whether it had any.
    fn clear(&self, slot: usize) -> bool {
        let mut any = false;
        while self.triggers.borrow()[slot].is_some() || self.handles.borrow()[slot].is_some() {
            any = true;
            drop(self.trigger(slot));
            drop(self.handle(slot));
        }
        any
    }

    fn put_back(&self, slot: usize, handle: Deferred<usize>) {
        self.wakers.borrow_mut()[slot] = None;
        let other = self.handles.borrow_mut()[slot].replace(handle);
        drop(other);
    }

    fn perform(self: &Rc<Self>, op: &Op) {
        match op {
            Op::New(slot, canceller) => {
                self.clear(*slot);
                let (deferred, trigger) = new_chain(*slot, *canceller);
                self.cancellers.borrow_mut()[*slot] = Some(deferred.canceller());
                self.triggers.borrow_mut()[*slot] = Some(trigger);
                self.handles.borrow_mut()[*slot] = Some(deferred);
            }
            Op::Add(slot, stage) => {
                if let Some(handle) = self.handle(*slot) {
                    let handle = self.add(handle, stage);
                    self.put_back(*slot, handle);
                }
            }
            Op::Fire(slot, ok) => {
                if let Some(trigger) = self.trigger(*slot) {
                    if *ok { trigger.callback(1) } else { trigger.errback(Oops(*slot)) }
                }
            }
            Op::DropTrigger(slot) => drop(self.trigger(*slot)),
            Op::Cancel(slot) => {
                let canceller = self.cancellers.borrow()[*slot].clone();
                if let Some(canceller) = canceller {
                    canceller.cancel();
                }
            }
            Op::CancelHandle(slot) => {
                if let Some(handle) = self.handle(*slot) {
                    handle.cancel();
                    self.put_back(*slot, handle);
                }
            }
            Op::DropHandle(slot) => drop(self.handle(*slot)),
            Op::DropCanceller(slot) => self.cancellers.borrow_mut()[*slot] = None,
            Op::Poll(slot) => {
                let last = self.wakers.borrow_mut()[*slot].take();
                let Some(mut handle) = self.handle(*slot) else { return };
                let waker = Arc::new(Woken::default());
                let result = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker.clone().into()));
                let Poll::Ready(result) = result else {
                    self.put_back(*slot, handle);
                    self.wakers.borrow_mut()[*slot] = Some(waker);
                    return;
                };
                // D10.5
                if last.is_some_and(|last| !last.0.load(Ordering::Relaxed)) {
                    event("was not woken".to_owned());
                }
                event(format!(
                    "read {}",
                    result.map_or_else(|failure| show(&failure), |value| value.to_string())
                ));
            }
            Op::Detach(slot) => {
                if let Some(handle) = self.handle(*slot) {
                    handle.detach();
                }
            }
            Op::Unwind(slot, cancel) => {
                let owned = (bomb(), self.trigger(*slot), self.handle(*slot));
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _owned = owned;
                    resume_unwind(Box::new(()));
                }));
                assert!(unwound.is_err());
                if *cancel {
                    self.perform(&Op::Cancel(*slot));
                }
                let _ = guarded(|| ());
            }
        }
    }

    fn add(self: &Rc<Self>, deferred: Deferred<usize>, stage: &Stage) -> Deferred<usize> {
        let id = stage.id;
        match &stage.on {
            On::Value(act) if stage.plain && is_plain(act) => {
                let act = self.plain(id, act);
                deferred.add_callback(move |n| act(Ok(n)))
            }
            On::Value(act) => {
                let act = self.function(id, act);
                deferred.add_callback(move |n| act(Ok(n)))
            }
            On::Failure(act) if stage.plain && is_plain(act) => {
                let act = self.plain(id, act);
                deferred.add_errback(move |failure| act(Err(failure)))
            }
            On::Failure(act) => {
                let act = self.function(id, act);
                deferred.add_errback(move |failure| act(Err(failure)))
            }
            On::Either(on_value, on_failure) => {
                let (on_value, on_failure) = (self.function(id, on_value), self.function(id, on_failure));
                deferred.add_callbacks(move |n| on_value(Ok(n)), move |failure| on_failure(Err(failure)))
            }
            On::Both(act) => deferred.add_both(self.function(id, act)),
        }
    }

    /// Returns a function that does `act` and returns a Deferred.
    fn function(
        self: &Rc<Self>,
        id: usize,
        act: &Act,
    ) -> impl FnOnce(Result<usize, Failure>) -> Deferred<usize> + use<> {
        let captured = match act {
            Act::Capture(slot) => self.handle(*slot),
            _ => None,
        };
        let (world, act) = (self.clone(), act.clone());
        move |result| match act {
            Act::Return(slot) => {
                let value = enter(id, result);
                world.handle(slot).unwrap_or_else(|| succeed(value))
            }
            Act::Capture(_) => {
                let value = enter(id, result);
                captured.unwrap_or_else(|| succeed(value))
            }
            plain => match world.act(id, &plain, result) {
                Ok(value) => succeed(value),
                Err(failure) => crate_under_test::fail(failure),
            },
        }
    }

    /// Returns a function that does `act` and returns a `Result`.
    fn plain(
        self: &Rc<Self>,
        id: usize,
        act: &Act,
    ) -> impl FnOnce(Result<usize, Failure>) -> Result<usize, Failure> + use<> {
        let (world, act) = (self.clone(), act.clone());
        move |result| world.act(id, &act, result)
    }

    fn act(self: &Rc<Self>, id: usize, act: &Act, result: Result<usize, Failure>) -> Result<usize, Failure> {
        let value = enter(id, result);
        match act {
            Act::Fail => return Err(Oops(id).into()),
            Act::Panic => panic!("boom {id}"),
            Act::PanicOwning(slot) => {
                let _owned = (self.trigger(*slot), self.handle(*slot));
                resume_unwind(Box::new(Bomb));
            }
            Act::Do(op) => self.perform(op),
            Act::Value | Act::Return(_) | Act::Capture(_) => {}
        }
        Ok(value)
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new(()));
    }
}

/// Returns the trigger of a chain that creates and drops a bomb.
fn bomb() -> Trigger<Bomb> {
    let (deferred, trigger) = Deferred::new();
    drop(deferred.add_both(|_| Ok(Bomb)));
    trigger
}

fn is_plain(act: &Act) -> bool {
    !matches!(act, Act::Return(_) | Act::Capture(_))
}

fn enter(id: usize, result: Result<usize, Failure>) -> usize {
    match result {
        Ok(n) => {
            event(format!("{id} {n}"));
            id + n
        }
        Err(failure) => {
            event(format!("{id} {}", show(&failure)));
            id
        }
    }
}

fn new_chain(slot: usize, canceller: Canceller) -> (Deferred<usize>, Trigger<usize>) {
    if canceller == Canceller::Absent {
        return Deferred::new();
    }
    Deferred::with_canceller(move |trigger| {
        event(format!("canceller {slot}"));
        match canceller {
            Canceller::Absent | Canceller::Idle => {}
            Canceller::Fires(true) => trigger.callback(2),
            Canceller::Fires(false) => trigger.errback(Oops(slot)),
            Canceller::Panics => panic!("boom {slot}"),
        }
    })
}

struct IntoEvents;

impl log::Log for IntoEvents {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        let number = |word: &str| {
            let rest = line.split(word).nth(1)?;
            Some(format!("{word}{}", rest.split(|c: char| !c.is_ascii_digit()).next()?))
        };
        let what = if line.contains("circular wait") {
            "circular".to_owned()
        } else if line.contains(": abandoned: ") {
            "abandoned".to_owned()
        } else if line.contains(": cancelled ") {
            "cancelled".to_owned()
        } else if line.contains("not a string") {
            "a payload that is not a string".to_owned()
        } else {
            number("boom ").or_else(|| number("oops ")).unwrap_or(line)
        };
        event(format!("logged: {what}"));
    }

    fn flush(&self) {}
}

fn install_logger() {
    static INSTALL: std::sync::Once = std::sync::Once::new();
    INSTALL.call_once(|| {
        if log::set_logger(&IntoEvents).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
}
