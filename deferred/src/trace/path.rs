//! The path of a result, as text.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::StageKind;
use super::record::{Record, Side};
use crate::Deferred;

/// The path that the result of a Deferred takes: every stage, whether it ran or was passed over, on which
/// side, and what it waited on. It is printed as text, and [`svg`](Path::svg) draws it.
///
/// It shows how things stand when it is printed, so it can be asked for before the Deferred fires.
#[derive(Clone)]
pub struct Path(pub(super) Rc<Record>);

impl<T: 'static> Deferred<T> {
    /// The path that the result takes, or took. Only with the cargo feature `trace`; see
    /// [`trace`](crate::trace).
    #[track_caller]
    pub fn path(&self) -> Path {
        // One that was made by a conversion has no story to tell.
        Path(self.1.clone().record().unwrap_or_else(|| Record::new(Location::caller())))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.0;
        let story = record.story.borrow();
        write!(f, "Deferred #{}", record.id)?;
        if let Some(name) = &story.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " made at {}: ", record.made_at.get())?;
        match story.fired {
            Some(Side::Value) => f.write_str("fired with a value")?,
            Some(Side::Failure) => f.write_str("fired with a failure")?,
            None => f.write_str("not fired")?,
        }
        for (index, stage) in story.stages.iter().enumerate() {
            let kind = match stage.kind {
                StageKind::Callback => "callback",
                StageKind::Errback => "errback",
                StageKind::Callbacks => "callbacks",
                StageKind::Both => "both",
            };
            write!(f, "\n  {} {kind}", index + 1)?;
            if let Some(name) = &stage.name {
                write!(f, " {name:?}")?;
            }
            write!(f, " at {}: ", stage.added_at)?;
            let Some(entered) = stage.entered else {
                f.write_str("not reached")?;
                continue;
            };
            if !stage.handles(entered) {
                write!(f, "passed over by a {}", entered.word())?;
                continue;
            }
            write!(f, "ran on a {}", entered.word())?;
            let came_out = record.came_out(index);
            if let Some(waited_on) = &stage.waited_on {
                let verb = if came_out.is_some() { "waited for" } else { "waits for" };
                write!(f, ", {verb} #{}", waited_on.id)?;
                if let Some(name) = &waited_on.name {
                    write!(f, " {name:?}")?;
                }
                write!(f, " made at {}", waited_on.made_at)?;
            }
            match came_out {
                Some(side) => write!(f, ", gave a {}", side.word())?,
                None if stage.waited_on.is_none() => f.write_str(", is running")?,
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
