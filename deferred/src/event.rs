//! Something that happens once, and any number of waiters.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, Failure, succeed};

/// An event with any number of waiters, all of which one call fires.
///
/// Twisted writes a list of Deferreds for this by hand. Here, a cancelled waiter leaves the list, and a late waiter
/// gets the value at once.
///
/// A clone is another handle to the same event.
///
/// ```
/// use twistor_deferred::DeferredEvent;
///
/// let connected = DeferredEvent::new();
/// connected.wait().add_callback(|address: String| println!("connected to {address}"));
/// connected.fire("192.0.2.1".to_owned()); // prints: connected to 192.0.2.1
/// connected.wait().add_callback(|address| println!("still connected to {address}")); // prints at once
/// ```
///
/// # Ordering
/// WaitList are fired in the order in which they began to wait. The first [`fire`](DeferredEvent::fire) or
/// [`fail`](DeferredEvent::fail) counts; later ones are ignored until [`reset`](DeferredEvent::reset).
///
/// # Re-entrancy
/// The callbacks of all waiters have run when `fire` returns. A callback may use the event: a waiter that it adds gets
/// the value at once, or waits for the next one after a `reset`.
///
/// # Cancel safety
/// A waiter that is cancelled leaves the event, and changes nothing for the others.
///
/// # Dropping
/// When the last handle is dropped, waiters fail with [`Abandoned`](crate::Abandoned).
pub struct DeferredEvent<T: Clone + 'static>(Rc<EventState<T>>);

struct EventState<T: 'static> {
    outcome: RefCell<Option<EventOutcome<T>>>,
    waiters: Rc<WaitList<T>>,
}

#[derive(Clone)]
enum EventOutcome<T> {
    Value(T),
    Error(Rc<dyn Fn() -> Failure>),
}

impl<T: Clone> EventOutcome<T> {
    fn result(&self) -> Result<T, Failure> {
        match self {
            EventOutcome::Value(value) => Ok(value.clone()),
            EventOutcome::Error(make) => Err(make()),
        }
    }
}

impl<T: Clone + 'static> DeferredEvent<T> {
    /// Creates an event that has not happened.
    pub fn new() -> DeferredEvent<T> {
        DeferredEvent(Rc::new(EventState { outcome: RefCell::default(), waiters: WaitList::new() }))
    }

    /// Returns a Deferred that fires with the value of the event, at once if it has happened.
    ///
    /// # Errors
    /// The error that [`fail`](DeferredEvent::fail) was called with; [`Abandoned`](crate::Abandoned) if the last
    /// handle is dropped before.
    #[track_caller]
    pub fn wait(&self) -> Deferred<T> {
        match self.result() {
            Some(Ok(value)) => succeed(value),
            Some(Err(failure)) => crate::fail(failure),
            None => self.0.waiters.wait((), Location::caller()),
        }
    }

    /// Fires all waiters, and every later one, with `value`.
    pub fn fire(&self, value: T) {
        self.happen(EventOutcome::Value(value));
    }

    /// Fails all waiters, and every later one, with `error`.
    #[track_caller]
    pub fn fail(&self, error: impl Error + Clone + Send + Sync + 'static) {
        let place = Location::caller();
        self.happen(EventOutcome::Error(Rc::new(move || Failure::made_at(Box::new(error.clone()), place))));
    }

    /// Fails all waiters, and every later one, each with a failure that `make` returns: for errors that cannot be cloned.
    pub fn fail_with(&self, make: impl Fn() -> Failure + 'static) {
        self.happen(EventOutcome::Error(Rc::new(make)));
    }

    /// Forgets what happened, so that new waiters wait for the next [`fire`](DeferredEvent::fire). For events that happen
    /// again and again.
    pub fn reset(&self) {
        let forgotten = self.0.outcome.take();
        drop(forgotten);
    }

    /// Whether the event has happened.
    pub fn is_fired(&self) -> bool {
        self.0.outcome.borrow().is_some()
    }

    /// The number of waiters.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }

    fn result(&self) -> Option<Result<T, Failure>> {
        self.0.outcome.borrow().as_ref().map(EventOutcome::result)
    }

    fn happen(&self, outcome: EventOutcome<T>) {
        if self.is_fired() {
            return;
        }
        // Those that begin to wait after a `reset` in a callback are not fired by this call.
        let end = self.0.waiters.end();
        self.0.outcome.replace(Some(outcome.clone()));
        // A callback may drop the last handle.
        let waiters = self.0.waiters.clone();
        while let Some(trigger) = waiters.first_before(end) {
            trigger.fire(outcome.result());
        }
    }
}

impl<T: Clone + 'static> Default for DeferredEvent<T> {
    fn default() -> Self {
        DeferredEvent::new()
    }
}

impl<T: Clone + 'static> Clone for DeferredEvent<T> {
    fn clone(&self) -> Self {
        DeferredEvent(self.0.clone())
    }
}

impl<T: Clone + 'static> fmt::Debug for DeferredEvent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_fired() { "fired" } else { "not fired" };
        write!(f, "DeferredEvent({state}, {} waiting)", self.waiting())
    }
}
