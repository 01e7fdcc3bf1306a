//! How much of a message is taken in before it is refused.

/// Bounds on one message, as it arrives.
///
/// A message that passes one of them is refused with the [`DecodeError`](super::DecodeError) of
/// that bound. Sizes are bytes on the wire.
///
/// # Examples
///
/// ```
/// use twistor_http::Limits;
///
/// let limits = Limits { body_size: 1 << 20, ..Limits::default() };
/// assert_eq!(limits.header_count, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The start line, all header fields and the empty line after them; 64 KiB.
    ///
    /// Positions are kept in 32 bits, so nothing above 2 GiB has an effect.
    pub head_size: usize,
    /// Header fields in a head, and fields in a trailer section; 100.
    pub header_count: usize,
    /// The target of a request; 16 KiB.
    pub target_size: usize,
    /// The content of a message, after chunks are taken apart; no bound.
    pub body_size: u64,
    /// A chunk's size line with its extensions; 1 KiB.
    ///
    /// Besides, the lines of one body may come to 16 KiB more than twice what the chunks carry, so
    /// that a body cannot consist of extensions.
    pub chunk_line_size: usize,
    /// The trailer section; 16 KiB.
    pub trailers_size: usize,
    /// Interim (1xx) responses before a final one; 16.
    pub interim_count: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_size: 64 << 10,
            header_count: 100,
            target_size: 16 << 10,
            body_size: u64::MAX,
            chunk_line_size: 1 << 10,
            trailers_size: 16 << 10,
            interim_count: 16,
        }
    }
}

impl Limits {
    /// Positions in a head are `u32`.
    pub(crate) fn head_bytes(&self) -> usize {
        self.head_size.min(i32::MAX as usize)
    }

    pub(crate) fn trailer_bytes(&self) -> usize {
        self.trailers_size.min(i32::MAX as usize)
    }
}
