//! The user's code that a log message is about.

use std::fmt;
use std::panic::Location;

/// The user's code that the loop calls, as log messages about panics and slow callbacks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallSite {
    /// A callback that was added or scheduled at this place.
    AddedAt(&'static Location<'static>),
    /// A port that was opened at this place, which accepts connections.
    PortOpenedAt(&'static Location<'static>),
    /// A handler of this type. For a connection, this is the type of its protocol.
    Handler(&'static str),
}

impl From<&'static Location<'static>> for CallSite {
    fn from(place: &'static Location<'static>) -> CallSite {
        CallSite::AddedAt(place)
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallSite::AddedAt(place) => write!(f, "the callback added at {place}"),
            CallSite::PortOpenedAt(place) => write!(f, "the port opened at {place}"),
            CallSite::Handler(name) => write!(f, "the handler {name}"),
        }
    }
}
