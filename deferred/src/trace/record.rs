//! What is remembered of a chain.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::StageKind;
use crate::Deferred;
use crate::deferred::DeferredState;

/// One chain, from the Deferred it began as. Nothing of the user's is called while it is borrowed.
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) made_at: Cell<&'static Location<'static>>,
    pub(crate) story: RefCell<Story>,
}

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) name: Option<String>,
    pub(crate) fired: Option<Side>,
    pub(crate) stages: Vec<Stage>,
    /// The stages that take the result of this chain for theirs.
    waited_by: Vec<(Weak<Record>, usize)>,
    /// The chains of which this is the list.
    members: Vec<Weak<Record>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Value,
    Failure,
}

impl Side {
    fn of(ok: bool) -> Side {
        if ok { Side::Value } else { Side::Failure }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Side::Value => "value",
            Side::Failure => "failure",
        }
    }
}

pub(crate) struct Stage {
    pub(crate) name: Option<String>,
    pub(crate) kind: StageKind,
    pub(crate) added_at: &'static Location<'static>,
    pub(crate) entered: Option<Side>,
    pub(crate) left: Option<Side>,
    /// What the Deferred was that it returned, if that had not fired.
    pub(crate) waited_on: Option<Waited>,
}

pub(crate) struct Waited {
    pub(crate) id: u64,
    pub(crate) made_at: &'static Location<'static>,
    pub(crate) name: Option<String>,
    record: Weak<Record>,
}

impl Stage {
    /// Whether it has a function for the side it was entered on.
    pub(crate) fn handles(&self, side: Side) -> bool {
        match self.kind {
            StageKind::Callback => side == Side::Value,
            StageKind::Errback => side == Side::Failure,
            StageKind::Callbacks | StageKind::Both => true,
        }
    }
}

impl Record {
    pub(crate) fn new(made_at: &'static Location<'static>) -> Rc<Record> {
        let id = NEXT.try_with(|next| next.replace(next.get() + 1)).unwrap_or_default();
        let record = Rc::new(Record { id, made_at: Cell::new(made_at), story: RefCell::default() });
        remember(&record);
        record
    }

    /// On which side a result came out of that stage, if it has.
    pub(crate) fn came_out(&self, index: usize) -> Option<Side> {
        let story = self.story.borrow();
        let next = story.stages.get(index + 1).and_then(|next| next.entered);
        next.or(story.stages[index].left)
    }

    /// On which side the result is that has come to the end of the chain.
    pub(crate) fn outcome(&self) -> Option<Side> {
        let story = self.story.borrow();
        story.stages.last().map_or(story.fired, |last| last.left)
    }

    /// A result came out of that stage; if it was the last, it is also what other chains waited for.
    fn came(&self, index: Option<usize>, side: Side) {
        let waited_by = {
            let mut story = self.story.borrow_mut();
            match index {
                Some(index) => story.stages[index].left = Some(side),
                None => story.fired = Some(side),
            }
            let at_the_end = index.map_or(0, |index| index + 1) == story.stages.len();
            if at_the_end { std::mem::take(&mut story.waited_by) } else { Vec::new() }
        };
        for (waiting, index) in waited_by {
            if let Some(waiting) = waiting.upgrade() {
                waiting.story.borrow_mut().stages[index].left = Some(side);
            }
        }
    }

    /// That stage of `outer` takes the result of this chain for its own, and so do those who wait for `outer`
    /// where it ends there. None of them is held: a loop of waits may be endless.
    fn waited_for_in(self: &Rc<Self>, outer: &Rc<Record>, index: usize) {
        let mut waited_by = vec![(Rc::downgrade(outer), index)];
        {
            let mut story = outer.story.borrow_mut();
            if index + 1 == story.stages.len() {
                let others = std::mem::take(&mut story.waited_by);
                waited_by.extend(others.into_iter().filter(|(other, _)| other.strong_count() > 0));
            }
        }
        self.story.borrow_mut().waited_by = waited_by;
    }

    /// The numbers of the members that have not fired.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let members = self.story.borrow().members.clone();
        let unfired = members.iter().filter_map(Weak::upgrade).filter(|member| member.outcome().is_none());
        unfired.map(|member| member.id).collect()
    }

    /// The stage that waits for another Deferred, and that one.
    pub(crate) fn waits_in(&self) -> Option<(usize, Rc<Record>)> {
        let story = self.story.borrow();
        let (index, stage) = story.stages.iter().enumerate().rfind(|(_, stage)| stage.entered.is_some())?;
        let inner = stage.waited_on.as_ref()?.record.upgrade()?;
        Some((index, inner))
    }
}

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(1) };
    static RECORDS: RefCell<Vec<Weak<Record>>> = const { RefCell::new(Vec::new()) };
}

/// All that are still there, in the order they were made.
pub(crate) fn records() -> Vec<Rc<Record>> {
    RECORDS.with_borrow(|records| records.iter().filter_map(Weak::upgrade).collect())
}

fn remember(record: &Rc<Record>) {
    // A thread that is ending has no use for it.
    let _ = RECORDS.try_with(|records| {
        let mut records = records.borrow_mut();
        if records.len() == records.capacity() {
            records.retain(|record| record.strong_count() > 0);
        }
        records.push(Rc::downgrade(record));
    });
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
            record.made_at.set(place);
        }
    }

    /// The track of a chain of which nothing was known before `place`.
    pub(crate) fn or_new(self, place: &'static Location<'static>, ok: bool) -> Track {
        if self.0.is_some() {
            return self;
        }
        let track = Track::new(place);
        track.fired(ok);
        track
    }

    pub(crate) fn record(self) -> Option<Rc<Record>> {
        self.0
    }

    pub(crate) fn fired(&self, ok: bool) {
        if let Some(record) = &self.0 {
            record.came(None, Side::of(ok));
        }
    }

    pub(crate) fn gathers<'a>(&self, members: impl Iterator<Item = &'a Track>) {
        if let Some(record) = &self.0 {
            record.story.borrow_mut().members =
                members.filter_map(|member| member.0.as_ref().map(Rc::downgrade)).collect();
        }
    }

    pub(crate) fn name(&self, name: &str) {
        if let Some(record) = &self.0 {
            let mut story = record.story.borrow_mut();
            let named = Some(name.to_owned());
            match story.stages.last_mut() {
                Some(stage) => stage.name = named,
                None => story.name = named,
            }
        }
    }

    pub(crate) fn step(&self, kind: StageKind, added_at: &'static Location<'static>) -> StageTrack {
        StageTrack(self.0.as_ref().map(|record| {
            let mut story = record.story.borrow_mut();
            let stage = Stage { name: None, kind, added_at, entered: None, left: None, waited_on: None };
            story.stages.push(stage);
            (record.clone(), story.stages.len() - 1)
        }))
    }
}

/// One stage of a recorded chain.
pub(crate) struct StageTrack(Option<(Rc<Record>, usize)>);

impl StageTrack {
    pub(crate) fn entered(&self, ok: bool) {
        if let Some((record, index)) = &self.0 {
            record.story.borrow_mut().stages[*index].entered = Some(Side::of(ok));
        }
    }

    pub(crate) fn left<T>(&self, outcome: &Deferred<T>) {
        let Some((record, index)) = &self.0 else { return };
        match &outcome.0 {
            DeferredState::Fired(result) => record.came(Some(*index), Side::of(result.is_ok())),
            DeferredState::Pending(_) => {
                let Some(inner) = &outcome.1.0 else { return };
                if let Some(side) = inner.outcome() {
                    return record.came(Some(*index), side);
                }
                let name = inner.story.borrow().name.clone();
                let waited_on =
                    Waited { id: inner.id, made_at: inner.made_at.get(), name, record: Rc::downgrade(inner) };
                record.story.borrow_mut().stages[*index].waited_on = Some(waited_on);
                inner.waited_for_in(record, *index);
            }
        }
    }
}
