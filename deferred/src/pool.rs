//! Work under way, and when it is done.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::frame::{self, Frame};
use crate::wait_list::WaitList;
use crate::{Deferred, Panicked, guarded, succeed};

type Predicate = Box<dyn FnMut(usize) -> bool>;

/// Counts the Deferreds under way, and tells when there are none: what a service asks before it stops.
///
/// A clone is another handle to the same pool. It can fill and empty as often as one likes.
///
/// ```
/// use twistor_deferred::{Deferred, DeferredPool};
///
/// let requests = DeferredPool::new();
/// let (request, trigger) = Deferred::new();
/// let request = requests.add(request); // nothing changes for the request
/// requests.defer_until_empty(true).add_callback(|()| println!("all answered, stopping"));
/// trigger.callback("the answer"); // prints: all answered, stopping
/// # drop(request);
/// ```
///
/// # Ordering
/// A Deferred leaves the pool where its chain passes the point at which it was added: callbacks added
/// before have run, those added after have not. Those who wait for the pool are asked, first come first,
/// before the chain goes on.
///
/// # Dropping
/// The pool's Deferreds go on without its handles. When those and the Deferreds are all gone, whoever still
/// waits gets [`Abandoned`](crate::Abandoned).
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
    /// An empty pool.
    pub fn new() -> DeferredPool {
        DeferredPool(Rc::new(PoolState { members: Cell::new(0), waiters: WaitList::new() }))
    }

    /// Counts `deferred` until it fires, either way, and passes its result on unchanged.
    #[track_caller]
    pub fn add<T: 'static>(&self, deferred: Deferred<T>) -> Deferred<T> {
        self.0.members.set(self.0.members.get() + 1);
        let member = PoolMember(self.clone());
        deferred.add_both(move |result| {
            drop(member);
            result
        })
    }

    /// Fires when the pool becomes empty: at once, if `test_immediately` and it is.
    ///
    /// # Cancel safety
    /// A wait that is cancelled changes nothing for the pool and its members.
    ///
    /// Without `test_immediately` it waits for the next time that the last Deferred leaves.
    #[track_caller]
    pub fn defer_until_empty(&self, test_immediately: bool) -> Deferred<()> {
        if test_immediately && self.is_empty() {
            return succeed(());
        }
        self.defer_until(|left| left == 0)
    }

    /// Fires when `predicate` says so. It is asked each time that a Deferred of the pool has fired, with the
    /// number of those left.
    ///
    /// ```
    /// # use twistor_deferred::DeferredPool;
    /// # let pool = DeferredPool::new();
    /// pool.defer_until(|left| left < 10).add_callback(|()| println!("there is room again"));
    /// ```
    ///
    /// # Panics
    /// A panic of `predicate` is the failure [`Panicked`](crate::Panicked) of the Deferred; the pool and its members go on.
    #[track_caller]
    pub fn defer_until(&self, predicate: impl FnMut(usize) -> bool + 'static) -> Deferred<()> {
        let asked_at = Location::caller();
        self.0.waiters.wait(PoolWaiter { predicate: Box::new(predicate), asked_at }, asked_at)
    }

    /// How many Deferreds are under way.
    pub fn len(&self) -> usize {
        self.0.members.get()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn one_left(&self) {
        let left = self.len() - 1;
        self.0.members.set(left);
        self.ask(left);
    }

    /// Asks those who wait, with the number of members that were left.
    fn ask(&self, left: usize) {
        let Some(_frame) = Frame::within_depth() else {
            let pool = self.clone();
            return frame::park(Box::new(move || pool.ask(left)));
        };
        for place in self.0.waiters.places() {
            // One may have gone, or be asked further up the stack.
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
        write!(f, "DeferredPool({} under way)", self.len())
    }
}

/// Leaves the pool when it is dropped, so that a Deferred that goes without firing leaves it too.
struct PoolMember(DeferredPool);

impl Drop for PoolMember {
    fn drop(&mut self) {
        self.0.one_left();
    }
}
