//! The error of a program that cannot be started.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The program and the working directory that the error names.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) program: OsString,
    pub(super) folder: Option<PathBuf>,
}

impl Attempt {
    /// Adds the names to an error. Its kind stays, and the error itself is the source.
    pub(super) fn failed(self, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), CannotStart { attempt: self, source })
    }
}

#[derive(Debug)]
struct CannotStart {
    attempt: Attempt,
    source: io::Error,
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start {:?}", self.attempt.program)?;
        if let Some(folder) = &self.attempt.folder {
            write!(f, " in {folder:?}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl Error for CannotStart {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
