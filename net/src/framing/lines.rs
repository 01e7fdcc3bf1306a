use super::{Found, FrameError, Framing};

/// Frames that end in a delimiter: lines. Twisted: `LineReceiver`.
///
/// [`Lines::any_ending`] accepts the lines of all clients. [`Lines::new`] has the default of `LineReceiver`:
/// only `\r\n` ends a line. Both accept at most 16,384 bytes per line, without its ending.
#[derive(Clone, Debug)]
pub struct Lines {
    delimiter: Vec<u8>,
    /// Whether a `\r` before the delimiter, which is `\n`, belongs to the line's ending.
    any_ending: bool,
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
    /// Creates a framing that waits for `\r\n`. A client that ends its lines with `\n`, such as `nc`, gets no
    /// answer: [`any_ending`](Lines::any_ending) accepts both.
    ///
    /// Use it for protocols in which a line may contain `\n`, or in which a peer must not send it alone.
    pub fn new() -> Lines {
        Lines { delimiter: b"\r\n".to_vec(), any_ending: false, max_length: 16_384, scanned: 0 }
    }

    /// Creates a framing for lines that end in `\r\n` or in `\n`. Encoded lines end in `\r\n`, and cannot
    /// contain `\n`.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::framing::{FrameBuffer, Lines};
    ///
    /// let mut lines = FrameBuffer::new(Lines::any_ending());
    /// lines.feed(b"from nc\nfrom telnet\r\n");
    /// assert_eq!(lines.next_frame()?, Some(&b"from nc"[..]));
    /// assert_eq!(lines.next_frame()?, Some(&b"from telnet"[..]));
    /// # Ok::<(), twistor::net::framing::FrameError>(())
    /// ```
    pub fn any_ending() -> Lines {
        Lines { delimiter: b"\n".to_vec(), any_ending: true, ..Lines::new() }
    }

    /// Sets the only delimiter, any sequence of bytes such as `"\n"` or `"\0"`. Default: `"\r\n"`.
    ///
    /// # Panics
    ///
    /// If `delimiter` is empty.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<Vec<u8>>) -> Lines {
        self.delimiter = delimiter.into();
        self.any_ending = false;
        assert!(!self.delimiter.is_empty(), "a line delimiter has at least one byte");
        self
    }

    /// Sets the longest line, in bytes without its ending. Default: 16,384.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Lines {
        self.max_length = bytes;
        self
    }

    /// Returns the position of the next delimiter.
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

    /// Returns the length of `line` without a `\r` at its end that belongs to the ending.
    fn without_return(&self, line: &[u8]) -> usize {
        line.len() - usize::from(self.any_ending && line.ends_with(b"\r"))
    }
}

impl Framing for Lines {
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError> {
        let found = self.position(input);
        // A partial delimiter at the end of the input does not count towards the line's length.
        let tail = self.delimiter.len() - 1;
        let searched = found.unwrap_or(input.len().saturating_sub(tail));
        let shortest = self.without_return(&input[..searched]);
        if shortest > self.max_length {
            self.scanned = 0;
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        self.scanned = if found.is_some() { 0 } else { shortest };
        Ok(found.map(|at| Found { start: 0, end: shortest, consumed: at + self.delimiter.len() }))
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if payload.len() > self.max_length {
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        let start = out.len();
        out.extend_from_slice(payload);
        if self.any_ending {
            out.push(b'\r');
        }
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
