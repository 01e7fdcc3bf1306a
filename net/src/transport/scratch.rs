//! The one buffer that all of a thread's connections read into, so that an idle one needs none.

use std::cell::Cell;

/// Bytes one read can give.
pub(crate) const SCRATCH: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8; SCRATCH]>>> = const { Cell::new(None) };
}

/// Lends the thread's buffer, with whatever was left in it. A second one asked for meanwhile is a buffer of its own.
#[inline]
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut [u8; SCRATCH]) -> R) -> R {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut buffer = spare.unwrap_or_else(|| Box::new([0; SCRATCH]));
    let result = work(&mut buffer);
    let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
    result
}
