//! Events: what happens to Deferreds, as it happens.

use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

/// Something that happened to a Deferred, as passed to an [`Observer`](super::Observer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the Deferred. Each thread counts its Deferreds, from 1.
    pub id: u64,
    /// The event.
    pub what: What,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The Deferred was created, or attributed to another place.
    Made {
        /// The place that created it.
        at: &'static Location<'static>,
    },
    /// A name was given to a stage, or to the Deferred itself.
    Named {
        /// The index of the stage; `None` for the Deferred.
        stage: Option<usize>,
        /// The name.
        name: Rc<str>,
    },
    /// A stage was added.
    Chained {
        /// The index of the stage.
        stage: usize,
        /// Its functions.
        kind: StageKind,
        /// The place that added it.
        at: &'static Location<'static>,
    },
    /// The Deferred aggregates these members.
    Gathers {
        /// Their numbers, at most 64.
        members: Rc<[u64]>,
        /// How many members there are in all.
        count: usize,
    },
    /// The trigger fired.
    Fired(Came),
    /// A result reached a stage: the stage runs, or is skipped if it has no function for that side.
    Entered {
        /// The index of the stage.
        stage: usize,
        /// The side of the result.
        side: Side,
    },
    /// A stage returned a Deferred that has not fired, and waits for it.
    Waits {
        /// The index of the stage.
        stage: usize,
        /// The number of the Deferred it waits for.
        on: u64,
    },
    /// A result came out of a stage.
    Left {
        /// The index of the stage.
        stage: usize,
        /// The result.
        came: Came,
    },
    /// A value, which the program asked to [show](crate::Deferred::shown).
    Showed {
        /// The index of the stage that the value came out of; `None` for the value the Deferred fired with.
        stage: Option<usize>,
        /// The value's `Debug` text.
        text: Rc<str>,
    },
    /// The last handle and the trigger are gone.
    Dropped,
}

/// The functions of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// `add_callback`.
    Callback,
    /// `add_errback`.
    Errback,
    /// `add_callbacks`.
    Callbacks,
    /// `add_both`.
    Both,
}

impl StageKind {
    /// Whether a stage of this kind has a function for that side.
    pub(crate) fn handles(self, side: Side) -> bool {
        match self {
            StageKind::Callback => side == Side::Callbacks,
            StageKind::Errback => side == Side::Errbacks,
            StageKind::Callbacks | StageKind::Both => true,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            StageKind::Callback => "callback",
            StageKind::Errback => "errback",
            StageKind::Callbacks => "callbacks",
            StageKind::Both => "both",
        }
    }
}

/// The side of a chain that a result is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The result is a value, which callbacks handle.
    Callbacks,
    /// The result is a failure, which errbacks handle.
    Errbacks,
}

impl Side {
    pub(crate) fn of(ok: bool) -> Side {
        if ok { Side::Callbacks } else { Side::Errbacks }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Side::Callbacks => "value",
            Side::Errbacks => "failure",
        }
    }
}

/// A result, as far as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// Its side.
    pub side: Side,
    /// The text of the error, if it is a failure.
    pub error: Option<Rc<str>>,
    /// Whether the failure is a panic.
    pub panicked: bool,
}

/// When an event happened, in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The time since the recording began.
    pub time: Duration,
    /// The number of the event in the recording.
    pub step: u64,
}
