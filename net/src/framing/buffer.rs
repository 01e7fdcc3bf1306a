use super::{FrameError, Framing, Pending};

/// The bytes that have come and are not used yet, and a [`Framing`] that cuts frames off them.
///
/// For protocols that want to take frames one at a time, or to change from frames to raw bytes in the middle
/// ([`take_rest`](FrameBuffer::take_rest), Twisted's `setRawMode`). [`Framed`](crate::Framed) is the ready-made
/// protocol. It holds no memory while it is empty.
#[derive(Debug)]
pub struct FrameBuffer<F> {
    framing: F,
    pending: Pending,
}

impl<F: Framing> FrameBuffer<F> {
    /// An empty buffer.
    pub fn new(framing: F) -> FrameBuffer<F> {
        FrameBuffer { framing, pending: Pending::default() }
    }

    /// The framing.
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// How many bytes wait here, not yet part of a frame that was given out.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes that have come.
    pub fn feed(&mut self, data: &[u8]) {
        self.pending.feed(data);
    }

    /// Takes the next whole frame, if there is one.
    ///
    /// # Errors
    ///
    /// The framing's [`FrameError`]; the bytes stay where they are.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        match self.framing.find(self.pending.as_slice())? {
            Some(found) => Ok(Some(&self.pending.advance(found.consumed)[found.start..found.end])),
            None => {
                self.pending.compact();
                Ok(None)
            }
        }
    }

    /// Takes everything that is left, as it came.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.pending.take_rest()
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
}
