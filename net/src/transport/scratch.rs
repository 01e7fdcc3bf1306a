//! The one buffer that all of a thread's connections read into, so that an idle one needs none.

use std::cell::Cell;

/// How much one read can give. Large, since a read or a write costs the kernel less by the byte the larger it is: with a
/// quarter of this, bulk data takes a fifth more processor time.
pub(crate) const SCRATCH: usize = 256 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the thread's buffer, with whatever was left in it. A second one asked for meanwhile is a buffer of its own.
#[inline]
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut buffer = spare.unwrap_or_else(|| vec![0; SCRATCH].into_boxed_slice());
    let result = work(&mut buffer);
    let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
    result
}
