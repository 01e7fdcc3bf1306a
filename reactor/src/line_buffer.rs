//! Text that arrives in pieces, split into lines.

/// The length limit of a line, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;

/// Received bytes that were not returned as lines yet.
#[derive(Default)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    /// The bytes before this offset were returned.
    start: usize,
    /// No line feed is between `start` and this offset, so each byte is searched once.
    searched: usize,
}

impl LineBuffer {
    pub(crate) fn feed(&mut self, data: &[u8]) {
        self.discard_returned();
        self.bytes.extend_from_slice(data);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Removes and returns the next complete line, without its line feed and a carriage return before that.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        let end = self.find()?;
        let line = &self.bytes[self.start..end];
        (self.start, self.searched) = (end + 1, end + 1);
        Some(without_return(line))
    }

    /// Does what `next_line` does, but returns a line longer than `limit` in pieces of this length. A piece is up to
    /// three bytes shorter, to end after a whole UTF-8 character.
    #[cfg(all(not(target_os = "openbsd"), feature = "process"))]
    pub(crate) fn next_piece(&mut self, limit: usize) -> Option<&[u8]> {
        let end = self.find().unwrap_or(self.bytes.len());
        let start = self.start;
        if without_return(&self.bytes[start..end]).len() <= limit {
            return self.next_line();
        }
        self.start += whole_characters(&self.bytes[start..start + limit]).len();
        Some(&self.bytes[start..self.start])
    }

    /// Removes and returns the bytes after the last line, if there are any.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        self.discard_returned();
        self.searched = 0;
        let rest = std::mem::take(&mut self.bytes);
        (!rest.is_empty()).then_some(rest)
    }

    /// Returns the offset of the next line feed.
    fn find(&mut self) -> Option<usize> {
        let found = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        self.searched = found.map_or(self.bytes.len(), |step| self.searched + step);
        found.map(|_| self.searched)
    }

    fn discard_returned(&mut self) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns `text` without an incomplete character at its end.
#[cfg(all(not(target_os = "openbsd"), feature = "process"))]
fn whole_characters(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => &text[..error.valid_up_to()],
        _ => text,
    }
}
