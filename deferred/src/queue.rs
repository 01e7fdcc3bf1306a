//! A queue of items and of waiters for items.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, fail};

/// A queue whose [`get`](DeferredQueue::get) returns a Deferred of the oldest item, or of the next one to arrive.
/// Twisted: `DeferredQueue`.
///
/// Clones share the same queue.
///
/// ```
/// use twistor::prelude::*;
///
/// let jobs = DeferredQueue::new();
/// jobs.get().add_callback(|job| println!("doing {job}")).detach();
/// jobs.put("the dishes")?; // prints: doing the dishes
/// # Ok::<(), twistor::prelude::Failure>(())
/// ```
///
/// # Ordering
/// Items and waiters are served first in, first out.
///
/// # Re-entrancy
/// If a waiter exists, `put` fires it and returns after its callbacks have run.
///
/// # Dropping
/// When the last clone is dropped, waiters fail with [`Abandoned`](crate::Abandoned). A consumer that waits for the next
/// item owns a clone itself, so its queue stays open. To end it, put an end marker after the last item, one for each
/// consumer:
///
/// ```
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let jobs = DeferredQueue::new();
/// let queue = jobs.clone();
/// let worker = reactor.spawn(async move {
///     while let Some(job) = queue.get().await? {
///         println!("doing {job}");
///     }
///     Ok(())
/// });
/// jobs.put(Some("the dishes"))?;
/// jobs.put(None)?; // the end
/// reactor.run_until(worker)?;
/// # Ok::<(), Failure>(())
/// ```
pub struct DeferredQueue<T: 'static>(Rc<QueueState<T>>);

struct QueueState<T: 'static> {
    items: RefCell<VecDeque<T>>,
    /// Items that came back unread, by the order in which they were handed out. They are older than `items`.
    returned: RefCell<BTreeMap<u64, T>>,
    /// The number of items handed out so far, which numbers the next one.
    handed_out: Cell<u64>,
    waiters: Rc<WaitList<T>>,
    size: Cell<usize>,
    backlog: Cell<usize>,
}

impl<T: 'static> DeferredQueue<T> {
    /// Creates an empty queue without limits.
    pub fn new() -> DeferredQueue<T> {
        DeferredQueue(Rc::new(QueueState {
            items: RefCell::default(),
            returned: RefCell::default(),
            handed_out: Cell::new(0),
            waiters: WaitList::new(),
            size: Cell::new(usize::MAX),
            backlog: Cell::new(usize::MAX),
        }))
    }

    /// Limits the number of stored items. Default: no limit. With zero, [`put`](DeferredQueue::put) succeeds only if a
    /// waiter exists.
    #[must_use]
    pub fn size(self, items: usize) -> DeferredQueue<T> {
        self.0.size.set(items);
        self
    }

    /// Limits the number of waiters. Default: no limit. With zero, [`get`](DeferredQueue::get) fails if the queue is empty.
    #[must_use]
    pub fn backlog(self, waiters: usize) -> DeferredQueue<T> {
        self.0.backlog.set(waiters);
        self
    }

    /// Passes `item` to the first waiter, or stores it.
    ///
    /// # Errors
    /// [`QueueOverflow`], which contains the item, if the queue has no waiter and is at its
    /// [`size`](DeferredQueue::size) limit. A queue without that limit never fails.
    pub fn put(&self, item: T) -> Result<(), QueueOverflow<T>> {
        if let Some(trigger) = self.0.waiters.first() {
            let number = self.0.number();
            trigger.lend(item, self.0.home(number));
            return Ok(());
        }
        if self.len() < self.0.size.get() {
            self.0.items.borrow_mut().push_back(item);
            return Ok(());
        }
        Err(QueueOverflow(item))
    }

    /// Returns a Deferred of the oldest item. If the queue is empty, it waits for an item, after the earlier waiters.
    ///
    /// # Errors
    /// [`QueueUnderflow`], if the queue is empty and its [`backlog`](DeferredQueue::backlog) limit is reached.
    ///
    /// # Cancel safety
    /// No item is lost. A cancelled wait leaves the queue. An item that was not read by a callback or an `await` goes to
    /// the next waiter, or back to its old position in the queue, when the Deferred is dropped.
    #[track_caller]
    pub fn get(&self) -> Deferred<T> {
        match self.0.next() {
            Some((number, item)) => Deferred::lent(item, self.0.home(number), Location::caller()),
            None if self.waiting() < self.0.backlog.get() => self.0.waiters.wait((), Location::caller()),
            None => fail(QueueUnderflow),
        }
    }

    /// Returns the number of stored items.
    pub fn len(&self) -> usize {
        self.0.items.borrow().len() + self.0.returned.borrow().len()
    }

    /// Returns whether no items are stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of waiters.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl<T: 'static> QueueState<T> {
    fn number(&self) -> u64 {
        self.handed_out.replace(self.handed_out.get() + 1)
    }

    /// Removes the oldest item. Returns it with its number.
    fn next(&self) -> Option<(u64, T)> {
        if let Some(returned) = self.returned.borrow_mut().pop_first() {
            return Some(returned);
        }
        let mut items = self.items.borrow_mut();
        let item = items.pop_front()?;
        if items.is_empty() && items.capacity() > KEPT {
            *items = VecDeque::new();
        }
        Some((self.number(), item))
    }

    /// Returns the function that takes back item `number` if it is not read, and passes it to the next waiter or stores it
    /// in front of the newer items.
    fn home(self: &Rc<Self>, number: u64) -> impl FnOnce(T) + 'static {
        let inner = Rc::downgrade(self);
        move |item| {
            let Some(inner) = inner.upgrade() else { return };
            match inner.waiters.first() {
                Some(trigger) => trigger.lend(item, inner.home(number)),
                None => drop(inner.returned.borrow_mut().insert(number, item)),
            }
        }
    }
}

/// The capacity, in items, that an empty queue keeps. After a burst, a larger buffer is freed.
const KEPT: usize = 1024;

impl<T: 'static> Default for DeferredQueue<T> {
    fn default() -> Self {
        DeferredQueue::new()
    }
}

impl<T: 'static> Clone for DeferredQueue<T> {
    fn clone(&self) -> Self {
        DeferredQueue(self.0.clone())
    }
}

impl<T: 'static> fmt::Debug for DeferredQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeferredQueue({} items, {} waiting)", self.len(), self.waiting())
    }
}

/// The error of [`DeferredQueue::put`] on a full queue. It contains the item. Twisted: `QueueOverflow`.
// Exhaustive, so that `let QueueOverflow(item) = error` returns the item, as for the send errors of std.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueOverflow<T>(pub T);

impl<T> fmt::Debug for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueOverflow(..)")
    }
}

impl<T> fmt::Display for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is full")
    }
}

impl<T> Error for QueueOverflow<T> {}

/// The error of [`DeferredQueue::get`] on an empty queue whose waiter limit is reached. Twisted: `QueueUnderflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueUnderflow;

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is empty and its waiter limit is reached")
    }
}

impl Error for QueueUnderflow {}
