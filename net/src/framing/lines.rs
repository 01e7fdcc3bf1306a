use super::{Found, FrameError, Framing};

/// Frames that end in a delimiter: lines. Twisted: `LineReceiver`.
///
/// The defaults are those of `LineReceiver`: the delimiter `\r\n`, and at most 16,384 bytes per line without
/// its delimiter. To accept both `\n` and `\r\n`, set the delimiter `"\n"` and strip a trailing `\r` from
/// each line.
#[derive(Clone, Debug)]
pub struct Lines {
    delimiter: Vec<u8>,
    max_length: usize,
    /// No delimiter starts before this offset, so each byte is searched once, however the input is split.
    scanned: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Lines::new()
    }
}

impl Lines {
    /// Creates a framing for lines that end in `\r\n`, of at most 16,384 bytes.
    pub fn new() -> Lines {
        Lines { delimiter: b"\r\n".to_vec(), max_length: 16_384, scanned: 0 }
    }

    /// Sets the delimiter, any sequence of bytes such as `"\n"` or `"\0"`. Default: `"\r\n"`.
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

    /// Sets the longest line, in bytes without its delimiter. Default: 16,384.
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
        // A partial delimiter at the end of the input does not count towards the line's length.
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
        // The search covers payload and delimiter, because the payload's end can begin an earlier delimiter.
        let whole = &out[start..];
        let found = whole.windows(self.delimiter.len()).position(|window| window == self.delimiter);
        if let Some(at) = found.filter(|&at| at < payload.len()) {
            out.truncate(start);
            return Err(FrameError::Malformed { what: "the line contains the delimiter", at });
        }
        Ok(())
    }
}
