//! The read buffer that all connections of a thread share, so that an idle connection needs none.

use std::cell::Cell;

/// The size of the buffer, and so of one read. It is large because the cost of a read per byte falls with its
/// size: with a quarter of it, bulk data takes a fifth more processor time.
pub(crate) const SCRATCH: usize = 256 * 1024;

/// The buffer starts at a multiple of this. An allocation of this size starts 16 bytes after one, and the kernel's copy to
/// such an address is so much slower that bulk data takes a third more processor time (`bulk` in the benchmarks).
const PAGE: usize = 4096;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the thread's buffer, whose content is arbitrary. A nested call gets a new buffer.
#[inline]
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut buffer = spare.unwrap_or_else(|| vec![0; SCRATCH + PAGE].into_boxed_slice());
    let start = buffer.as_ptr().align_offset(PAGE).min(PAGE);
    let result = work(&mut buffer[start..start + SCRATCH]);
    let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
    result
}
