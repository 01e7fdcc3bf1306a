//! The turns and callbacks of a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::trace::paint::{file_name, full_place, place};
use twistor_deferred::trace::{Event, Moment, What};

use super::{CallbackKind, Entry, Happening};
use crate::CallSite;

/// The duration from which a callback blocks others.
const NOTICEABLE: Duration = Duration::from_millis(1);
/// The duration from which a wait counts as one: shorter waits found pending work.
const NO_WAIT: Duration = Duration::from_micros(100);

/// The recorded part of a turn.
#[derive(Debug)]
pub(super) struct TurnRun {
    /// The simulated host that took it.
    pub(super) host: Option<IpAddr>,
    pub(super) number: u64,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    /// The beginning and the end of the wait.
    pub(super) wait: Option<(Moment, Moment)>,
    /// Sources that were ready after the wait.
    pub(super) ready: usize,
    pub(super) callbacks: Vec<CallbackRun>,
}

/// One callback.
#[derive(Debug)]
pub(super) struct CallbackRun {
    pub(super) kind: CallbackKind,
    pub(super) number: u64,
    pub(super) call_site: CallSite,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) panicked: bool,
    /// Whether it blocked other callbacks.
    pub(super) blocks: bool,
    /// The name of the first Deferred that it fired, if that has one.
    pub(super) name: Option<Rc<str>>,
}

impl CallbackRun {
    /// A name that fits below a bar.
    pub(super) fn label(&self) -> String {
        self.name.as_deref().map_or_else(|| label(&self.call_site), str::to_owned)
    }

    pub(super) fn took(&self) -> Duration {
        self.ended.time.saturating_sub(self.began.time)
    }
}

impl TurnRun {
    fn new(host: Option<IpAddr>, number: u64, began: Moment) -> TurnRun {
        TurnRun { host, number, began, ended: began, wait: None, ready: 0, callbacks: Vec::new() }
    }

    /// Returns the name of the turn.
    pub(super) fn name(&self) -> String {
        match self.host {
            Some(host) => format!("turn {} of {host}", self.number),
            None => format!("turn {}", self.number),
        }
    }

    pub(super) fn waited(&self) -> Duration {
        self.wait.map_or(Duration::ZERO, |(from, to)| to.time.saturating_sub(from.time))
    }

    fn ended(&mut self, at: Moment) {
        self.ended = at;
    }
}

/// Returns the turns of a recording. A callback that has not ended lasts until the last event.
pub(super) fn turns(entries: &[Entry]) -> Vec<TurnRun> {
    let mut turns: Vec<TurnRun> = Vec::new();
    let Some(last) = entries.last().map(|entry| entry.at) else { return turns };
    // A host takes its turns while the reactor that runs it takes one.
    let (mut current, mut open) = (BTreeMap::new(), BTreeSet::new());
    let mut names: BTreeMap<u64, Rc<str>> = BTreeMap::new();
    for entry in entries {
        if let Happening::Deferred(Event { id, what: What::Named { name, .. } }) = &entry.what {
            names.entry(*id).or_insert_with(|| name.clone());
        }
        if let Happening::TurnBegan { number } = entry.what {
            current.insert(entry.host, turns.len());
            turns.push(TurnRun::new(entry.host, number, entry.at));
            continue;
        }
        let Some(turn) = current.get(&entry.host).and_then(|index| turns.get_mut(*index)) else { continue };
        match &entry.what {
            Happening::WaitBegan => turn.wait = Some((entry.at, last)),
            Happening::WaitEnded => {
                if let Some(wait) = &mut turn.wait {
                    wait.1 = entry.at;
                }
            }
            Happening::Ready { .. } => turn.ready += 1,
            Happening::Began { kind, number, call_site } => {
                open.insert(entry.host);
                turn.callbacks.push(CallbackRun {
                    kind: *kind,
                    number: *number,
                    call_site: *call_site,
                    began: entry.at,
                    ended: last,
                    panicked: false,
                    blocks: false,
                    name: None,
                });
            }
            Happening::Ended => {
                open.remove(&entry.host);
                if let Some(callback) = turn.callbacks.last_mut() {
                    callback.ended = entry.at;
                }
            }
            Happening::Deferred(Event { id, what: What::Fired(_) }) if open.contains(&entry.host) => {
                if let Some(callback) = turn.callbacks.last_mut().filter(|callback| callback.name.is_none()) {
                    callback.name = names.get(id).cloned();
                }
            }
            Happening::Panicked(_) if open.contains(&entry.host) => {
                if let Some(callback) = turn.callbacks.last_mut() {
                    callback.panicked = true;
                }
            }
            _ => {}
        }
        turn.ended(entry.at);
    }
    mark_blocking(&mut turns);
    turns
}

/// Marks callbacks that block others. A callback does if it takes long and the next one begins without a wait.
fn mark_blocking(turns: &mut [TurnRun]) {
    let mut next_is_at_hand = false;
    for turn in turns.iter_mut().rev() {
        for callback in turn.callbacks.iter_mut().rev() {
            callback.blocks = next_is_at_hand && callback.took() >= NOTICEABLE;
            next_is_at_hand = true;
        }
        if turn.waited() >= NO_WAIT {
            next_is_at_hand = false;
        }
    }
}

/// Returns a name for a callback that fits below a bar.
pub(super) fn label(call_site: &CallSite) -> String {
    match call_site {
        CallSite::AddedAt(at) | CallSite::PortOpenedAt(at) => place(at),
        CallSite::Handler(name) => type_name(name),
    }
}

/// Describes a callback in a tooltip.
pub(super) fn sentence(call_site: &CallSite) -> String {
    match call_site {
        CallSite::AddedAt(at) => format!("the callback added at {}", full_place(at)),
        CallSite::PortOpenedAt(at) => format!("the port opened at {}", full_place(at)),
        CallSite::Handler(_) => call_site.to_string(),
    }
}

/// Returns a type's name without its modules and its parameters, or the file and line of a closure.
fn type_name(name: &str) -> String {
    let outer = name.split('<').next().unwrap_or(name);
    let short = outer.rsplit("::").find(|part| !part.starts_with('{')).unwrap_or(outer);
    file_name(short).to_owned()
}

#[cfg(test)]
mod tests {
    use super::type_name;

    #[test]
    fn types_are_named_without_modules_and_parameters() {
        assert_eq!(type_name("twistor_net::endpoint::Listener<my::Echo, (u8, u16)>"), "Listener");
        assert_eq!(type_name("my::program::main::{{closure}}"), "main");
        assert_eq!(type_name("Echo"), "Echo");
    }
}
