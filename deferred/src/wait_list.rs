//! Who waits for a thing, first in first out: what queue, lock, semaphore and pool share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;

use crate::{Deferred, Trigger};

/// Triggers in the order they came, each with a note. One whose Deferred is cancelled leaves at once.
pub(crate) struct WaitList<T: 'static, N = ()> {
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, (Trigger<T>, N)>>,
}

impl<T: 'static, N: 'static> WaitList<T, N> {
    pub(crate) fn new() -> Rc<WaitList<T, N>> {
        Rc::new(WaitList { next: Cell::new(0), waiting: RefCell::default() })
    }

    /// One more, behind all others.
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

    pub(crate) fn first(&self) -> Option<Trigger<T>> {
        let first = self.waiting.borrow_mut().pop_first();
        first.map(|(_, (trigger, _))| trigger)
    }

    /// The place that the next waiter gets.
    pub(crate) fn end(&self) -> u64 {
        self.next.get()
    }

    /// The first, if it came before that place.
    pub(crate) fn first_before(&self, end: u64) -> Option<Trigger<T>> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry().filter(|first| *first.key() < end)?;
        Some(first.remove().0)
    }

    pub(crate) fn remove(&self, place: u64) -> Option<(Trigger<T>, N)> {
        self.waiting.borrow_mut().remove(&place)
    }

    /// Undoes [`remove`](WaitList::remove).
    pub(crate) fn put_back(&self, place: u64, trigger: Trigger<T>, note: N) {
        if trigger.is_live() {
            self.waiting.borrow_mut().insert(place, (trigger, note));
        }
    }

    /// The places of all who wait now.
    pub(crate) fn places(&self) -> Vec<u64> {
        self.waiting.borrow().keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}
