//! A started list, which observes its members.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::Location;
use std::rc::Rc;

use super::{ListMode, ListOptions};
use crate::failure::Settled;
use crate::failure::Unhandled;
use crate::{Cancelled, Canceller, Deferred, Failure, Trigger};

/// Adds a callback to each member, and returns the Deferred of their combined result.
pub(super) fn start<T: 'static, M: ListMode>(
    members: Vec<Deferred<T>>,
    options: ListOptions,
    made_at: &'static Location<'static>,
) -> Deferred<M::Results<T>> {
    let cancellers = Rc::new(Cancellers::of(&members));
    let (deferred, trigger) = {
        let cancellers = cancellers.clone();
        let cancel = move |_| {
            cancellers.list_is_cancelled.set(true);
            cancellers.cancel();
        };
        Deferred::with_canceller_at(cancel, made_at)
    };
    deferred.1.gathers(members.iter().map(|member| &member.1));
    let gathering = Rc::new(Gathering::<T, M> {
        trigger: Cell::new(Some(trigger)),
        results: RefCell::new(members.iter().map(|_| None).collect()),
        missing: Cell::new(members.len()),
        cut_off: Cell::new(false),
        cancellers,
        options,
    });
    if members.is_empty() {
        gathering.complete();
    }
    for (index, member) in members.into_iter().enumerate() {
        if gathering.trigger_is_gone() && member.is_lent() {
            // The result is decided. A lent value that is not read returns to its source.
            continue;
        }
        let gathering = gathering.clone();
        drop(member.add_both(move |result| gathering.settle(index, result)));
    }
    deferred
}

/// A started list. The callbacks of its members own it.
struct Gathering<T: 'static, M: ListMode> {
    /// `None` after the list has fired.
    trigger: Cell<Option<Trigger<M::Results<T>>>>,
    results: RefCell<Vec<Option<Settled<T>>>>,
    missing: Cell<usize>,
    /// Whether a member failed with `Cancelled` after the list was cancelled. The list then fails with `Cancelled`.
    cut_off: Cell<bool>,
    cancellers: Rc<Cancellers>,
    options: ListOptions,
}

impl<T: 'static, M: ListMode> Gathering<T, M> {
    /// Returns whether the result is decided.
    fn trigger_is_gone(&self) -> bool {
        let trigger = self.trigger.take();
        let gone = trigger.is_none();
        self.trigger.set(trigger);
        gone
    }

    /// Records the result of a member.
    fn settle(&self, index: usize, result: Result<T, Failure>) {
        self.missing.set(self.missing.get() - 1);
        if self.cancellers.list_is_cancelled.get() && is_cancelled(&result) {
            self.cut_off.set(true);
        }
        match self.trigger.take() {
            None => self.discard(result),
            Some(trigger) => match M::decide(index, result) {
                Ok(decided) => self.decided(trigger, decided),
                Err(kept) => {
                    self.trigger.set(Some(trigger));
                    self.results.borrow_mut()[index] = Some(kept.map_err(Unhandled::from));
                    if self.missing.get() == 0 {
                        self.complete();
                    }
                }
            },
        }
    }

    fn complete(&self) {
        if let Some(trigger) = self.trigger.take() {
            if self.cut_off.get() {
                // The canceller is running. If its trigger stays unfired, the list fails with `Cancelled`.
                drop(trigger);
                return self.discard_all();
            }
            let results = mem::take(&mut *self.results.borrow_mut());
            trigger.fire(M::complete(
                results.into_iter().flatten().map(|result| result.map_err(Unhandled::into_failure)),
            ));
        }
    }

    fn decided(&self, trigger: Trigger<M::Results<T>>, result: Result<M::Results<T>, Failure>) {
        self.discard_all();
        if self.cut_off.get() && result.is_err() {
            return drop(trigger);
        }
        if self.options.cancel_others {
            self.cancellers.cancel();
        }
        trigger.fire(result);
    }

    fn discard_all(&self) {
        for kept in mem::take(&mut *self.results.borrow_mut()).into_iter().flatten() {
            self.discard(kept.map_err(Unhandled::into_failure));
        }
    }

    /// Drops a result that is not passed on.
    fn discard(&self, result: Result<T, Failure>) {
        if let Err(failure) = result {
            if !self.options.consume_errors && !self.cancellers.used.get() {
                drop(Unhandled::from(failure));
            }
        }
    }
}

fn is_cancelled<T>(result: &Result<T, Failure>) -> bool {
    result.as_ref().is_err_and(Failure::is::<Cancelled>)
}

/// The cancellers of the members.
struct Cancellers {
    members: RefCell<Vec<Canceller>>,
    list_is_cancelled: Cell<bool>,
    used: Cell<bool>,
}

impl Cancellers {
    fn of<T: 'static>(members: &[Deferred<T>]) -> Cancellers {
        let members = members.iter().map(Deferred::canceller).collect();
        Cancellers {
            members: RefCell::new(members),
            list_is_cancelled: Cell::new(false),
            used: Cell::new(false),
        }
    }

    /// Cancels all members that have not fired.
    fn cancel(&self) {
        self.used.set(true);
        for member in self.members.take() {
            member.cancel();
        }
    }
}
