//! The records of live Deferreds.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use super::ladder::{Key, MEMBERS};
use super::registry::{self, find};
use super::{Came, Event, Ladder, Side, StageKind, TracedState, What, observer};
use crate::Panicked;
use crate::failure::{Settled, Unhandled};

/// Characters of a value or an error that are kept.
const LONGEST: usize = 200;

/// One chain, from the Deferred it began as. No user code runs while anything in it is borrowed.
pub(crate) struct Record {
    pub(super) key: Key,
    pub(super) ladder: RefCell<Ladder>,
    links: RefCell<Vec<Link>>,
    shows: RefCell<Vec<Show>>,
    /// All members, of a list.
    members: RefCell<Vec<Key>>,
}

/// A value to show: of a stage, or of the Deferred itself. The function is a `fn(&T) -> String`.
type Show = (Option<usize>, Box<dyn Any>);

/// Another chain that the result matters to. By key, so that a record that is gone takes no memory.
#[derive(Clone, Copy)]
enum Link {
    /// That stage takes the result at the end of this chain for its own.
    Stage(Key, usize),
    /// A list has this chain as a member; its result reaches the list at that stage.
    Member { list: Key, index: usize, position: usize },
}

impl Record {
    pub(crate) fn new(made_at: &'static Location<'static>) -> Rc<Record> {
        let record = Rc::new_cyclic(|this: &Weak<Record>| {
            let key = registry::add(this);
            Record {
                key,
                ladder: RefCell::new(Ladder::new(key.id)),
                links: RefCell::default(),
                shows: RefCell::default(),
                members: RefCell::default(),
            }
        });
        record.happen(What::Made { at: made_at });
        record
    }

    fn happen(&self, what: What) {
        let event = Event { id: self.key.id, what };
        let at = observer::notify(&event);
        self.ladder.borrow_mut().apply(&event.what, at);
    }

    /// The state now. What stages wait for and what a list gathers is looked up.
    pub(super) fn snapshot(&self) -> Ladder {
        let mut ladder = self.ladder.borrow().clone();
        for wait in ladder.stages.iter_mut().filter_map(|stage| stage.wait.as_mut()) {
            if let Some(inner) = wait.key.and_then(find) {
                wait.inner = Some(Box::new(inner.ladder.borrow().brief()));
            }
        }
        ladder
    }

    /// A result came out of that stage, or out of the trigger.
    fn came<T: 'static>(&self, stage: Option<usize>, result: &Settled<T>) {
        // The text of an error is written once for all chains that take the result over.
        let described = OnceCell::new();
        let came = || described.get_or_init(|| describe(result)).clone();
        match stage {
            Some(stage) if self.skips(stage) => {}
            Some(stage) => self.happen(What::Left { stage, came: came() }),
            None => self.happen(What::Fired(came())),
        }
        self.show(stage, result);
        self.pass_on(stage, |other, stage| {
            other.happen(What::Left { stage, came: came() });
            other.show(Some(stage), result);
        });
    }

    /// As `came`, where only the side is known.
    fn came_unseen(&self, stage: Option<usize>, came: &Came) {
        self.happen(match stage {
            Some(stage) => What::Left { stage, came: came.clone() },
            None => What::Fired(came.clone()),
        });
        self.pass_on(stage, |other, stage| other.happen(What::Left { stage, came: came.clone() }));
    }

    fn skips(&self, stage: usize) -> bool {
        self.ladder.borrow_mut().stage(stage).is_some_and(|stage| stage.left.is_some() && !stage.ran())
    }

    /// If the result came out of the last stage, it is also what other chains waited for.
    fn pass_on(&self, stage: Option<usize>, tell: impl Fn(&Record, usize)) {
        if self.links.borrow().is_empty()
            || stage.map_or(0, |stage| stage + 1) != self.ladder.borrow().length()
        {
            return;
        }
        let waiting: Vec<_> = self.links.borrow().iter().filter_map(Link::stage).collect();
        self.links.borrow_mut().retain(|link| link.stage().is_none());
        for (id, stage) in waiting {
            let Some(other) = find(id) else { continue };
            other.remember_wait(stage);
            tell(&other, stage);
        }
    }

    /// Keeps a copy of what a stage waited for, which is about to go.
    fn remember_wait(&self, index: usize) {
        let on = self
            .ladder
            .borrow_mut()
            .stage(index)
            .and_then(|stage| stage.wait.as_ref().and_then(|wait| wait.key));
        let Some(inner) = on.and_then(find) else { return };
        let brief = inner.ladder.borrow().brief();
        let mut ladder = self.ladder.borrow_mut();
        if let Some(wait) = ladder.stage(index).and_then(|stage| stage.wait.as_mut()) {
            wait.inner = Some(Box::new(brief));
        }
    }

    fn waits_for(&self, stage: usize, key: Key) {
        if let Some(wait) = self.ladder.borrow_mut().stage(stage).and_then(|stage| stage.wait.as_mut()) {
            wait.key = Some(key);
        }
    }

    /// That stage of `outer` takes the result of this chain for its own, and so do those that wait for `outer` if it
    /// ends there. None of them is held: a loop of waits may be endless.
    fn waited_for_in(&self, outer: &Record, index: usize) {
        let mut links = vec![Link::Stage(outer.key, index)];
        if index + 1 == outer.ladder.borrow().length() {
            let mut others = outer.links.borrow_mut();
            links.extend(
                others
                    .iter()
                    .filter_map(Link::stage)
                    .filter(|(id, _)| find(*id).is_some())
                    .map(|(id, stage)| Link::Stage(id, stage)),
            );
            others.retain(|link| link.stage().is_none());
        }
        self.links.replace(links);
    }

    /// Shows the value that came out of a stage, if that was asked for.
    fn show<T: 'static>(&self, stage: Option<usize>, result: &Settled<T>) {
        let Ok(value) = result else { return };
        if self.shows.borrow().is_empty() {
            return;
        }
        let show = self
            .shows
            .borrow()
            .iter()
            .find(|(of, _)| *of == stage)
            .and_then(|(_, show)| show.downcast_ref::<fn(&T) -> String>().copied());
        if let Some(show) = show {
            let text = text_of(|| show(value));
            self.happen(What::Showed { stage, text });
            self.shows.borrow_mut().retain(|(of, _)| *of != stage);
        }
    }

    /// The result has reached a stage: a list that gathers this chain has it from there.
    fn tell_list(&self, stage: usize) {
        let links = self.links.borrow();
        let Some(Link::Member { list, index, .. }) =
            links.iter().find(|link| matches!(link, Link::Member { position, .. } if *position == stage))
        else {
            return;
        };
        if let Some(list) = find(*list) {
            let outcome = self.ladder.borrow().entered_with(stage);
            if let Some(member) = list.ladder.borrow_mut().members.get_mut(*index) {
                member.outcome = outcome;
            }
        }
    }

    /// The numbers of the members that have not fired.
    pub(super) fn missing(&self) -> Vec<u64> {
        let members = self.members.borrow();
        let unfired =
            |key: &&Key| find(**key).is_some_and(|member| member.ladder.borrow().outcome().is_none());
        members.iter().filter(unfired).map(|key| key.id).collect()
    }

    /// The stage that waits for another Deferred, and that one.
    pub(super) fn waits_in(&self) -> Option<(usize, Rc<Record>)> {
        let ladder = self.ladder.borrow();
        let (at, stage) = ladder.stages.iter().enumerate().rfind(|(_, stage)| stage.entered.is_some())?;
        if stage.left.is_some() {
            return None;
        }
        Some((at, find(stage.wait.as_ref()?.key?)?))
    }
}

impl Link {
    fn stage(&self) -> Option<(Key, usize)> {
        match *self {
            Link::Stage(id, stage) => Some((id, stage)),
            Link::Member { .. } => None,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        observer::notify(&Event { id: self.key.id, what: What::Dropped });
        registry::remove(self.key);
    }
}

fn describe<T>(result: &Settled<T>) -> Came {
    let failure = result.as_ref().err().and_then(Unhandled::failure);
    let error = failure.map(|failure| match failure.downcast_ref::<Panicked>() {
        Some(panic) => text_of(|| panic.message().to_owned()),
        None => text_of(|| failure.to_string()),
    });
    let panicked = failure.is_some_and(|failure| failure.is::<Panicked>());
    Came { side: Side::of(result.is_ok()), error, panicked }
}

/// Runs the user's `Display` or `Debug`, which may panic.
fn text_of(write: impl FnOnce() -> String) -> Rc<str> {
    let text = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| "printing it panicked".to_owned());
    if text.len() <= LONGEST {
        // Characters are counted only in texts that may have too many.
        return text.into();
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// The record of the chain that a handle is the end of, where there is one.
#[derive(Clone, Default)]
pub(crate) struct Track(Option<Rc<Record>>);

impl Track {
    pub(crate) fn new(made_at: &'static Location<'static>) -> Track {
        Track(Some(Record::new(made_at)))
    }

    pub(crate) fn attribute_to(&self, place: &'static Location<'static>) {
        if let Some(record) = &self.0 {
            record.happen(What::Made { at: place });
        }
    }

    /// The track of a chain of which nothing was known before `place`.
    pub(crate) fn or_new<T: 'static>(
        self,
        place: &'static Location<'static>,
        state: &impl TracedState<T>,
    ) -> Track {
        if self.0.is_some() {
            return self;
        }
        let track = Track::new(place);
        if let Some(result) = state.fired() {
            track.fired(result);
        }
        track
    }

    pub(crate) fn record(self) -> Option<Rc<Record>> {
        self.0
    }

    pub(crate) fn fired<T: 'static>(&self, result: &Settled<T>) {
        if let Some(record) = &self.0 {
            record.came(None, result);
        }
    }

    /// It fired with a value that may go back.
    pub(crate) fn lent(&self) {
        if let Some(record) = &self.0 {
            record.came_unseen(None, &Came { side: Side::Callbacks, error: None, panicked: false });
        }
    }

    pub(crate) fn gathers<'a>(&self, members: impl Iterator<Item = &'a Track>) {
        let Some(record) = &self.0 else { return };
        let members: Vec<&Rc<Record>> = members.filter_map(|member| member.0.as_ref()).collect();
        let shown = members.iter().take(MEMBERS).map(|member| member.key.id).collect();
        record.happen(What::Gathers { members: shown, count: members.len() });
        record.members.replace(members.iter().map(|member| member.key).collect());
        for (index, member) in members.iter().take(MEMBERS).enumerate() {
            let ladder = member.ladder.borrow();
            let link = Link::Member { list: record.key, index, position: ladder.length() };
            if let Some(entry) = record.ladder.borrow_mut().members.get_mut(index) {
                entry.describe(&ladder);
            }
            let mut links = member.links.borrow_mut();
            if links.is_empty() {
                links.reserve_exact(1);
            }
            links.push(link);
        }
    }

    pub(crate) fn name(&self, name: &str) {
        if let Some(record) = &self.0 {
            let stage = record.last_stage();
            record.happen(What::Named { stage, name: name.into() });
        }
    }

    pub(crate) fn show<T: Debug + 'static>(&self, state: &impl TracedState<T>) {
        let Some(record) = &self.0 else { return };
        let stage = record.last_stage();
        let show: fn(&T) -> String = |value| format!("{value:?}");
        record.shows.borrow_mut().push((stage, Box::new(show)));
        state.look_at_result(|result| record.show(stage, result));
    }

    pub(crate) fn step(&self, kind: StageKind, added_at: &'static Location<'static>) -> StageTrack {
        StageTrack(self.0.as_ref().map(|record| {
            let stage = record.ladder.borrow().length();
            record.happen(What::Chained { stage, kind, at: added_at });
            (record.clone(), stage)
        }))
    }
}

impl Record {
    fn last_stage(&self) -> Option<usize> {
        self.ladder.borrow().length().checked_sub(1)
    }
}

/// One stage of a recorded chain.
pub(crate) struct StageTrack(Option<(Rc<Record>, usize)>);

impl StageTrack {
    pub(crate) fn entered<T: 'static>(&self, input: &Settled<T>) {
        if let Some((record, stage)) = &self.0 {
            // Where it came from another chain, it was not seen before.
            record.show(stage.checked_sub(1), input);
            record.happen(What::Entered { stage: *stage, side: Side::of(input.is_ok()) });
            record.tell_list(*stage);
        }
    }

    pub(crate) fn left<T: 'static>(&self, outcome: &impl TracedState<T>, track: &Track) {
        let Some((record, stage)) = &self.0 else { return };
        if let Some(result) = outcome.fired() {
            return record.came(Some(*stage), result);
        }
        let Some(inner) = &track.0 else { return };
        let came = inner.ladder.borrow().outcome().map(|outcome| outcome.came.clone());
        if let Some(came) = came {
            record.came_unseen(Some(*stage), &came);
            return outcome.look_at_result(|result| record.show(Some(*stage), result));
        }
        record.happen(What::Waits { stage: *stage, on: inner.key.id });
        record.waits_for(*stage, inner.key);
        inner.waited_for_in(record, *stage);
    }
}
