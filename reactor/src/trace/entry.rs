//! The events of a recording.

use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;

use twistor_deferred::trace::{Event, Moment};

use super::CallbackKind;
use crate::{CallSite, Ready};

/// An event in a [`Recording`](super::Recording).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The time since the recording began, and the number of the event.
    pub at: Moment,
    /// The simulated host on whose reactor it happened; `None` for the reactor that is recorded, and for the network.
    pub host: Option<IpAddr>,
    /// The event.
    pub what: Happening,
}

/// The kinds of events. Timers, tasks, jobs and sources are numbered separately, and for each host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Happening {
    /// A turn began.
    TurnBegan {
        /// The number of the turn, from 1 for the reactor's first.
        number: u64,
    },
    /// The reactor began to wait.
    WaitBegan,
    /// The wait ended. The sources that are ready follow.
    WaitEnded,
    /// A source is ready.
    Ready {
        /// The source.
        source: u64,
        /// Its handler.
        call_site: CallSite,
        /// Its readiness.
        ready: Ready,
    },
    /// A callback began.
    Began {
        /// Its kind.
        kind: CallbackKind,
        /// The number of the source, timer or task; 0 for the other kinds.
        number: u64,
        /// The user's code that it came from.
        call_site: CallSite,
    },
    /// The innermost callback that is running ended.
    Ended,
    /// User code panicked, with this message.
    Panicked(Rc<str>),
    /// A delayed call was scheduled.
    TimerSet {
        /// The timer.
        timer: u64,
        /// Its deadline in nanoseconds since the recording began; `u64::MAX` if it is never due.
        due: u64,
        /// The place that scheduled it.
        place: &'static Location<'static>,
    },
    /// A delayed call was moved.
    TimerMoved {
        /// The timer.
        timer: u64,
        /// Its new deadline in nanoseconds since the recording began; `u64::MAX` if it is never due.
        due: u64,
    },
    /// A delayed call was cancelled.
    TimerCancelled {
        /// The timer.
        timer: u64,
    },
    /// A task was spawned.
    TaskSpawned {
        /// The task.
        task: u64,
        /// The place that spawned it.
        place: &'static Location<'static>,
    },
    /// A task ended, or was dropped.
    TaskEnded {
        /// The task.
        task: u64,
    },
    /// Work was passed to another thread.
    JobGiven {
        /// The job.
        job: u64,
        /// The place that started it.
        place: &'static Location<'static>,
    },
    /// The result of a job arrived.
    JobDone {
        /// The job.
        job: u64,
    },
    /// Something happened to a connection.
    Connection {
        /// The connection.
        number: u64,
        /// The event.
        event: ConnectionEvent,
    },
    /// Something happened in the network of a simulation.
    Network(Rc<str>),
    /// Something happened to a Deferred.
    Deferred(Event),
    /// The program marked this moment.
    Mark(Rc<str>),
    /// The turn ended.
    TurnEnded,
}

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// It was created.
    Made {
        /// Its peer.
        peer: Rc<str>,
    },
    /// This number of bytes was delivered to the protocol.
    Received(usize),
    /// This number of bytes was passed to the operating system.
    Sent(usize),
    /// It was lost, for this reason.
    Lost(Rc<str>),
}
