use super::{FrameError, Framing};

/// The bytes that have come and are not used yet, and a [`Framing`] that cuts frames off them.
///
/// For protocols that want to take frames one at a time, or to change from frames to raw bytes in the middle
/// ([`take_rest`](FrameBuffer::take_rest), Twisted's `setRawMode`). [`Framed`](crate::Framed) is the ready-made
/// protocol. It holds no memory while it is empty.
#[derive(Debug)]
pub struct FrameBuffer<F> {
    framing: F,
    bytes: Vec<u8>,
    /// Bytes at the front that were given out already.
    used: usize,
}

impl<F: Framing> FrameBuffer<F> {
    /// An empty buffer.
    pub fn new(framing: F) -> FrameBuffer<F> {
        FrameBuffer { framing, bytes: Vec::new(), used: 0 }
    }

    /// The framing.
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// How many bytes wait here, not yet part of a frame that was given out.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes that have come.
    pub fn feed(&mut self, data: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(data);
    }

    /// Takes the next whole frame, if there is one.
    ///
    /// # Errors
    ///
    /// The framing's [`FrameError`]; the bytes stay where they are.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        match self.framing.find(&self.bytes[self.used..])? {
            Some(found) => {
                let base = self.used;
                self.used += found.consumed;
                Ok(Some(&self.bytes[base + found.start..base + found.end]))
            }
            None => {
                self.compact();
                Ok(None)
            }
        }
    }

    /// Takes everything that is left, as it came.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.used));
        bytes
    }

    /// Cuts frames off `data`, which follows what is already here, and gives each to `each` until that returns
    /// `Ok(false)`; keeps the rest. Nothing is copied as long as frames do not straddle two calls.
    pub(crate) fn drain<E: From<FrameError>>(
        &mut self,
        data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            let mut rest = data;
            while let Some(found) = self.framing.find(rest)? {
                let (frame, after) = (&rest[found.start..found.end], &rest[found.consumed..]);
                rest = after;
                if !each(frame)? {
                    break;
                }
            }
            self.feed(rest);
            return Ok(());
        }
        self.feed(data);
        while let Some(frame) = self.next_frame()? {
            if !each(frame)? {
                break;
            }
        }
        Ok(())
    }

    /// Gives memory back; moves the rest to the front only when that is the smaller part, so that taking many small
    /// frames off a large buffer costs no more than its length.
    fn compact(&mut self) {
        if self.used == self.bytes.len() {
            self.bytes = Vec::new();
            self.used = 0;
        } else if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
    }
}
