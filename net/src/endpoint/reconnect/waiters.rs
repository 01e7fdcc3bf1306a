//! The callers that wait for a connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use twistor_deferred::{Deferred, Failure, Trigger};

use crate::{ConnectAttemptsFailed, ConnectionAborted, Transport};

/// Waiters in the order in which they came. Cancelling removes one.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: Rc<RefCell<BTreeMap<u64, Waiter>>>,
    next: Cell<u64>,
}

struct Waiter {
    trigger: Trigger<Transport>,
    failures: u32,
    /// `None`: it waits for any number of failures.
    most: Option<u32>,
}

impl Waiters {
    #[track_caller]
    pub(super) fn add(&self, most: Option<u32>) -> Deferred<Transport> {
        let id = self.next.replace(self.next.get() + 1);
        let waiting = Rc::downgrade(&self.waiting);
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            let gone = waiting.upgrade().and_then(|waiting| waiting.borrow_mut().remove(&id));
            drop(gone);
        });
        self.waiting.borrow_mut().insert(id, Waiter { trigger, failures: 0, most });
        deferred
    }

    pub(super) fn connected(&self, transport: &Transport) {
        for waiter in self.waiting.take().into_values() {
            waiter.trigger.callback(transport.clone());
        }
    }

    /// Counts a failure to connect. Fails the waiters that have reached their number.
    pub(super) fn failed(&self, failure: Failure) {
        let full: Vec<Waiter> = {
            let mut waiting = self.waiting.borrow_mut();
            for waiter in waiting.values_mut() {
                waiter.failures = waiter.failures.saturating_add(1);
            }
            let is_full = |waiter: &Waiter| waiter.most.is_some_and(|most| waiter.failures >= most);
            let ids: Vec<u64> =
                waiting.iter().filter(|(_, waiter)| is_full(waiter)).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| waiting.remove(id)).collect()
        };
        if !full.is_empty() {
            let source: Arc<dyn Error + Send + Sync> =
                Arc::from(Box::<dyn Error + Send + Sync>::from(failure));
            for Waiter { trigger, failures, .. } in full {
                trigger.errback(ConnectAttemptsFailed::new(failures, source.clone()));
            }
        }
    }

    pub(super) fn stopped(&self) {
        for waiter in self.waiting.take().into_values() {
            waiter.trigger.errback(ConnectionAborted);
        }
    }
}
