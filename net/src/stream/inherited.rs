//! The state of a connection that its next owner inherits.

use std::cell::RefCell;
use std::rc::Rc;

use twistor_deferred::Failure;

use crate::RateLimit;
use crate::sockets::{Drained, Queue};

/// Received bytes that the owner has not used. The old and the next connection share them until the next one
/// reads, because an owner that releases inside one of its methods adds its bytes only when that method
/// returns.
pub(crate) type Unread = Rc<RefCell<Vec<u8>>>;

/// The state that the next owner of a connection inherits, besides the socket.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) unread: Unread,
    pub(crate) unsent: Queue,
    /// Fires when `unsent` is sent. `None` without a waiter.
    pub(crate) drained: Option<Rc<dyn Drained>>,
    /// The reason of the coming loss.
    pub(crate) reason: Option<Failure>,
    pub(crate) read_limit: Option<RateLimit>,
    pub(crate) write_limit: Option<RateLimit>,
    /// This side ends its half when everything is sent.
    pub(crate) write_closing: bool,
    /// This side has ended its half.
    pub(crate) write_closed: bool,
    /// Nothing can be sent any more.
    pub(crate) broken: bool,
}

/// Fails `drained` if the connection is dropped before its next owner runs, because the unsent bytes are
/// lost.
impl Drop for Inherited {
    fn drop(&mut self) {
        if let Some(drained) = self.drained.take() {
            drained.lost();
        }
    }
}
