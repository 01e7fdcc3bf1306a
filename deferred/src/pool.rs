//! Counts operations in flight.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::frame::{self, Frame};
use crate::wait_list::WaitList;
use crate::{Deferred, Panicked, guarded, succeed};

type Predicate = Box<dyn FnMut(usize) -> bool>;

/// Counts the Deferreds that have not fired, and notifies waiters when the pool is empty. For example, a service waits for
/// its requests before it stops.
///
/// Clones share the same pool. A pool can become empty and fill again any number of times.
///
/// ```
/// use twistor::prelude::*;
///
/// let requests = DeferredPool::new();
/// let (request, trigger) = Deferred::new();
/// let request = requests.add(request); // has the same result
/// requests.defer_until_empty(true).add_callback(|()| println!("all answered, stopping")).detach();
/// trigger.callback("the answer"); // prints: all answered, stopping
/// # drop(request);
/// ```
///
/// # Ordering
/// A Deferred leaves the pool when its result reaches the point where it was added: callbacks added before have run,
/// callbacks added after have not. The waiters of the pool are notified, in order of arrival, before the chain continues.
///
/// # Dropping
/// Dropping the clones of a pool does not affect its Deferreds. When all clones and all Deferreds are gone, waiters fail
/// with [`Abandoned`](crate::Abandoned).
#[derive(Clone)]
pub struct DeferredPool(Rc<PoolState>);

struct PoolState {
    members: Cell<usize>,
    waiters: Rc<WaitList<(), PoolWaiter>>,
}

struct PoolWaiter {
    predicate: Predicate,
    asked_at: &'static Location<'static>,
}

impl DeferredPool {
    /// Creates an empty pool.
    pub fn new() -> DeferredPool {
        DeferredPool(Rc::new(PoolState { members: Cell::new(0), waiters: WaitList::new() }))
    }

    /// Counts `deferred` until it fires or is dropped. The returned Deferred has the same result.
    #[track_caller]
    pub fn add<T: 'static>(&self, deferred: Deferred<T>) -> Deferred<T> {
        self.0.members.set(self.0.members.get() + 1);
        let member = PoolMember(self.clone());
        deferred.add_both(move |result| {
            drop(member);
            result
        })
    }

    /// Waits until the pool is empty. If `test_immediately` is true, an empty pool fires immediately; otherwise it fires the
    /// next time that the last Deferred leaves.
    ///
    /// # Cancel safety
    /// Cancelling the wait does not affect the pool and its Deferreds.
    #[track_caller]
    pub fn defer_until_empty(&self, test_immediately: bool) -> Deferred<()> {
        if test_immediately && self.is_empty() {
            return succeed(());
        }
        self.defer_until(|left| left == 0)
    }

    /// Waits until `predicate` returns true. It is called each time a Deferred leaves the pool, with the number of the
    /// remaining ones.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// let pool = DeferredPool::new();
    /// pool.defer_until(|left| left < 10).add_callback(|()| println!("fewer than ten left")).detach();
    /// ```
    ///
    /// # Panics
    /// If `predicate` panics, the wait fails with [`Panicked`](crate::Panicked). The pool and its Deferreds are not affected.
    #[track_caller]
    pub fn defer_until(&self, predicate: impl FnMut(usize) -> bool + 'static) -> Deferred<()> {
        let asked_at = Location::caller();
        self.0.waiters.wait(PoolWaiter { predicate: Box::new(predicate), asked_at }, asked_at)
    }

    /// Returns the number of Deferreds that have not fired.
    pub fn len(&self) -> usize {
        self.0.members.get()
    }

    /// Returns whether all Deferreds have fired.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn one_left(&self) {
        let left = self.len() - 1;
        self.0.members.set(left);
        self.ask(left);
    }

    /// Calls the predicates of the waiters. `left` is the number of members after the one that left.
    fn ask(&self, left: usize) {
        let Some(_frame) = Frame::within_depth() else {
            let pool = self.clone();
            return frame::park(Box::new(move || pool.ask(left)));
        };
        for place in self.0.waiters.places() {
            // A waiter may be gone, or its predicate may be running further up the stack.
            let Some((trigger, mut waiter)) = self.0.waiters.remove(place) else { continue };
            match guarded(|| (waiter.predicate)(left)) {
                Ok(true) => trigger.callback(()),
                Ok(false) => self.0.waiters.put_back(place, trigger, waiter),
                Err(message) => trigger.errback(Panicked::new(message, waiter.asked_at)),
            }
        }
    }
}

impl Default for DeferredPool {
    fn default() -> Self {
        DeferredPool::new()
    }
}

impl fmt::Debug for DeferredPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeferredPool({} in flight)", self.len())
    }
}

/// Leaves the pool when it is dropped, so that a Deferred that never fires leaves the pool too.
struct PoolMember(DeferredPool);

impl Drop for PoolMember {
    fn drop(&mut self) {
        self.0.one_left();
    }
}
