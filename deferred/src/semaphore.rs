//! Limits on concurrent operations.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, Outcome, Trigger, maybe_deferred_at, succeed};

/// Limits how many operations run at once. Twisted: `DeferredSemaphore`.
///
/// Clones share the same semaphore.
///
/// ```
/// use twistor::prelude::*;
///
/// fn fetch(url: &str) -> Deferred<String> {
///     succeed(url.to_owned())
/// }
///
/// let downloads = DeferredSemaphore::new(2)?;
/// let pages = ["one", "two", "three"].map(|url| downloads.run(move || fetch(url)));
/// let count = DeferredList::new(pages).add_callback(|pages| Ok(pages.len()));
/// assert!(matches!(count.try_result(), Ok(Ok(3))));
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
/// First in, first out. A released slot goes to the first waiter, even if another caller asks for it at that moment.
///
/// # Re-entrancy
/// Releasing a slot runs the callbacks of the next waiter before it returns. If these release a slot too, as in a row of
/// short [`run`](DeferredSemaphore::run)s, the waiter after that runs when they have returned: in a loop, with constant
/// stack.
#[derive(Clone)]
pub struct DeferredSemaphore(Rc<SemaphoreState>);

impl DeferredSemaphore {
    /// Creates a semaphore with `limit` free slots.
    ///
    /// # Errors
    /// [`NoSlots`] if `limit` is zero, because no operation could ever run.
    pub fn new(limit: usize) -> Result<DeferredSemaphore, NoSlots> {
        if limit == 0 { Err(NoSlots) } else { Ok(DeferredSemaphore(SemaphoreState::new(limit))) }
    }

    /// Waits for a free slot. The slot is taken until the [`Permit`] is dropped. Twisted: `DeferredSemaphore.acquire`.
    ///
    /// # Cancel safety
    /// A cancelled wait leaves the queue of waiters. A permit that was not read is dropped with the Deferred, which
    /// releases its slot.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire(Location::caller())
    }

    /// Calls `function` when a slot is free, and returns its outcome. The slot is released when the outcome is complete: a
    /// value, a failure, or a panic. Twisted: `DeferredSemaphore.run`.
    ///
    /// # Cancel safety
    /// Cancelling before `function` is called leaves the queue of waiters. Cancelling later cancels the Deferred that
    /// `function` returned.
    #[track_caller]
    pub fn run<O: Outcome>(&self, function: impl FnOnce() -> O + 'static) -> Deferred<O::Value> {
        self.0.run(function, Location::caller())
    }

    /// Returns the total number of slots.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Returns the number of free slots.
    pub fn available(&self) -> usize {
        self.0.free.get()
    }

    /// Returns the number of waiters.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl fmt::Debug for DeferredSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, limit) = (self.available(), self.limit());
        write!(f, "DeferredSemaphore({free} of {limit} free, {} waiting)", self.waiting())
    }
}

/// Limits an operation to one caller at a time. Twisted: `DeferredLock`.
///
/// Clones share the same lock. The lock is not re-entrant: a caller that holds the lock and waits for it
/// waits forever.
///
/// ```
/// use twistor::prelude::*;
///
/// let lock = DeferredLock::new();
/// lock.acquire()
///     .add_callback(|permit| {
///         println!("this callback holds the lock");
///         drop(permit);
///     })
///     .detach();
/// assert!(!lock.is_locked());
/// ```
///
/// # Ordering
/// First in, first out. A released lock goes to the first waiter, even if another caller asks for it at that moment.
///
/// # Re-entrancy
/// As for [`DeferredSemaphore`].
#[derive(Clone)]
pub struct DeferredLock(Rc<SemaphoreState>);

impl DeferredLock {
    /// Creates a free lock.
    pub fn new() -> DeferredLock {
        DeferredLock(SemaphoreState::new(1))
    }

    /// Waits for the lock. It is locked until the [`Permit`] is dropped. Twisted: `DeferredLock.acquire`.
    ///
    /// # Cancel safety
    /// A cancelled wait leaves the queue of waiters. A permit that was not read is dropped with the Deferred, which
    /// releases the lock.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire(Location::caller())
    }

    /// Calls `function` when the lock is free, and returns its outcome. The lock is released when the outcome is complete:
    /// a value, a failure, or a panic. Twisted: `DeferredLock.run`.
    ///
    /// # Cancel safety
    /// As for [`DeferredSemaphore::run`].
    #[track_caller]
    pub fn run<O: Outcome>(&self, function: impl FnOnce() -> O + 'static) -> Deferred<O::Value> {
        self.0.run(function, Location::caller())
    }

    /// Returns whether the lock is taken.
    pub fn is_locked(&self) -> bool {
        self.0.free.get() == 0
    }

    /// Returns the number of waiters.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl Default for DeferredLock {
    fn default() -> Self {
        DeferredLock::new()
    }
}

impl fmt::Debug for DeferredLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_locked() { "locked" } else { "free" };
        write!(f, "DeferredLock({state}, {} waiting)", self.waiting())
    }
}

/// A taken slot of a [`DeferredSemaphore`] or a [`DeferredLock`]. Dropping it releases the slot. Twisted: `release`.
///
/// # Dropping
/// Dropping the permit, also by a panic, passes the slot to the next waiter and runs its callbacks before `drop` returns.
/// If such a callback drops another permit of the same semaphore, the next callbacks run after it has returned.
#[must_use = "dropping the permit releases the slot"]
pub struct Permit(Rc<SemaphoreState>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.hand_over();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// The error of [`DeferredSemaphore::new`] with a limit of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoSlots;

impl fmt::Display for NoSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a semaphore needs at least one slot")
    }
}

impl Error for NoSlots {}

struct SemaphoreState {
    limit: usize,
    free: Cell<usize>,
    waiters: Rc<WaitList<Permit>>,
    handing_over: Cell<bool>,
}

impl SemaphoreState {
    fn new(limit: usize) -> Rc<SemaphoreState> {
        Rc::new(SemaphoreState {
            limit,
            free: Cell::new(limit),
            waiters: WaitList::new(),
            handing_over: Cell::new(false),
        })
    }

    #[track_caller]
    fn acquire(self: &Rc<Self>, made_at: &'static Location<'static>) -> Deferred<Permit> {
        // While waiters exist, a free slot is already on its way to the first of them.
        if self.waiters.len() == 0 {
            if let Some(permit) = self.take() {
                return succeed(permit);
            }
        }
        self.waiters.wait((), made_at)
    }

    #[track_caller]
    fn run<O: Outcome>(
        self: &Rc<Self>,
        function: impl FnOnce() -> O + 'static,
        made_at: &'static Location<'static>,
    ) -> Deferred<O::Value> {
        self.acquire(made_at).add_callback(move |permit| {
            maybe_deferred_at(made_at, function).add_both(move |result| {
                drop(permit);
                result
            })
        })
    }

    fn take(self: &Rc<Self>) -> Option<Permit> {
        let rest = self.free.get().checked_sub(1)?;
        self.free.set(rest);
        Some(Permit(self.clone()))
    }

    /// Gives free slots to waiters. If this runs inside a waiter's callback, the loop further up the stack continues
    /// instead, so that a row of releases takes constant stack.
    fn hand_over(self: &Rc<Self>) {
        struct Over<'a>(&'a Cell<bool>);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        if self.handing_over.replace(true) {
            return;
        }
        let _over = Over(&self.handing_over);
        while let Some((trigger, permit)) = self.next() {
            trigger.callback(permit);
        }
    }

    fn next(self: &Rc<Self>) -> Option<(Trigger<Permit>, Permit)> {
        if self.free.get() == 0 {
            return None;
        }
        let trigger = self.waiters.first()?;
        Some((trigger, self.take()?))
    }
}
