//! Cutting a stream of bytes into frames: lines, netstrings, length-prefixed messages.
//!
//! A [`Framing`] is a small state machine that looks at the start of what has come and says where the next frame
//! is. It owns no bytes, so the same one serves a protocol ([`Framed`](crate::Framed)), a hand-written
//! [`Protocol`](crate::Protocol) through a [`FrameBuffer`], and a test that feeds it byte by byte.

mod buffer;
mod lines;
mod netstrings;
mod pending;
mod prefixed;

pub use buffer::FrameBuffer;
pub use lines::Lines;
pub use netstrings::Netstrings;
pub use prefixed::Prefixed;

pub(crate) use pending::Pending;

use std::fmt;

/// Where a frame lies at the start of some input: what [`Framing::find`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where the payload starts.
    pub start: usize,
    /// Where the payload ends (exclusive).
    pub end: usize,
    /// How many bytes of the input the frame takes, delimiters and lengths included; at least 1.
    pub consumed: usize,
}

/// A way to tell frames apart in a stream of bytes.
///
/// # Examples
///
/// ```
/// use twistor_net::framing::{FrameBuffer, Lines};
///
/// let mut lines = FrameBuffer::new(Lines::new());
/// lines.feed(b"one\r\ntw");
/// assert_eq!(lines.next_frame()?, Some(&b"one"[..]));
/// assert_eq!(lines.next_frame()?, None);
/// lines.feed(b"o\r\n");
/// assert_eq!(lines.next_frame()?, Some(&b"two"[..]));
/// # Ok::<(), twistor_net::framing::FrameError>(())
/// ```
pub trait Framing: fmt::Debug + 'static {
    /// Looks for a whole frame at the start of `input`.
    ///
    /// `Ok(None)` means that more bytes are needed. Then the next call gets the same bytes and more behind them, so
    /// an implementation may remember how far it has looked. After `Ok(Some(_))` it starts anew.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the input can no longer become a frame within the limits. It is known as early as the
    /// bytes at hand allow: a length beyond the limit is refused before its payload is waited for.
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError>;

    /// Appends `payload` as one frame to `out`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when no such frame can be made: it is longer than the limit, or holds the delimiter, or would
    /// together with its own. Then `out` is as it was.
    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError>;
}

/// Why some bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is longer than the limit allows. Twisted: `lineLengthExceeded`, `lengthLimitExceeded`.
    TooLong {
        /// The limit, in bytes of payload.
        limit: usize,
    },
    /// The bytes break the rules of the framing; says which, and at which byte of the frame. Twisted:
    /// `NetstringParseError`.
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The offset from the frame's first byte.
        at: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { limit } => write!(f, "frame longer than the limit of {limit} bytes"),
            FrameError::Malformed { what, at } => write!(f, "malformed frame: {what} at byte {at}"),
        }
    }
}

impl std::error::Error for FrameError {}
