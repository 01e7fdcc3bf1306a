//! Unsent bytes of a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::Socket;

/// Small writes are gathered in chunks of this size.
const CHUNK: usize = 16 * 1024;

/// The maximum number of chunks in one system call.
const CHUNKS_PER_CALL: usize = 32;

/// Bytes in the order in which they were written.
#[derive(Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// The number of bytes of the first chunk that were sent.
    sent: usize,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.len += data.len();
        if let Some(last) = self.chunks.back_mut() {
            // A chunk never grows past its capacity or CHUNK, so that no large piece is copied again to make
            // room.
            if last.len() + data.len() <= last.capacity().max(CHUNK) {
                last.extend_from_slice(data);
                return;
            }
        }
        self.chunks.push_back(data.to_vec());
    }

    /// Appends `data` without copying it. Its first `sent` bytes were already sent, which requires an empty
    /// queue.
    pub(crate) fn push_vec(&mut self, data: Vec<u8>, sent: usize) {
        if sent >= data.len() {
            return;
        }
        self.len += data.len() - sent;
        if self.chunks.is_empty() {
            self.sent = sent;
        }
        self.chunks.push_back(data);
    }

    /// Sends up to `budget` bytes. Returns `Ok(true)` if the socket is full or everything is sent, and
    /// `Ok(false)` if the budget is used up.
    pub(crate) fn send(&mut self, socket: &mut Socket, budget: usize) -> io::Result<bool> {
        let mut total = 0;
        while !self.is_empty() {
            if total >= budget {
                return Ok(false);
            }
            let mut slices = [IoSlice::new(&[]); CHUNKS_PER_CALL];
            let mut offered = 0;
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
                let unsent = if count == 0 { &chunk[self.sent..] } else { &chunk[..] };
                let unsent = &unsent[..unsent.len().min(budget - total - offered)];
                if unsent.is_empty() {
                    break;
                }
                *slot = IoSlice::new(unsent);
                offered += unsent.len();
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(taken) => {
                    self.forget(taken);
                    total += taken;
                    if taken < offered && SHORT_WRITE_FILLS {
                        return Ok(true);
                    }
                    if taken == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Drops `taken` bytes from the front.
    fn forget(&mut self, taken: usize) {
        self.len -= taken;
        self.sent += taken;
        while let Some(first) = self.chunks.front() {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            self.chunks.pop_front();
        }
    }
}

/// Whether a short write means that the socket is full, so that the next readiness event comes without
/// another write that would block. True where events come from the kernel. On Windows, mio requests the next
/// event only after a write that would block.
pub(crate) const SHORT_WRITE_FILLS: bool = cfg!(unix);
