//! A map that is mostly filled at its end.

use std::collections::VecDeque;

/// Values by number. New numbers are mostly the largest, so a sorted deque does; a `BTreeMap` would add five times as much
/// to the size of a program.
pub(crate) struct NumberMap<T> {
    /// Sorted. A removed value leaves a gap, except at the front and at the back.
    entries: VecDeque<(u64, Option<T>)>,
    len: usize,
}

/// The gaps that are left alone, and the room that an empty map keeps.
const KEPT: usize = 32;

impl<T> Default for NumberMap<T> {
    fn default() -> NumberMap<T> {
        NumberMap { entries: VecDeque::new(), len: 0 }
    }
}

impl<T> NumberMap<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a value under a number that has none.
    pub(crate) fn insert(&mut self, number: u64, value: T) {
        self.len += 1;
        let place = match self.entries.back() {
            Some(&(last, _)) if last >= number => self.find(number),
            _ => Err(self.entries.len()),
        };
        match place {
            Ok(gap) => self.entries[gap].1 = Some(value),
            Err(place) => self.entries.insert(place, (number, Some(value))),
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.find(number).ok()?;
        let value = self.entries[place].1.take()?;
        self.close_gaps();
        Some(value)
    }

    pub(crate) fn first_number(&self) -> Option<u64> {
        self.entries.front().map(|(number, _)| *number)
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let (_, value) = self.entries.pop_front()?;
        self.close_gaps();
        value
    }

    /// The numbers that have a value, in order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.entries.iter().filter(|(_, value)| value.is_some()).map(|(number, _)| *number).collect()
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&number, |(number, _)| *number)
    }

    /// A value was taken out: keeps the ends without gaps, and few gaps between them.
    fn close_gaps(&mut self) {
        self.len -= 1;
        if self.len == 0 {
            self.entries.clear();
        }
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
        }
        while let Some((_, None)) = self.entries.back() {
            self.entries.pop_back();
        }
        if self.entries.len() > 2 * self.len + KEPT {
            self.entries.retain(|(_, value)| value.is_some());
        }
        if self.entries.capacity() > 4 * self.entries.len() + KEPT {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_number_map_agrees_with_a_tree() {
        let (mut map, mut model) = (NumberMap::default(), BTreeMap::new());
        let (mut state, mut next) = (1_u64, 1);
        for step in 0..50_000_u64 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let any = (state >> 33) % next;
            // The map grows in the first half of each ten thousand, and shrinks in the second.
            match (state >> 20) % 8 {
                0..5 if step % 10_000 < 5_000 => {
                    map.insert(next, step);
                    model.insert(next, step);
                    next += 1;
                }
                // Back into its place.
                5 if !model.contains_key(&any) => {
                    map.insert(any, step);
                    model.insert(any, step);
                }
                6 => assert_eq!(map.pop_first(), model.pop_first().map(|(_, value)| value)),
                _ => assert_eq!(map.remove(any), model.remove(&any)),
            }
            assert_eq!((map.len(), map.first_number()), (model.len(), model.keys().next().copied()));
            assert!(map.entries.len() <= 2 * map.len() + KEPT);
        }
        assert_eq!(map.numbers(), model.keys().copied().collect::<Vec<_>>());
        while map.pop_first().is_some() {}
        assert!(map.len() == 0 && map.entries.capacity() <= KEPT);
    }
}
