//! The path of a live Deferred's result.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::Ladder;
use super::record::Record;
use crate::Deferred;

/// The path that the result of a Deferred takes: every stage, whether it ran or was skipped, on which side, and what it
/// waited for. Prints as text; [`svg`](Path::svg) draws it.
///
/// It shows the state at the moment it is printed, so a program can ask for it before the Deferred fires.
#[derive(Clone)]
pub struct Path(Rc<Record>);

impl<T: 'static> Deferred<T> {
    /// Returns the path that the result takes, or took. Only with the cargo feature `trace`; see
    /// [`trace`](crate::trace).
    #[track_caller]
    pub fn path(&self) -> Path {
        // A Deferred that was made by a conversion has no record.
        Path(self.1.clone().record().unwrap_or_else(|| Record::new(Location::caller())))
    }
}

impl Path {
    /// Returns the state of the path now.
    pub fn ladder(&self) -> Ladder {
        self.0.snapshot()
    }

    /// Draws the path now, as [`Ladder::svg`] does.
    pub fn svg(&self) -> String {
        self.ladder().svg()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ladder().fmt(f)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
