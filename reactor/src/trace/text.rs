//! A recording as text.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::trace::{Came, Event, Side, What};

use super::{CallbackKind, ConnectionEvent, Entry, Happening, Recording};
use crate::Ready;

/// The width of the time column.
const TIME: usize = 12;

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, forgotten) = (self.entries(), self.forgotten());
        if forgotten > 0 {
            writeln!(f, "{forgotten} events before these are forgotten")?;
        }
        let mut lines = Lines::default();
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let (depth, text) = lines.next(entry);
            write!(f, "{:>TIME$}  {:indent$}{text}", millis(entry.at.time), "", indent = 2 * depth)?;
        }
        Ok(())
    }
}

/// A time in milliseconds, to the microsecond: times of one unit are easy to compare.
fn millis(time: Duration) -> String {
    let micros = (time.as_nanos() + 500) / 1000;
    format!("{}.{:03}ms", micros / 1000, micros % 1000)
}

fn deadline(nanos: u64) -> String {
    match nanos {
        u64::MAX => "never due".to_owned(),
        nanos => format!("due at {}", millis(Duration::from_nanos(nanos))),
    }
}

/// The lines of consecutive events: callbacks are indented, and Deferreds and stages have the names that earlier events
/// gave them.
#[derive(Default)]
pub(super) struct Lines {
    depth: usize,
    names: Names,
}

impl Lines {
    /// Returns the depth and the text of the next event.
    pub(super) fn next(&mut self, entry: &Entry) -> (usize, String) {
        match entry.what {
            Happening::Ended | Happening::TurnEnded => self.depth = self.depth.saturating_sub(1),
            // The recording may have begun inside a turn.
            Happening::TurnBegan { .. } if entry.host.is_none() => self.depth = 0,
            _ => {}
        }
        let depth = self.depth;
        if matches!(entry.what, Happening::TurnBegan { .. } | Happening::Began { .. }) {
            self.depth += 1;
        }
        let text = match &entry.what {
            Happening::Deferred(event) => {
                let text = Named(event, &self.names).to_string();
                self.names.learn(event);
                entry.host.map_or_else(String::new, |host| format!("{host}: ")) + &text
            }
            _ => entry.to_string(),
        };
        (depth, text)
    }
}

/// The names of Deferreds, and of their stages by index.
#[derive(Default)]
struct Names(BTreeMap<(u64, Option<usize>), Rc<str>>);

impl Names {
    fn learn(&mut self, event: &Event) {
        match &event.what {
            What::Named { stage, name } => drop(self.0.insert((event.id, *stage), name.clone())),
            What::Dropped => {
                let gone = self.0.range((event.id, None)..(event.id + 1, None)).map(|(key, _)| *key);
                gone.collect::<Vec<_>>().iter().for_each(|key| drop(self.0.remove(key)));
            }
            _ => {}
        }
    }

    /// Returns the name as an addition to a number.
    fn of(&self, id: u64, stage: Option<usize>) -> String {
        self.0.get(&(id, stage)).map_or_else(String::new, |name| format!(" {name:?}"))
    }
}

/// An event of a Deferred, with the names that are known.
struct Named<'a>(&'a Event, &'a Names);

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallbackKind::Source => "source",
            CallbackKind::RemoteCall => "call from a thread",
            CallbackKind::Timer => "timer",
            CallbackKind::Task => "task",
            CallbackKind::Phase => "startup or shutdown",
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
        if let Some(host) = self.host {
            write!(f, "{host}: ")?;
        }
        match &self.what {
            Happening::TurnBegan { number } => write!(f, "turn {number}"),
            Happening::WaitBegan => f.write_str("wait"),
            Happening::WaitEnded => f.write_str("wait over"),
            Happening::Ready { source, call_site, ready } => {
                write!(f, "source {source} is ready ({}): {call_site}", words(*ready))
            }
            Happening::Began { kind, number: 0, call_site } => write!(f, "{kind}: {call_site}"),
            Happening::Began { kind, number, call_site } => write!(f, "{kind} {number}: {call_site}"),
            Happening::Ended => f.write_str("end"),
            Happening::Panicked(message) => write!(f, "panicked: {message}"),
            Happening::TimerSet { timer, due, place } => {
                write!(f, "timer {timer} set at {place}, {}", deadline(*due))
            }
            Happening::TimerMoved { timer, due } => write!(f, "timer {timer} moved, {}", deadline(*due)),
            Happening::TimerCancelled { timer } => write!(f, "timer {timer} cancelled"),
            Happening::TaskSpawned { task, place } => write!(f, "task {task} spawned at {place}"),
            Happening::TaskEnded { task } => write!(f, "task {task} ended"),
            Happening::JobGiven { job, place } => write!(f, "job {job} given to a thread at {place}"),
            Happening::JobDone { job } => write!(f, "job {job} done"),
            Happening::Connection { number, event } => write!(f, "connection {number} {event}"),
            Happening::Network(text) => write!(f, "network: {text}"),
            Happening::Deferred(event) => Named(event, &Names::default()).fmt(f),
            Happening::Mark(text) => write!(f, "mark: {text}"),
            Happening::TurnEnded => f.write_str("turn over"),
        }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(Event { id, what }, names) = self;
        write!(f, "Deferred #{id}{}", names.of(*id, None))?;
        if let What::Named { stage: Some(stage), .. }
        | What::Chained { stage, .. }
        | What::Entered { stage, .. }
        | What::Waits { stage, .. }
        | What::Left { stage, .. }
        | What::Showed { stage: Some(stage), .. } = what
        {
            write!(f, " stage {}{}", stage + 1, names.of(*id, Some(*stage)))?;
        }
        match what {
            What::Made { at } => write!(f, " made at {at}"),
            What::Named { name, .. } => write!(f, " named {name:?}"),
            What::Chained { kind, at, .. } => {
                write!(f, " added at {at} ({})", format!("{kind:?}").to_lowercase())
            }
            What::Gathers { count, .. } => write!(f, " gathers {count} members"),
            What::Fired(came) => write!(f, " fired with a {}{}", word(came.side), Because(came)),
            What::Entered { side, .. } => write!(f, " reached by a {}", word(*side)),
            What::Waits { on, .. } => write!(f, " waits for #{on}{}", names.of(*on, None)),
            What::Left { came, .. } if came.panicked => write!(f, " panicked{}", Because(came)),
            What::Left { came, .. } => write!(f, " returned a {}{}", word(came.side), Because(came)),
            What::Showed { text, .. } => write!(f, " has the value {text}"),
            What::Dropped => f.write_str(" dropped"),
            other => write!(f, " {other:?}"),
        }
    }
}

/// The text of an error, after a colon.
struct Because<'a>(&'a Came);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

/// The kinds of readiness as words.
fn words(ready: Ready) -> String {
    let names = format!("{ready:?}").to_lowercase().replace(" | ", ", ").replace('_', " ");
    names.trim_start_matches("ready(").trim_end_matches(')').to_owned()
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Callbacks => "value",
        Side::Errbacks => "failure",
    }
}
