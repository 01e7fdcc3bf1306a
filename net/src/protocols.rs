//! Protocols for common needs: frames, conversations, idle timeouts and limits.

mod conversation;
mod framed;
mod idle;
mod inbox;
mod limits;

pub use conversation::{Conversation, EndOfData, conversations};
pub use framed::{FrameReceiver, Framed};
pub use idle::{ConnectionIdleTimedOut, IdleTimeout, IdleTimer};
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub(crate) use inbox::{Inbox, Reader, Receiving};
pub use limits::{Limited, LimitedProtocol};
