use super::{Found, FrameError, Framing};

/// Frames that end in a delimiter: lines. Twisted: `LineReceiver`.
///
/// The default is what `LineReceiver` has: the delimiter `\r\n` and at most 16,384 bytes a line, the delimiter not
/// counted. For peers that may end their lines in either way, take the delimiter `"\n"`, and the `\r` off the end of
/// the line where there is one.
#[derive(Clone, Debug)]
pub struct Lines {
    delimiter: Vec<u8>,
    max_length: usize,
    /// No delimiter starts before this offset: each byte is looked at once, however the input is split.
    scanned: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Lines::new()
    }
}

impl Lines {
    /// Lines that end in `\r\n`, of at most 16,384 bytes.
    pub fn new() -> Lines {
        Lines { delimiter: b"\r\n".to_vec(), max_length: 16_384, scanned: 0 }
    }

    /// Lines that end in `delimiter`, any sequence of bytes such as `"\n"` or `"\0"`.
    ///
    /// # Panics
    ///
    /// If `delimiter` is empty.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<Vec<u8>>) -> Lines {
        self.delimiter = delimiter.into();
        assert!(!self.delimiter.is_empty(), "a line delimiter has at least one byte");
        self
    }

    /// Sets the longest line allowed, in bytes without its delimiter.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Lines {
        self.max_length = bytes;
        self
    }

    fn position(&self, input: &[u8]) -> Option<usize> {
        let (&first, rest) = self.delimiter.split_first()?;
        let mut from = self.scanned;
        while let Some(step) = input.get(from..)?.iter().position(|&byte| byte == first) {
            let at = from + step;
            if input[at + 1..].starts_with(rest) {
                return Some(at);
            }
            from = at + 1;
        }
        None
    }
}

impl Framing for Lines {
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError> {
        let found = self.position(input);
        // Without a delimiter, its first bytes may be the last of the input: those do not count as the line's.
        let tail = self.delimiter.len() - 1;
        let shortest = found.unwrap_or(input.len().saturating_sub(tail));
        if shortest > self.max_length {
            self.scanned = 0;
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        self.scanned = if found.is_some() { 0 } else { shortest };
        Ok(found.map(|end| Found { start: 0, end, consumed: end + self.delimiter.len() }))
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if payload.len() > self.max_length {
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        let start = out.len();
        out.extend_from_slice(payload);
        out.extend_from_slice(&self.delimiter);
        // Looked for in the whole: the payload's end and the delimiter may make one that comes earlier.
        let whole = &out[start..];
        let found = whole.windows(self.delimiter.len()).position(|window| window == self.delimiter);
        if let Some(at) = found.filter(|&at| at < payload.len()) {
            out.truncate(start);
            return Err(FrameError::Malformed { what: "the delimiter inside a line", at });
        }
        Ok(())
    }
}
