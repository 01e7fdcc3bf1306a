//! Only so many at a time.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait_list::WaitList;
use crate::{Deferred, Outcome, Trigger, maybe_deferred_at, succeed};

/// Lets so many do a thing at a time, and the others wait. Twisted's `DeferredSemaphore`.
///
/// A clone is another handle to the same semaphore.
///
/// ```
/// # use twistor_deferred::{Deferred, DeferredList, DeferredSemaphore, Failure, succeed};
/// # fn fetch(url: &str) -> Deferred<String> { succeed(url.to_owned()) }
/// let downloads = DeferredSemaphore::new(2)?;
/// let pages = ["one", "two", "three"].map(|url| downloads.run(move || fetch(url)));
/// let count = DeferredList::new(pages).add_callback(|pages| Ok(pages.len()));
/// assert!(matches!(count.try_result(), Ok(Ok(3))));
/// # Ok::<(), Failure>(())
/// ```
///
/// # Ordering
/// First in, first out. A slot that is released goes straight to whoever has waited longest.
///
/// # Re-entrancy
/// The next in line runs inside the release. Where one release leads to another, as in a row of short
/// [`run`](DeferredSemaphore::run)s, they follow one another in a loop, in constant stack.
#[derive(Clone)]
pub struct DeferredSemaphore(Rc<SemaphoreState>);

impl DeferredSemaphore {
    /// A semaphore with `limit` free slots.
    ///
    /// # Errors
    /// [`NoSlots`] if the limit is zero: nobody could ever get past.
    pub fn new(limit: usize) -> Result<DeferredSemaphore, NoSlots> {
        if limit == 0 { Err(NoSlots) } else { Ok(DeferredSemaphore(SemaphoreState::new(limit))) }
    }

    /// Fires when a slot is free, at once if one is. The slot is taken for as long as the [`Permit`] lives.
    ///
    /// # Cancel safety
    /// Cancelling a wait gives up the place in line. A permit that was not read is dropped with the Deferred, and
    /// releases its slot.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire(Location::caller())
    }

    /// Calls `function` once a slot is free, and releases it when its outcome is there: a value, a failure, or
    /// a panic. Gives that outcome. Twisted's `DeferredSemaphore.run`.
    ///
    /// # Cancel safety
    /// Cancelled before the call, it gives up the place in line; after it, the Deferred that `function` returned is
    /// cancelled.
    #[track_caller]
    pub fn run<O: Outcome>(&self, function: impl FnOnce() -> O + 'static) -> Deferred<O::Value> {
        self.0.run(function, Location::caller())
    }

    /// How many slots there are.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many of them are free.
    pub fn available(&self) -> usize {
        self.0.free.get()
    }

    /// How many wait for one.
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

/// Lets one do a thing at a time, and the others wait: a semaphore of one. Twisted's `DeferredLock`.
///
/// A clone is another handle to the same lock. It is not re-entrant: whoever holds it and waits for it
/// waits for ever.
///
/// ```
/// # use twistor_deferred::DeferredLock;
/// let lock = DeferredLock::new();
/// lock.acquire().add_callback(|permit| {
///     // Nobody else is here until the permit is dropped.
///     drop(permit);
/// });
/// assert!(!lock.is_locked());
/// ```
///
/// # Ordering
/// First in, first out. A lock that is released goes straight to whoever has waited longest.
///
/// # Re-entrancy
/// As [`DeferredSemaphore`].
#[derive(Clone)]
pub struct DeferredLock(Rc<SemaphoreState>);

impl DeferredLock {
    /// A free lock.
    pub fn new() -> DeferredLock {
        DeferredLock(SemaphoreState::new(1))
    }

    /// Fires when the lock is free, at once if it is. It is taken for as long as the [`Permit`] lives.
    ///
    /// # Cancel safety
    /// Cancelling a wait gives up the place in line. A permit that was not read is dropped with the Deferred, and
    /// releases the lock.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire(Location::caller())
    }

    /// Calls `function` once the lock is free, and releases it when its outcome is there: a value, a failure,
    /// or a panic. Gives that outcome. Twisted's `DeferredLock.run`.
    ///
    /// # Cancel safety
    /// As [`DeferredSemaphore::run`].
    #[track_caller]
    pub fn run<O: Outcome>(&self, function: impl FnOnce() -> O + 'static) -> Deferred<O::Value> {
        self.0.run(function, Location::caller())
    }

    /// Whether somebody has it.
    pub fn is_locked(&self) -> bool {
        self.0.free.get() == 0
    }

    /// How many wait for it.
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

/// A slot of a [`DeferredSemaphore`], or a [`DeferredLock`], for as long as it lives.
///
/// # Dropping
/// Dropped anywhere, also by a panic, it gives the slot to the next in line, whose callbacks run before
/// `drop` returns (unless it is itself dropped by such a callback; then they run just after).
#[must_use = "the slot is free again as soon as the permit is dropped"]
pub struct Permit(Rc<SemaphoreState>);

impl Permit {
    /// The same as dropping it, said aloud. Twisted's `release`.
    pub fn release(self) {}
}

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
        // A free slot may be on its way to somebody who waits.
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

    /// Gives free slots to those who wait. A release in a callback of one of them is left to the loop
    /// that is under way.
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
