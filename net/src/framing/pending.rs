/// Received bytes that are not consumed yet. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// The number of bytes at the front that are consumed.
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

    /// Consumes and returns the next `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) -> &[u8] {
        let base = self.used;
        self.used += count;
        &self.bytes[base..self.used]
    }

    /// Consumes the next `count` bytes and returns them as a vector. Taking all bytes does not copy them.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.used == 0 && count == self.bytes.len() {
            std::mem::take(&mut self.bytes)
        } else {
            self.advance(count).to_vec()
        }
    }

    /// Consumes and returns all bytes.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.used));
        bytes
    }

    /// Puts consumed bytes back in front of all others.
    pub(crate) fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(self.as_slice());
        *self = Pending { bytes, used: 0 };
    }

    /// Releases memory. Moves the rest to the front only if it is the smaller part, so that consuming a large
    /// buffer in many small pieces takes linear time.
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
