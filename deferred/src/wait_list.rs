//! First-in-first-out lists of waiters, for the queue, lock, semaphore, pool and event.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use crate::number_map::NumberMap;
use crate::{Deferred, Trigger};

/// The triggers of waiters in order of arrival, each with a note. A waiter leaves as soon as its Deferred is cancelled.
pub(crate) struct WaitList<T: 'static, N = ()> {
    next: Cell<u64>,
    // By place: a cancelled waiter in the middle leaves in logarithmic time.
    waiting: RefCell<NumberMap<(Trigger<T>, N)>>,
}

impl<T: 'static, N: 'static> WaitList<T, N> {
    pub(crate) fn new() -> Rc<WaitList<T, N>> {
        Rc::new(WaitList { next: Cell::new(0), waiting: RefCell::default() })
    }

    /// Adds a waiter at the end.
    pub(crate) fn wait(self: &Rc<Self>, note: N, made_at: &'static Location<'static>) -> Deferred<T> {
        let place = self.next.get();
        self.next.set(place + 1);
        let waiters = Rc::downgrade(self);
        let leave = move |_| {
            if let Some(waiters) = waiters.upgrade() {
                drop(waiters.remove(place));
            }
        };
        let (deferred, trigger) = Deferred::with_canceller_at(leave, made_at);
        self.put_back(place, trigger, note);
        deferred
    }

    /// Removes the first waiter.
    pub(crate) fn first(&self) -> Option<Trigger<T>> {
        let first = self.waiting.borrow_mut().pop_first();
        first.map(|(trigger, _)| trigger)
    }

    /// Returns the place that the next waiter will get.
    pub(crate) fn end(&self) -> u64 {
        self.next.get()
    }

    /// Removes the first waiter, if its place is before `end`.
    pub(crate) fn first_before(&self, end: u64) -> Option<Trigger<T>> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.first_number().filter(|first| *first < end)?;
        waiting.pop_first().map(|(trigger, _)| trigger)
    }

    pub(crate) fn remove(&self, place: u64) -> Option<(Trigger<T>, N)> {
        self.waiting.borrow_mut().remove(place)
    }

    /// Undoes [`remove`](WaitList::remove), unless the waiter was cancelled in the meantime.
    pub(crate) fn put_back(&self, place: u64, trigger: Trigger<T>, note: N) {
        if trigger.is_live() {
            self.waiting.borrow_mut().insert(place, (trigger, note));
        }
    }

    /// Returns the places of all present waiters.
    pub(crate) fn places(&self) -> Vec<u64> {
        self.waiting.borrow().numbers()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}
