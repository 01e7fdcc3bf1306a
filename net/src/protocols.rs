//! Protocols for common needs: frames, conversations, idle timeouts and limits.

mod conversation;
mod framed;
mod idle;
mod limits;

pub use conversation::{Conversation, EndOfData, conversations};
pub use framed::{FrameReceiver, Framed};
pub use idle::{ConnectionIdleTimedOut, IdleTimeout, IdleTimer};
pub use limits::{Limited, LimitedProtocol};
