//! A recording as text.

use std::fmt;

use twistor_deferred::trace::{Event, What};

use super::entry::duration;
use super::{CallbackKind, ConnectionEvent, Entry, Happening, Recording};

/// The width of the time column.
const TIME: usize = 14;

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, forgotten) = (self.entries(), self.forgotten());
        if forgotten > 0 {
            writeln!(f, "{forgotten} events before these are forgotten")?;
        }
        let mut depth = 0_usize;
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if matches!(entry.what, Happening::Ended | Happening::TurnEnded) {
                depth = depth.saturating_sub(1);
            }
            if matches!(entry.what, Happening::TurnBegan { .. }) {
                // The recording began inside a turn.
                depth = 0;
            }
            write!(f, "{:<TIME$}{:indent$}{entry}", format!("{:?}", entry.at.time), "", indent = 2 * depth)?;
            if matches!(entry.what, Happening::TurnBegan { .. } | Happening::Began { .. }) {
                depth += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallbackKind::Source => "source",
            CallbackKind::RemoteCall => "call from a thread",
            CallbackKind::Timer => "timer",
            CallbackKind::Task => "task",
            CallbackKind::Phase => "phase",
        })
    }
}

impl fmt::Display for ConnectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionEvent::Made { peer } => write!(f, "made, with {peer}"),
            ConnectionEvent::Received(bytes) => write!(f, "received {bytes} bytes"),
            ConnectionEvent::Sent(bytes) => write!(f, "sent {bytes} bytes"),
            ConnectionEvent::Lost(reason) => write!(f, "lost: {reason}"),
        }
    }
}

/// The event, without its time.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Happening::TurnBegan { number } => write!(f, "turn {number}"),
            Happening::WaitBegan => f.write_str("wait"),
            Happening::WaitEnded => f.write_str("wait over"),
            Happening::Ready { source, call_site, ready } => {
                write!(f, "source {source} is ready ({ready:?}): {call_site}")
            }
            Happening::Began { kind, number: 0, call_site } => write!(f, "{kind}: {call_site}"),
            Happening::Began { kind, number, call_site } => write!(f, "{kind} {number}: {call_site}"),
            Happening::Ended => f.write_str("end"),
            Happening::Panicked(message) => write!(f, "panicked: {message}"),
            Happening::TimerSet { timer, due, place } => {
                write!(f, "timer {timer} set for {:?}, at {place}", duration(*due))
            }
            Happening::TimerMoved { timer, due } => write!(f, "timer {timer} moved to {:?}", duration(*due)),
            Happening::TimerCancelled { timer } => write!(f, "timer {timer} cancelled"),
            Happening::TaskSpawned { task, place } => write!(f, "task {task} spawned at {place}"),
            Happening::TaskEnded { task } => write!(f, "task {task} ended"),
            Happening::JobGiven { job, place } => write!(f, "job {job} given to a thread at {place}"),
            Happening::JobDone { job } => write!(f, "job {job} done"),
            Happening::Connection { number, event } => write!(f, "connection {number} {event}"),
            Happening::Network(text) => write!(f, "network: {text}"),
            Happening::Deferred(event) => deferred(f, event),
            Happening::Mark(text) => write!(f, "mark: {text}"),
            Happening::TurnEnded => f.write_str("turn over"),
        }
    }
}

fn deferred(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    write!(f, "Deferred #{}", event.id)?;
    match &event.what {
        What::Made { at } => write!(f, " made at {at}"),
        What::Named { stage: None, name } => write!(f, " named {name:?}"),
        What::Named { stage: Some(stage), name } => write!(f, " stage {} named {name:?}", stage + 1),
        What::Chained { stage, kind, at } => write!(f, " stage {} added ({kind:?}) at {at}", stage + 1),
        What::Gathers { count, .. } => write!(f, " gathers {count} members"),
        What::Fired(came) => {
            write!(f, " fired with a {}", word(came.side))?;
            came.error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
        }
        What::Entered { stage, side } => write!(f, " stage {} reached by a {}", stage + 1, word(*side)),
        What::Waits { stage, on } => write!(f, " stage {} waits for #{on}", stage + 1),
        What::Left { stage, came } if came.panicked => {
            write!(f, " stage {} panicked: {}", stage + 1, came.error.as_deref().unwrap_or_default())
        }
        What::Left { stage, came } => {
            write!(f, " stage {} returned a {}", stage + 1, word(came.side))?;
            came.error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
        }
        What::Showed { stage: None, text } => write!(f, " has the value {text}"),
        What::Showed { stage: Some(stage), text } => write!(f, " stage {} has the value {text}", stage + 1),
        What::Dropped => f.write_str(" dropped"),
        other => write!(f, " {other:?}"),
    }
}

fn word(side: twistor_deferred::trace::Side) -> &'static str {
    match side {
        twistor_deferred::trace::Side::Callbacks => "value",
        twistor_deferred::trace::Side::Errbacks => "failure",
    }
}
