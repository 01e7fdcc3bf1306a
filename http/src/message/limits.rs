//! Limits on the size of a received message.

/// Limits on the size of one received message, in bytes as sent.
///
/// A message above a limit is refused with the [`DecodeError`](super::DecodeError) of that limit.
///
/// This struct stays exhaustive, so that programs can use `..Limits::default()`.
///
/// # Examples
///
///
/// ```
/// use twistor::http::Limits;
///
/// let limits = Limits { body_size: 1 << 20, ..Limits::default() };
/// assert_eq!(limits.header_count, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The start line, all header fields and the empty line after them. Default: 64 KiB.
    ///
    /// Positions are kept in 32 bits, so a limit above 2 GiB has no effect.
    pub head_size: usize,
    /// The number of header fields in a head, and of fields in a trailer section. Default: 100.
    pub header_count: usize,
    /// The target of a request. Default: 16 KiB.
    pub target_size: usize,
    /// The content of a message, without chunk lines. Default: no limit.
    pub body_size: u64,
    /// A chunk's size line with its extensions. Default: 1 KiB.
    ///
    /// In addition, all lines of one body may have 16 KiB more than twice the data of the chunks, so that a
    /// body cannot consist of extensions.
    pub chunk_line_size: usize,
    /// The trailer section. Default: 16 KiB.
    pub trailers_size: usize,
    /// The number of interim (1xx) responses before a final one. Default: 16.
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
