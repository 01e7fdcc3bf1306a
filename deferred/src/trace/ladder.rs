//! The ladder of one Deferred, built from its events: by the Deferred itself while it lives, or from a recording.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::paint::{full_place, place, short};
use super::{Came, Event, Moment, Side, StageKind, What};
use crate::failure::is_ours;

/// Stages that a ladder keeps. Of a longer chain the earliest are forgotten.
const STAGES: usize = 512;
/// Stages of an awaited Deferred that are shown beside the stage that waits for it.
const BRIEF: usize = 6;
/// Members of a list that are shown.
pub(super) const MEMBERS: usize = 64;

/// The stages of one Deferred and the way of its result through them. Prints as text; [`svg`](Ladder::svg) draws it.
#[derive(Clone, Debug)]
pub struct Ladder {
    pub(super) id: u64,
    pub(super) name: Option<Rc<str>>,
    pub(super) made_at: Option<&'static Location<'static>>,
    pub(super) made: Option<Moment>,
    pub(super) fired: Option<StageResult>,
    pub(super) stages: Vec<LadderStage>,
    /// How many stages came before these.
    pub(super) forgotten: usize,
    pub(super) members: Vec<Member>,
    /// How many members there are in all.
    pub(super) member_count: usize,
}

/// A result that came out of a stage, or that the Deferred fired with.
#[derive(Clone, Debug)]
pub(super) struct StageResult {
    pub(super) came: Came,
    pub(super) shown: Option<Rc<str>>,
    pub(super) at: Option<Moment>,
}

impl StageResult {
    fn new(came: &Came, at: Option<Moment>) -> StageResult {
        StageResult { came: came.clone(), shown: None, at }
    }

    pub(super) fn side(&self) -> Side {
        self.came.side
    }

    /// The value or the error, as far as it is known.
    pub(super) fn text(&self) -> Option<&str> {
        self.came.error.as_deref().or(self.shown.as_deref())
    }
}

#[derive(Clone, Debug)]
pub(super) struct LadderStage {
    pub(super) name: Option<Rc<str>>,
    pub(super) kind: StageKind,
    pub(super) added_at: &'static Location<'static>,
    pub(super) added: Option<Moment>,
    pub(super) entered: Option<(Side, Option<Moment>)>,
    pub(super) left: Option<StageResult>,
    pub(super) wait: Option<Wait>,
}

impl LadderStage {
    /// Whether it ran, or runs.
    pub(super) fn ran(&self) -> bool {
        self.entered.is_some_and(|(side, _)| self.kind.handles(side))
    }

    /// How long the result waited here for another Deferred.
    pub(super) fn waited(&self) -> Option<Duration> {
        let since = self.wait.as_ref()?.at?;
        let until = self.left.as_ref()?.at?;
        Some(until.time.saturating_sub(since.time))
    }
}

/// The number of a live record and its place among the records. It outlives the record, and then finds nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The number of the Deferred. Each thread counts its Deferreds, from 1.
    pub(super) id: u64,
    pub(super) slot: usize,
}

/// The Deferred that a stage returned and that had not fired.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) id: u64,
    /// The live record, unless this ladder is built from a recording.
    pub(super) key: Option<Key>,
    pub(super) at: Option<Moment>,
    /// Its ladder, without what it waited for in its turn.
    pub(super) inner: Option<Box<Ladder>>,
}

impl Wait {
    /// Its name, or its number.
    pub(super) fn title(&self) -> String {
        match self.inner.as_ref().and_then(|inner| inner.name.as_deref()) {
            Some(name) => name.to_owned(),
            None => format!("#{}", self.id),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) name: Option<Rc<str>>,
    pub(super) made_at: Option<&'static Location<'static>>,
    pub(super) outcome: Option<StageResult>,
}

impl Member {
    fn new(id: u64) -> Member {
        Member { id, name: None, made_at: None, outcome: None }
    }

    /// Copies the name, the place and the result of the member when the list is made.
    pub(super) fn describe(&mut self, ladder: &Ladder) {
        self.name = ladder.label().cloned();
        self.made_at = ladder.made_at;
        self.outcome = ladder.outcome().cloned();
    }

    /// Its name, or that of its first named stage; otherwise its number and place.
    pub(super) fn title(&self) -> String {
        match (&self.name, self.made_at) {
            (Some(name), _) => name.to_string(),
            (None, Some(made_at)) => format!("#{}, {}", self.id, place(made_at)),
            (None, None) => format!("#{}", self.id),
        }
    }
}

impl Ladder {
    pub(super) fn new(id: u64) -> Ladder {
        Ladder {
            id,
            name: None,
            made_at: None,
            made: None,
            fired: None,
            stages: Vec::new(),
            forgotten: 0,
            members: Vec::new(),
            member_count: 0,
        }
    }

    /// The Deferred's number in its recording; for a live Deferred, in its thread.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The Deferred's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name, or that of the first named stage: `named` names a stage if the chain has one.
    #[doc(hidden)]
    pub fn label(&self) -> Option<&Rc<str>> {
        let mut names = self.stages.iter().filter_map(|stage| stage.name.as_ref());
        // The reactor names its own stage, at the end of the chain that it waits for.
        self.name.as_ref().or_else(|| names.find(|name| ***name != *"run_until"))
    }

    /// The place that created the Deferred; `None` if the recording has forgotten it.
    pub fn made_at(&self) -> Option<&'static Location<'static>> {
        self.made_at
    }

    /// Whether the Deferred was made inside this library, for its own use.
    pub fn is_internal(&self) -> bool {
        self.name.is_none() && self.made_at.is_some_and(|place| is_ours(place.file()))
    }

    /// Whether the result has reached the end of the chain.
    pub fn is_done(&self) -> bool {
        self.outcome().is_some()
    }

    /// The name, or the number.
    pub(super) fn title(&self) -> String {
        self.name.as_deref().map_or_else(|| format!("Deferred #{}", self.id), str::to_owned)
    }

    pub(super) fn stage(&mut self, index: usize) -> Option<&mut LadderStage> {
        self.stages.get_mut(index.checked_sub(self.forgotten)?)
    }

    /// How many stages were added.
    pub(super) fn length(&self) -> usize {
        self.forgotten + self.stages.len()
    }

    /// The result that came out of a stage of those that are kept, if it has.
    pub(super) fn came_out(&self, at: usize) -> Option<Side> {
        let next = self.stages.get(at + 1).and_then(|next| next.entered);
        next.map(|(side, _)| side).or_else(|| self.stages.get(at)?.left.as_ref().map(StageResult::side))
    }

    /// The result at the end of the chain, if it is there.
    pub(super) fn outcome(&self) -> Option<&StageResult> {
        match self.stages.last() {
            Some(last) => last.left.as_ref(),
            None => self.fired.as_ref(),
        }
    }

    /// Takes an event in. One about a stage that is not known is ignored.
    pub(super) fn apply(&mut self, what: &What, at: Option<Moment>) {
        match what {
            What::Made { at: place } => {
                self.made_at = Some(place);
                self.made = self.made.or(at);
            }
            What::Named { stage: None, name } => self.name = Some(name.clone()),
            What::Named { stage: Some(stage), name } => {
                if let Some(stage) = self.stage(*stage) {
                    stage.name = Some(name.clone());
                }
            }
            What::Chained { stage, kind, at: added_at } => self.chain(*stage, *kind, added_at, at),
            What::Gathers { members, count } => {
                self.members = members.iter().map(|id| Member::new(*id)).collect();
                self.member_count = *count;
            }
            What::Fired(came) => self.fired = Some(StageResult::new(came, at)),
            What::Entered { stage, side } => {
                let before = self.entered_with(*stage).and_then(|before| before.came.error);
                if let Some(stage) = self.stage(*stage) {
                    stage.entered = Some((*side, at));
                    if !stage.kind.handles(*side) {
                        // A stage without a function for that side passes the result on.
                        let came = Came { side: *side, error: before, panicked: false };
                        stage.left = Some(StageResult::new(&came, at));
                    }
                }
            }
            What::Waits { stage, on } => {
                if let Some(stage) = self.stage(*stage) {
                    stage.wait = Some(Wait { id: *on, key: None, at, inner: None });
                }
            }
            What::Left { stage, came } => {
                if let Some(stage) = self.stage(*stage) {
                    stage.left = Some(StageResult::new(came, at));
                }
            }
            What::Showed { stage, text } => {
                let result = match stage {
                    Some(index) => self.stage(*index).and_then(|stage| stage.left.as_mut()),
                    None => self.fired.as_mut(),
                };
                if let Some(result) = result {
                    result.shown = Some(text.clone());
                }
            }
            What::Dropped => {}
        }
    }

    fn chain(
        &mut self,
        index: usize,
        kind: StageKind,
        added_at: &'static Location<'static>,
        at: Option<Moment>,
    ) {
        if index != self.length() {
            // The recording has forgotten those before.
            self.stages.clear();
            self.forgotten = index;
        }
        if self.stages.len() >= STAGES {
            self.stages.drain(..STAGES / 2);
            self.forgotten += STAGES / 2;
        }
        if self.stages.len() < 4 {
            // Most chains are short, and a vector would begin with room for four.
            self.stages.reserve_exact(1);
        }
        self.stages.push(LadderStage {
            name: None,
            kind,
            added_at,
            added: at,
            entered: None,
            left: None,
            wait: None,
        });
    }

    /// The same ladder for display beside another: its last stages, without the ladders beside those.
    pub(super) fn brief(&self) -> Ladder {
        let skipped = self.stages.len().saturating_sub(BRIEF);
        // Field by field: a clone of the whole would copy the ladders beside it first.
        let plain = |stage: &LadderStage| LadderStage {
            name: stage.name.clone(),
            left: stage.left.clone(),
            wait: None,
            ..*stage
        };
        Ladder {
            name: self.name.clone(),
            fired: self.fired.clone(),
            stages: self.stages[skipped..].iter().map(plain).collect(),
            forgotten: self.forgotten + skipped,
            members: Vec::new(),
            member_count: 0,
            ..*self
        }
    }
}

/// Builds ladders from recorded events.
#[derive(Clone, Debug, Default)]
pub struct Ladders {
    ladders: BTreeMap<u64, Ladder>,
    /// Of a member of a list: that list, its place there, and the stage that passes its result to the list.
    member_of: BTreeMap<u64, (u64, usize, usize)>,
}

impl Ladders {
    /// Takes the next event in.
    pub fn apply(&mut self, event: &Event, at: Moment) {
        let ladder = self.ladders.entry(event.id).or_insert_with(|| Ladder::new(event.id));
        ladder.apply(&event.what, Some(at));
        match &event.what {
            What::Gathers { members, .. } => {
                for (index, member) in members.iter().enumerate() {
                    let mut described = Member::new(*member);
                    let mut position = 0;
                    if let Some(known) = self.ladders.get(member) {
                        described.describe(known);
                        position = known.length();
                    }
                    self.member_of.insert(*member, (event.id, index, position));
                    if let Some(entry) = self.member(event.id, index) {
                        *entry = described;
                    }
                }
            }
            What::Entered { stage, .. } => {
                let Some((list, index, position)) = self.member_of.get(&event.id).copied() else { return };
                if position != *stage {
                    return;
                }
                let outcome = self.ladders.get(&event.id).and_then(|member| member.entered_with(*stage));
                if let Some(entry) = self.member(list, index) {
                    entry.outcome = outcome;
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, list: u64, index: usize) -> Option<&mut Member> {
        self.ladders.get_mut(&list)?.members.get_mut(index)
    }

    /// The ladders in the order in which their Deferreds were made.
    pub fn into_vec(self) -> Vec<Ladder> {
        let briefs: BTreeMap<u64, Ladder> =
            self.ladders.iter().map(|(id, ladder)| (*id, ladder.brief())).collect();
        let mut ladders: Vec<Ladder> = self.ladders.into_values().collect();
        for ladder in &mut ladders {
            for wait in ladder.stages.iter_mut().filter_map(|stage| stage.wait.as_mut()) {
                wait.inner = briefs.get(&wait.id).cloned().map(Box::new);
            }
        }
        ladders
    }
}

impl Ladder {
    /// The result that reached this stage.
    pub(super) fn entered_with(&self, index: usize) -> Option<StageResult> {
        let before = match index.checked_sub(self.forgotten)? {
            0 => self.fired.as_ref(),
            at => self.stages.get(at - 1)?.left.as_ref(),
        };
        before.cloned()
    }
}

struct Quoted<'a>(Option<&'a str>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}

impl fmt::Display for StageResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.side().word())?;
        self.text().map_or(Ok(()), |text| write!(f, " ({text})"))
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred #{}{}", self.id, Quoted(self.name()))?;
        match self.made_at {
            Some(place) => write!(f, " made at {}: ", full_place(place))?,
            None => f.write_str(": ")?,
        }
        match &self.fired {
            Some(result) => write!(f, "fired with {result}")?,
            None => f.write_str("not fired")?,
        }
        if self.member_count > 0 {
            write!(f, "\n  {} members:", self.member_count)?;
            for member in &self.members {
                let side = member.outcome.as_ref().map_or("waiting", |outcome| outcome.side().word());
                write!(f, " #{}{} {side};", member.id, Quoted(member.name.as_deref()))?;
            }
        }
        for (at, stage) in self.stages.iter().enumerate() {
            write!(
                f,
                "\n  {} {}{} at {}: ",
                self.forgotten + at + 1,
                stage.kind.word(),
                Quoted(stage.name.as_deref()),
                full_place(stage.added_at)
            )?;
            self.write_stage(f, at, stage)?;
        }
        Ok(())
    }
}

impl Ladder {
    fn write_stage(&self, f: &mut fmt::Formatter<'_>, at: usize, stage: &LadderStage) -> fmt::Result {
        let Some((entered, _)) = stage.entered else { return f.write_str("not reached") };
        if !stage.kind.handles(entered) {
            return write!(f, "skipped by a {}", entered.word());
        }
        write!(f, "ran on a {}", entered.word())?;
        let came_out = self.came_out(at);
        if let Some(wait) = &stage.wait {
            let verb = if came_out.is_some() { "waited" } else { "waits" };
            write!(f, ", {verb} for #{}", wait.id)?;
            if let Some(inner) = &wait.inner {
                write!(f, "{}", Quoted(inner.name()))?;
                inner.made_at.map_or(Ok(()), |place| write!(f, " made at {}", full_place(place)))?;
            }
            stage.waited().map_or(Ok(()), |waited| write!(f, " for {}", short(waited)))?;
        }
        match (&stage.left, came_out) {
            (Some(left), _) if left.came.panicked => {
                write!(f, ", panicked: {}", left.text().unwrap_or_default())
            }
            (Some(left), _) => write!(f, ", returned {left}"),
            (None, Some(side)) => write!(f, ", returned a {}", side.word()),
            (None, None) if stage.wait.is_none() => f.write_str(", is running"),
            (None, None) => Ok(()),
        }
    }
}
