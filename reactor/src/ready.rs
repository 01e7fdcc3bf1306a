//! The readiness of a source, and its handler's response to it.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use crate::CallSite;

/// A set of kinds of readiness of a source.
///
/// A close also counts as readable (or writable), because the next read (or write) reports how the connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u8);

impl Ready {
    /// The empty set.
    pub const NONE: Ready = Ready(0);
    /// A read does not block: there is data, the end of the stream, or an error to fetch.
    pub const READABLE: Ready = Ready(1);
    /// A write does not block: there is room, or an error to fetch.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer sends no more data.
    pub const READ_CLOSED: Ready = Ready(4);
    /// The peer accepts no more data.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// The source has an error to fetch.
    pub const ERROR: Ready = Ready(16);
    /// Urgent data.
    pub const PRIORITY: Ready = Ready(32);

    /// Returns whether a read does not block.
    pub fn readable(self) -> bool {
        self.holds(Ready(Ready::READABLE.0 | Ready::READ_CLOSED.0 | Ready::ERROR.0))
    }

    /// Returns whether a write does not block.
    pub fn writable(self) -> bool {
        self.holds(Ready(Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0 | Ready::ERROR.0))
    }

    /// Returns whether the peer sends no more data.
    pub fn is_read_closed(self) -> bool {
        self.holds(Ready::READ_CLOSED)
    }

    /// Returns whether the peer accepts no more data.
    pub fn is_write_closed(self) -> bool {
        self.holds(Ready::WRITE_CLOSED)
    }

    /// Returns whether the source has an error to fetch.
    pub fn is_error(self) -> bool {
        self.holds(Ready::ERROR)
    }

    /// Returns whether there is urgent data.
    pub fn is_priority(self) -> bool {
        self.holds(Ready::PRIORITY)
    }

    /// Returns whether this is the empty set.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    fn holds(self, any: Ready) -> bool {
        self.0 & any.0 != 0
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl From<&mio::event::Event> for Ready {
    fn from(event: &mio::event::Event) -> Ready {
        let mut ready = Ready::NONE;
        for (holds, bit) in [
            (event.is_readable(), Ready::READABLE),
            (event.is_writable(), Ready::WRITABLE),
            (event.is_read_closed(), Ready::READ_CLOSED),
            (event.is_write_closed(), Ready::WRITE_CLOSED),
            (event.is_error(), Ready::ERROR),
            (event.is_priority(), Ready::PRIORITY),
        ] {
            if holds {
                ready |= bit;
            }
        }
        ready
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Ready::READABLE, "READABLE"),
            (Ready::WRITABLE, "WRITABLE"),
            (Ready::READ_CLOSED, "READ_CLOSED"),
            (Ready::WRITE_CLOSED, "WRITE_CLOSED"),
            (Ready::ERROR, "ERROR"),
            (Ready::PRIORITY, "PRIORITY"),
        ];
        let held: Vec<&str> =
            names.iter().filter(|(bit, _)| self.holds(*bit)).map(|(_, name)| *name).collect();
        write!(f, "Ready({})", if held.is_empty() { "NONE".to_owned() } else { held.join(" | ") })
    }
}

/// The response of a handler or callback to the readiness of its source.
// Exhaustive: a handler that wraps another one has to treat both responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything has been handled: the operating system reported "would block", or there is nothing to do. Call
    /// again when the source becomes ready anew.
    Drained,
    /// There may be more, but this turn's share is used up. Call again in the next turn, with the same readiness.
    More,
}

/// The callback of a source as a trait, for types that need no closure: a connection can be its own handler.
pub trait EventHandler {
    /// Handles the readiness of the source. Called at most once a turn.
    ///
    /// Readiness is edge-triggered: it is reported once, when it arises. Continue until the operating system
    /// reports "would block" and return [`Progress::Drained`], or stop early and return [`Progress::More`].
    ///
    /// # Re-entrancy
    ///
    /// Never called from inside itself. It may call anything, and may deregister this source or another.
    ///
    /// # Panics
    ///
    /// A panic is logged, and the source is never called again.
    fn ready(self: std::rc::Rc<Self>, ready: Ready) -> Progress;

    /// Returns the name to log when this handler panics or holds the loop for too long. Default: the handler's type.
    fn call_site(&self) -> CallSite {
        CallSite::Handler(std::any::type_name::<Self>())
    }
}
