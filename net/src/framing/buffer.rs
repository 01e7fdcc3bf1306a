use super::{FrameError, Framing, Pending};

/// A buffer of received bytes, and a [`Framing`] that splits them into frames.
///
/// It is for protocols that take frames one at a time, or that switch from frames to raw bytes
/// ([`take_rest`](FrameBuffer::take_rest), Twisted's `setRawMode`). [`Framed`](crate::Framed) is the
/// ready-made protocol. An empty buffer holds no memory.
#[derive(Debug)]
pub struct FrameBuffer<F> {
    framing: F,
    pending: Pending,
}

impl<F: Framing> FrameBuffer<F> {
    /// Creates an empty buffer.
    pub fn new(framing: F) -> FrameBuffer<F> {
        FrameBuffer { framing, pending: Pending::default() }
    }

    /// Returns the framing.
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// Returns the number of buffered bytes that are not part of a returned frame.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends received bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.pending.feed(data);
    }

    /// Removes and returns the next complete frame, if there is one.
    ///
    /// # Errors
    ///
    /// The framing's [`FrameError`]. The buffer is then unchanged.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        match self.framing.find(self.pending.as_slice())? {
            Some(found) => Ok(Some(&self.pending.advance(found.consumed)[found.start..found.end])),
            None => {
                self.pending.compact();
                Ok(None)
            }
        }
    }

    /// Removes and returns all buffered bytes.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.pending.take_rest()
    }

    /// Splits the buffered bytes followed by `data` into frames, and calls `each` for every frame until it
    /// returns `Ok(false)`. Keeps the rest. Nothing is copied unless a frame spans two calls.
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
}
