//! Whose code it was, when something is to be said of it.

use std::fmt;
use std::panic::Location;

/// Where code that the loop calls comes from. What is logged of a panic or of a slow callback begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallSite {
    /// A callback that was added, or scheduled, at this place.
    AddedAt(&'static Location<'static>),
    /// A handler of this type; for a connection, its protocol's.
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
            CallSite::Handler(name) => write!(f, "the handler {name}"),
        }
    }
}
