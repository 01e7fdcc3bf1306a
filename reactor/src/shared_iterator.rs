//! An iterator that several tasks share.

use std::cell::Cell;
use std::fmt;
use std::iter::Fuse;
use std::rc::Rc;

/// An iterator that several tasks share: each clone takes the next item in its turn, so that as many items are in
/// progress at once as there are clones.
///
/// ```
/// use std::time::Duration;
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let work = SharedIterator::new((0..10).map(move |n| {
///     defer_later(&handle, Duration::from_micros(100), move || println!("{n} is done"))
/// }));
/// let cooperator = Cooperator::new(&reactor);
/// // Three at a time.
/// let workers: Vec<_> = (0..3).map(|_| cooperator.coiterate(work.clone())).collect();
/// reactor.run_until(gather_results(workers))?;
/// # Ok::<(), Failure>(())
/// ```
///
/// # Re-entrancy
///
/// If the iterator asks a clone of itself for an item while it produces one, it receives `None`.
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
        // A panic drops the iterator, which ends it for all clones.
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
