//! A table and a queue that return their memory after a burst.

use std::collections::VecDeque;

use slab::Slab;

/// The number of values on one page of a table. A queue of at most this capacity keeps its memory.
const PAGE: usize = 1024;

/// A slab in pages. An empty page returns its memory, so a value that stays after a burst of a million keeps only
/// the memory of one page.
#[derive(Debug)]
pub(crate) struct Table<T> {
    pages: Vec<Slab<T>>,
    /// Pages with room. The first one is filled first, so that the others can become empty.
    open: Pages,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { pages: Vec::new(), open: Pages::default(), len: 0 }
    }
}

impl<T> Table<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the key that the next value will have.
    pub(crate) fn vacant_key(&self) -> usize {
        match self.open.first() {
            Some(page) => page * PAGE + self.pages[page].vacant_key(),
            None => self.pages.len() * PAGE,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let page = self.open.first().unwrap_or_else(|| {
            self.pages.push(Slab::new());
            self.open.insert(self.pages.len() - 1);
            self.pages.len() - 1
        });
        self.len += 1;
        let key = self.pages[page].insert(value);
        if self.pages[page].len() == PAGE {
            self.open.remove(page);
        }
        page * PAGE + key
    }

    #[inline]
    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        self.pages.get(key / PAGE)?.get(key % PAGE)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / PAGE)?.get_mut(key % PAGE)
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let number = key / PAGE;
        let page = self.pages.get_mut(number)?;
        let value = page.try_remove(key % PAGE)?;
        self.len -= 1;
        if page.len() == PAGE - 1 {
            self.open.insert(number);
        }
        // The first page stays, for the few values of a quiet time.
        if page.is_empty() && number > 0 {
            *page = Slab::new();
        }
        Some(value)
    }

    /// Returns the values in the order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter().map(|(_, value)| value))
    }

    /// Removes the value if `meant` recognizes it: the key may have passed to another value.
    pub(crate) fn remove_if(&mut self, key: usize, meant: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.get(key).is_some_and(meant) { self.remove(key) } else { None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `f` with all values, in the order of their keys. These loops add less to the size of a program than
    /// an iterator over pages.
    pub(crate) fn for_each(self, mut f: impl FnMut(T)) {
        for page in self.pages {
            for (_, value) in page {
                f(value);
            }
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.pages.iter().map(Slab::capacity).sum()
    }
}

/// A set of page numbers, one bit each. It adds less to the size of a program than a tree.
#[derive(Debug, Default)]
struct Pages(Vec<u64>);

impl Pages {
    fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }

    fn insert(&mut self, page: usize) {
        if page / 64 >= self.0.len() {
            self.0.resize(page / 64 + 1, 0);
        }
        self.0[page / 64] |= 1 << (page % 64);
    }

    fn remove(&mut self, page: usize) {
        self.0[page / 64] &= !(1 << (page % 64));
    }
}

/// Removes the first value of a queue, and shrinks the queue if it has become much emptier.
#[inline]
pub(crate) fn pop_front<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.capacity() > PAGE && queue.len() <= queue.capacity() / 4 {
        shrink(queue);
    }
    first
}

#[cold]
#[inline(never)]
fn shrink<T>(queue: &mut VecDeque<T>) {
    queue.shrink_to((2 * queue.len()).max(PAGE / 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 100_000;

    #[test]
    fn a_table_returns_its_memory_after_a_burst() {
        // R18.1
        let mut table = Table::default();
        let early = table.insert(0);
        for in_order in [true, false] {
            let mut keys: Vec<_> = (0..MANY).map(|value| table.insert(value)).collect();
            let late = keys[MANY - 1];
            if !in_order {
                keys.reverse();
            }
            assert!(keys.iter().filter(|&&key| key != late).all(|&key| table.remove(key).is_some()));
            assert!(table.len() == 2 && table.capacity() <= 3 * PAGE, "{}", table.capacity());
            assert_eq!((table.remove(late), table.remove(late)), (Some(MANY - 1), None));
        }
        assert_eq!((table.remove(early), table.remove(early), table.len()), (Some(0), None, 0));
    }

    #[test]
    fn a_table_finds_its_values_after_others_left() {
        // R18.1: compared with a plain map.
        let (mut table, mut model) = (Table::default(), std::collections::BTreeMap::new());
        let mut state = 1_u64;
        for value in 0..50_000_u64 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = (state >> 33) as usize % (4 * PAGE);
            // The table grows in the first half of each ten thousand, and shrinks in the second.
            if value % 10_000 < 5_000 {
                let key = table.vacant_key();
                assert_eq!(table.insert(value), key);
                assert!(model.insert(key, value).is_none());
            } else {
                assert_eq!(table.remove(key), model.remove(&key));
            }
            assert_eq!((table.get(key), table.len()), (model.get(&key), model.len()));
        }
        let mut values = Vec::new();
        std::mem::take(&mut table).for_each(|value| values.push(value));
        assert_eq!(values, model.into_values().collect::<Vec<_>>());
        assert!(table.is_empty() && table.capacity() == 0);
    }

    #[test]
    fn a_queue_shrinks_as_it_empties_and_keeps_its_order() {
        // R18.1
        let mut queue: VecDeque<_> = (0..MANY).collect();
        for first in 0..MANY {
            assert_eq!(pop_front(&mut queue), Some(first));
        }
        assert!(queue.capacity() <= PAGE && pop_front(&mut queue).is_none());
    }
}
