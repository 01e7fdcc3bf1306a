//! The deadline of a phase, and the progress that extends it.

/// A deadline that never passes.
pub(super) const NEVER: u64 = u64::MAX;

/// The deadline of the current phase, and the progress that extends it.
#[derive(Debug)]
pub(super) struct Pace {
    /// The round in which the phase is overdue.
    pub(super) deadline: u64,
    /// Bytes of the body received since the deadline was set. They extend it.
    pub(super) received: u64,
    /// Bytes handed to the transport, without those of a body that is being streamed.
    pub(super) written: u64,
    /// The bytes that had been sent, and the last round that saw progress.
    pub(super) sent: u64,
    pub(super) since: u64,
}

impl Pace {
    pub(super) fn new(now: u64) -> Pace {
        Pace { deadline: NEVER, received: 0, written: 0, sent: 0, since: now }
    }
}
