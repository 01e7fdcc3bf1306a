/// Bytes that have come and are not used yet. It holds no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// Bytes at the front that were given out already.
    used: usize,
}

impl Pending {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.used
    }

    pub(crate) fn feed(&mut self, data: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(data);
    }

    /// Gives the next `count` bytes out.
    pub(crate) fn advance(&mut self, count: usize) -> &[u8] {
        let base = self.used;
        self.used += count;
        &self.bytes[base..self.used]
    }

    /// As `advance`, to keep; all of them are not copied.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.used == 0 && count == self.bytes.len() {
            std::mem::take(&mut self.bytes)
        } else {
            self.advance(count).to_vec()
        }
    }

    /// Gives everything out.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.used));
        bytes
    }

    /// Puts bytes back that were given out, before all others.
    pub(crate) fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(self.as_slice());
        *self = Pending { bytes, used: 0 };
    }

    /// Gives memory back; moves the rest to the front only when that is the smaller part, so that taking many small
    /// pieces off a large buffer costs no more than its length.
    pub(crate) fn compact(&mut self) {
        if self.used == self.bytes.len() {
            self.bytes = Vec::new();
            self.used = 0;
        } else if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
    }
}
