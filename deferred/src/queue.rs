//! Items for those who wait for them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, fail};

/// A queue whose [`get`](DeferredQueue::get) gives a Deferred: of an item that is there, or of the next one
/// that comes. Twisted's `DeferredQueue`.
///
/// A clone is another handle to the same queue.
///
/// ```
/// use twistor_deferred::DeferredQueue;
///
/// let jobs = DeferredQueue::new();
/// jobs.get().add_callback(|job| println!("doing {job}"));
/// jobs.put("the dishes")?; // prints: doing the dishes
/// # Ok::<(), twistor_deferred::Failure>(())
/// ```
///
/// # Ordering
/// Items come out in the order they went in, and go to those who wait in the order they came.
///
/// # Re-entrancy
/// An item for which somebody waits is handed over inside `put`: the callbacks have run when it returns.
///
/// # Dropping
/// When the last handle is gone, those who wait get [`Abandoned`](crate::Abandoned).
pub struct DeferredQueue<T: 'static>(Rc<QueueState<T>>);

struct QueueState<T: 'static> {
    items: RefCell<VecDeque<T>>,
    /// Items that a `get` had and nobody read, by the order in which they were put: older than the rest.
    returned: RefCell<BTreeMap<u64, T>>,
    /// How many items were handed out.
    handed_out: Cell<u64>,
    waiters: Rc<WaitList<T>>,
    size: Cell<usize>,
    backlog: Cell<usize>,
}

impl<T: 'static> DeferredQueue<T> {
    /// An empty queue, without limits.
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

    /// Limits how many items the queue keeps. With zero it keeps none: an item goes to somebody who waits for
    /// it, or back.
    #[must_use]
    pub fn size(self, items: usize) -> DeferredQueue<T> {
        self.0.size.set(items);
        self
    }

    /// Limits how many may wait for an item. With zero, nobody may: `get` gives an item that is there, or
    /// fails.
    #[must_use]
    pub fn backlog(self, waiters: usize) -> DeferredQueue<T> {
        self.0.backlog.set(waiters);
        self
    }

    /// Hands the item to whoever has waited longest, or keeps it.
    ///
    /// # Errors
    /// [`QueueOverflow`], with the item, when nobody waits and the queue keeps as many as it may. Never, when no
    /// [`size`](DeferredQueue::size) was set.
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

    /// The oldest item, when there is one, else the next that comes and is not for those who came before.
    ///
    /// # Cancel safety
    /// No item is lost. Cancelling a wait gives up the place; an item that nobody read, by a callback or an `await`, goes
    /// back to the front of the queue when the Deferred is dropped.
    ///
    /// # Errors
    /// The Deferred fails with [`QueueUnderflow`] when there is no item, and as many wait as may.
    #[track_caller]
    pub fn get(&self) -> Deferred<T> {
        match self.0.next() {
            Some((number, item)) => Deferred::lent(item, self.0.home(number), Location::caller()),
            None if self.waiting() < self.0.backlog.get() => self.0.waiters.wait((), Location::caller()),
            None => fail(QueueUnderflow),
        }
    }

    /// How many items the queue keeps.
    pub fn len(&self) -> usize {
        self.0.items.borrow().len() + self.0.returned.borrow().len()
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait for an item.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl<T: 'static> QueueState<T> {
    fn number(&self) -> u64 {
        self.handed_out.replace(self.handed_out.get() + 1)
    }

    /// The oldest item, and its number.
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

    /// Where the item of this number goes if nobody reads it: to the next waiter, or before all that are left.
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

/// The room for items that an empty queue keeps. After a burst, the rest is returned.
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

/// The error of [`DeferredQueue::put`] on a full queue: it holds the item. Twisted's `QueueOverflow`.
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

/// The error of [`DeferredQueue::get`] when there is no item and nobody more may wait. Twisted's
/// `QueueUnderflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueUnderflow;

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is empty, and as many wait for an item as may")
    }
}

impl Error for QueueUnderflow {}
