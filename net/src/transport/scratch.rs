//! The one buffer that all of a thread's connections read into, so that an idle one needs none.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

const SIZE: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The thread's buffer, for as long as this lives. A second one taken meanwhile is a buffer of its own.
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    #[inline]
    pub(crate) fn take() -> Scratch {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        Scratch(spare.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()))
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
