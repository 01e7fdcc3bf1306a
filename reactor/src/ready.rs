//! What happened to a source, and what its handler made of it.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use crate::CallSite;

/// What a source is ready for. A set: several may hold at once.
///
/// A close counts as readable (or writable) too, because the read (or write) that follows is what tells how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const NONE: Ready = Ready(0);
    /// A read will not block: there is data, or the end, or an error to fetch.
    pub const READABLE: Ready = Ready(1);
    /// A write will not block: there is room, or an error to fetch.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer will send no more.
    pub const READ_CLOSED: Ready = Ready(4);
    /// The peer will take no more.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// The source has an error to fetch.
    pub const ERROR: Ready = Ready(16);
    /// Urgent data.
    pub const PRIORITY: Ready = Ready(32);

    /// Whether a read will not block.
    pub fn readable(self) -> bool {
        self.holds(Ready(Ready::READABLE.0 | Ready::READ_CLOSED.0 | Ready::ERROR.0))
    }

    /// Whether a write will not block.
    pub fn writable(self) -> bool {
        self.holds(Ready(Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0 | Ready::ERROR.0))
    }

    /// Whether the peer will send no more.
    pub fn is_read_closed(self) -> bool {
        self.holds(Ready::READ_CLOSED)
    }

    /// Whether the peer will take no more.
    pub fn is_write_closed(self) -> bool {
        self.holds(Ready::WRITE_CLOSED)
    }

    /// Whether the source has an error to fetch.
    pub fn is_error(self) -> bool {
        self.holds(Ready::ERROR)
    }

    /// Whether there is urgent data.
    pub fn is_priority(self) -> bool {
        self.holds(Ready::PRIORITY)
    }

    /// Whether this is the empty set.
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

/// What a handler says after it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All there was has been handled: the operating system said "would block", or there is nothing to do. Call again
    /// when something new happens.
    Drained,
    /// This turn's share is used up, and there may be more. Call again next turn, with the same readiness.
    More,
}

/// A source's callback, for those who need no closure: a connection can be its own handler.
pub trait EventHandler {
    /// Called once a turn at most, when the source is ready.
    ///
    /// Readiness is told once, when it comes about (edge-triggered): go on until the operating system says "would
    /// block" and return [`Progress::Drained`], or stop early and return [`Progress::More`].
    ///
    /// # Re-entrancy
    ///
    /// Never entered from inside itself. May do anything, also deregister this source or another.
    ///
    /// # Panics
    ///
    /// A panic is logged, and the source is never called again.
    fn ready(self: std::rc::Rc<Self>, ready: Ready) -> Progress;

    /// Who this is, when it panics or holds the loop too long; the handler's type, unless told otherwise.
    fn call_site(&self) -> CallSite {
        CallSite::Handler(std::any::type_name::<Self>())
    }
}
