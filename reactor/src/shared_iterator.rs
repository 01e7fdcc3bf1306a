//! One iterator for several workers.

use std::cell::Cell;
use std::fmt;
use std::iter::Fuse;
use std::rc::Rc;

/// One iterator for several tasks: each clone takes the next item when it is its turn, so that as many items are
/// under way at once as there are clones.
///
/// ```
/// use std::time::Duration;
/// use twistor_deferred::gather_results;
/// use twistor_reactor::{Cooperator, Reactor, SharedIterator, defer_later};
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.clone();
/// let work = SharedIterator::new((0..10).map(move |n| {
///     defer_later(&handle, Duration::from_micros(100), move || println!("{n} is done"))
/// }));
/// let cooperator = Cooperator::new(&reactor);
/// // Three at a time.
/// let workers: Vec<_> = (0..3).map(|_| cooperator.coiterate(work.clone())).collect();
/// reactor.run_until(gather_results(workers))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Re-entrancy
///
/// Asked for an item while it is making one, it has none.
pub struct SharedIterator<I> {
    iterator: Rc<Cell<Option<Fuse<I>>>>,
}

impl<I: Iterator> SharedIterator<I> {
    /// Shares this iterator.
    pub fn new(iterator: impl IntoIterator<IntoIter = I>) -> SharedIterator<I> {
        SharedIterator { iterator: Rc::new(Cell::new(Some(iterator.into_iter().fuse()))) }
    }
}

impl<I: Iterator> Iterator for SharedIterator<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        // A panic in it loses it, and so ends all that share it.
        let mut iterator = self.iterator.take()?;
        let item = iterator.next();
        self.iterator.set(Some(iterator));
        item
    }
}

impl<I> Clone for SharedIterator<I> {
    fn clone(&self) -> SharedIterator<I> {
        SharedIterator { iterator: self.iterator.clone() }
    }
}

impl<I> fmt::Debug for SharedIterator<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedIterator").field("shares", &Rc::strong_count(&self.iterator)).finish()
    }
}
