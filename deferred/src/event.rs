//! An event with any number of waiters.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, Failure, succeed};

/// An event with any number of waiters. One call fires all of them.
///
/// A late waiter receives the value immediately. In Twisted, programs keep a list of Deferreds for this.
///
/// Clones share the same event.
///
/// ```
/// use twistor::deferred::DeferredEvent;
///
/// let connected = DeferredEvent::new();
/// connected.wait().add_callback(|address: String| println!("connected to {address}")).detach();
/// connected.fire("192.0.2.1".to_owned()); // prints: connected to 192.0.2.1
/// connected.wait().add_callback(|address| println!("still connected to {address}")).detach(); // prints immediately
/// ```
///
/// # Ordering
/// Waiters fire in order of arrival. After the first [`fire`](DeferredEvent::fire) or [`fail`](DeferredEvent::fail),
/// further calls do nothing until [`reset`](DeferredEvent::reset).
///
/// # Re-entrancy
/// `fire` returns after the callbacks of all waiters have run. A callback may use the event. A waiter that it adds
/// receives the value immediately, or waits for the next value after a `reset`.
///
/// # Cancel safety
/// A cancelled waiter leaves the event without affecting the others.
///
/// # Dropping
/// When the last clone is dropped, waiters fail with [`Abandoned`](crate::Abandoned).
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
    /// Creates an event that has not fired.
    pub fn new() -> DeferredEvent<T> {
        DeferredEvent(Rc::new(EventState { outcome: RefCell::default(), waiters: WaitList::new() }))
    }

    /// Waits for the event. If the event has fired, the Deferred has the value immediately.
    ///
    /// # Errors
    /// The error passed to [`fail`](DeferredEvent::fail), or [`Abandoned`](crate::Abandoned) if the last clone is dropped
    /// first.
    #[track_caller]
    pub fn wait(&self) -> Deferred<T> {
        match self.result() {
            Some(Ok(value)) => succeed(value),
            Some(Err(failure)) => crate::fail(failure),
            None => self.0.waiters.wait((), Location::caller()),
        }
    }

    /// Fires all present and later waiters with `value`.
    pub fn fire(&self, value: T) {
        self.happen(EventOutcome::Value(value));
    }

    /// Fails all present and later waiters with `error`.
    #[track_caller]
    pub fn fail(&self, error: impl Error + Clone + Send + Sync + 'static) {
        let place = Location::caller();
        self.happen(EventOutcome::Error(Rc::new(move || Failure::made_at(Box::new(error.clone()), place))));
    }

    /// Fails all present and later waiters, each with a new failure from `make`. For errors that cannot be cloned.
    pub fn fail_with(&self, make: impl Fn() -> Failure + 'static) {
        self.happen(EventOutcome::Error(Rc::new(make)));
    }

    /// Forgets the value, so that new waiters wait for the next [`fire`](DeferredEvent::fire). For recurring events.
    pub fn reset(&self) {
        let forgotten = self.0.outcome.take();
        drop(forgotten);
    }

    /// Returns whether the event has fired.
    pub fn is_fired(&self) -> bool {
        self.0.outcome.borrow().is_some()
    }

    /// Returns the number of waiters.
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
        // Waiters that a callback adds after a `reset` are not part of this call.
        let end = self.0.waiters.end();
        self.0.outcome.replace(Some(outcome.clone()));
        // Keeps the list alive: a callback may drop the last clone.
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
