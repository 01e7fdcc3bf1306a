//! The reactor's side of a recording. With the feature `trace` off, everything in here is empty.

#[cfg(not(feature = "trace"))]
mod off;
#[cfg(feature = "trace")]
mod on;

#[cfg(not(feature = "trace"))]
pub(crate) use off::{Recorder, TimerNumber};
#[cfg(feature = "trace")]
pub(crate) use on::{Recorder, TimerNumber};

/// The kinds of callbacks, in the order in which a turn runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "trace"),
    allow(unreachable_pub, dead_code, reason = "it is public with the feature only")
)]
pub enum CallbackKind {
    /// The handler of a source that is ready.
    Source,
    /// A call from another thread.
    RemoteCall,
    /// A delayed call.
    Timer,
    /// A poll of a task.
    Task,
    /// A trigger of a startup or shutdown phase.
    Phase,
}
