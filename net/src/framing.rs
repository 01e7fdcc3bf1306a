//! Framings: they split a stream of bytes into frames, such as lines, netstrings or length-prefixed messages.
//!
//! A [`Framing`] is a small state machine that looks at the start of the received bytes and returns the
//! position of the next frame. It owns no bytes. So the same framing works in a protocol
//! ([`Framed`](crate::Framed)), in a hand-written [`Protocol`](crate::Protocol) with a [`FrameBuffer`], and
//! in a test that feeds it byte by byte.

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

/// The position of a frame at the start of some input, as returned by [`Framing::find`].
///
/// This struct stays exhaustive, because implementations of [`Framing`] construct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The offset at which the payload starts.
    pub start: usize,
    /// The offset at which the payload ends (exclusive).
    pub end: usize,
    /// The length of the frame in the input, including delimiters and lengths. At least 1.
    pub consumed: usize,
}

/// A way to split a stream of bytes into frames.
///
/// # Examples
///
/// ```
/// use twistor::net::framing::{FrameBuffer, Lines};
///
/// let mut lines = FrameBuffer::new(Lines::new());
/// lines.feed(b"one\r\ntw");
/// assert_eq!(lines.next_frame()?, Some(&b"one"[..]));
/// assert_eq!(lines.next_frame()?, None);
/// lines.feed(b"o\r\n");
/// assert_eq!(lines.next_frame()?, Some(&b"two"[..]));
/// # Ok::<(), twistor::net::framing::FrameError>(())
/// ```
pub trait Framing: fmt::Debug + 'static {
    /// Looks for a complete frame at the start of `input`.
    ///
    /// `Ok(None)` means that more bytes are needed. The next call then gets the same bytes followed by more,
    /// so an implementation may remember how far it has searched. After `Ok(Some(_))` the search starts
    /// again.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the input cannot become a frame within the limits, as soon as the received bytes
    /// show it: a length above the limit is refused before its payload arrives.
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError>;

    /// Appends `payload` as one frame to `out`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the payload cannot be encoded as one frame: it is longer than the limit, it contains
    /// the delimiter, or its end and the delimiter together contain an earlier delimiter. `out` is then
    /// unchanged.
    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError>;
}

/// The reason why bytes are not a valid frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is longer than the limit allows. Twisted: `lineLengthExceeded`, `lengthLimitExceeded`.
    TooLong {
        /// The limit, in bytes of payload.
        limit: usize,
    },
    /// The bytes break the rules of the framing. Twisted: `NetstringParseError`.
    Malformed {
        /// The broken rule.
        what: &'static str,
        /// The byte offset from the start of the frame.
        at: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { limit } => write!(f, "frame is longer than the limit of {limit} bytes"),
            FrameError::Malformed { what, at } => write!(f, "malformed frame: {what} at byte {at}"),
        }
    }
}

impl std::error::Error for FrameError {}
