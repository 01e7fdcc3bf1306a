//! The errors of running a reactor, and of using one that is gone.

use std::fmt;
use std::io;

/// The reason why a reactor could not run, or could not continue.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A turn is already under way: the call came from inside one of the reactor's callbacks.
    AlreadyRunning,
    /// Waiting for events failed.
    Wait(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::AlreadyRunning => f.write_str("the reactor is already running"),
            RunError::Wait(error) => write!(f, "could not wait for events: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::AlreadyRunning => None,
            RunError::Wait(error) => Some(error),
        }
    }
}

/// The error of stopping a reactor that is not running, or is already stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRunning;

impl fmt::Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor is not running, or is already stopping")
    }
}

impl std::error::Error for NotRunning {}

/// The reactor was stopped before the Deferred passed to [`run_until`](crate::Reactor::run_until) had fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor was stopped before the Deferred fired")
    }
}

impl std::error::Error for Stopped {}

/// The error of calling a reactor that accepts no calls: it was dropped, or its run is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactorGone;

impl fmt::Display for ReactorGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor accepts no calls: it was dropped, or its run is ending")
    }
}

impl std::error::Error for ReactorGone {}
