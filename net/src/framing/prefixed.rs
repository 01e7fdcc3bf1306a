use super::{Found, FrameError, Framing};

/// Frames with a big-endian length prefix of 1, 2 or 4 bytes. Twisted: `Int8StringReceiver`,
/// `Int16StringReceiver`, `Int32StringReceiver`.
///
/// Default limit: 99,999 bytes, as in Twisted, or the largest length that the prefix can express.
#[derive(Clone, Debug)]
pub struct Prefixed {
    width: usize,
    max_length: usize,
}

impl Prefixed {
    /// Creates a framing with a length of one byte: frames of up to 255 bytes.
    pub fn int8() -> Prefixed {
        Prefixed::new(1)
    }

    /// Creates a framing with a length of two bytes: frames of up to 65,535 bytes.
    pub fn int16() -> Prefixed {
        Prefixed::new(2)
    }

    /// Creates a framing with a length of four bytes: frames of up to 99,999 bytes by default.
    pub fn int32() -> Prefixed {
        Prefixed::new(4)
    }

    /// Sets the longest payload, in bytes, up to the largest length that the prefix can express.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Prefixed {
        self.max_length = bytes.min(self.ceiling());
        self
    }

    fn new(width: usize) -> Prefixed {
        Prefixed { width, max_length: usize::MAX }.max_length(99_999)
    }

    fn ceiling(&self) -> usize {
        u32::MAX.checked_shr(32 - 8 * self.width as u32).unwrap_or(u32::MAX) as usize
    }
}

impl Framing for Prefixed {
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError> {
        let Some(prefix) = input.get(..self.width) else { return Ok(None) };
        let length = prefix.iter().fold(0usize, |length, &byte| (length << 8) | usize::from(byte));
        if length > self.max_length {
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        let end = self.width.saturating_add(length);
        Ok((input.len() >= end).then_some(Found { start: self.width, end, consumed: end }))
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if payload.len() > self.max_length {
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        let length = (payload.len() as u32).to_be_bytes();
        out.extend_from_slice(&length[length.len() - self.width..]);
        out.extend_from_slice(payload);
        Ok(())
    }
}
