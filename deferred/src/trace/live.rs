//! The Deferreds that have not fired.

use std::fmt;
use std::panic::Location;

use super::record::records;

/// Every Deferred of this thread that has no result yet, where it was made, and what it waits on, in the
/// order they were made: so that a program that hangs can say why.
///
/// What nobody holds any more, neither a handle nor a trigger, is not told.
pub fn live() -> Live {
    let unfired = records().into_iter().filter_map(|record| {
        if record.outcome().is_some() {
            return None;
        }
        let waits_in = record.waits_in();
        let story = record.story.borrow();
        let waiting = match waits_in {
            Some((index, inner)) => Waiting::Deferred {
                id: inner.id,
                stage: story.stages[index].name.clone(),
                stage_at: story.stages[index].added_at,
            },
            None if story.fired.is_some() => Waiting::Callback,
            None => match record.missing() {
                members if members.is_empty() => Waiting::Trigger,
                members => Waiting::Members(members),
            },
        };
        Some(Unfired { id: record.id, name: story.name.clone(), made_at: record.made_at.get(), waiting })
    });
    Live(unfired.collect())
}

/// The Deferreds that had not fired when [`live`] was called. Printed, a line for each.
#[derive(Debug, Clone)]
pub struct Live(pub Vec<Unfired>);

/// A Deferred that has not fired.
#[derive(Debug, Clone)]
pub struct Unfired {
    /// Its number: they are counted as they are made, on each thread.
    pub id: u64,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was made.
    pub made_at: &'static Location<'static>,
    /// What it waits on.
    pub waiting: Waiting,
}

/// What a Deferred waits on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Waiting {
    /// Its own trigger has not fired. Of a queue, a lock, a semaphore and a pool, which hold the trigger of whoever waits,
    /// this tells where the Deferred was asked for.
    Trigger,
    /// It is a list, and these of its members have not fired, by their numbers.
    Members(Vec<u64>),
    /// A callback of its chain is running now.
    Callback,
    /// A stage of its chain returned a Deferred that has not fired.
    Deferred {
        /// The number of that one.
        id: u64,
        /// The name of the stage, if it was given one.
        stage: Option<String>,
        /// Where the stage was added.
        stage_at: &'static Location<'static>,
    },
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => return f.write_str("every Deferred has fired"),
            1 => f.write_str("1 Deferred has not fired")?,
            count => write!(f, "{count} Deferreds have not fired")?,
        }
        self.0.iter().try_for_each(|unfired| write!(f, "\n  {unfired}"))
    }
}

/// How many members of a list are printed.
const SHOWN: usize = 8;

impl fmt::Display for Unfired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " made at {}: ", self.made_at)?;
        match &self.waiting {
            Waiting::Trigger => f.write_str("waits for its trigger"),
            Waiting::Members(ids) => {
                f.write_str("waits for its members")?;
                ids.iter().take(SHOWN).try_for_each(|id| write!(f, " #{id}"))?;
                match ids.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Waiting::Callback => f.write_str("is running a callback"),
            Waiting::Deferred { id, stage: Some(stage), stage_at } => {
                write!(f, "waits for #{id} in {stage:?}, added at {stage_at}")
            }
            Waiting::Deferred { id, stage: None, stage_at } => {
                write!(f, "waits for #{id} in the stage added at {stage_at}")
            }
        }
    }
}
