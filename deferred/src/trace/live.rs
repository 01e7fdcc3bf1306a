//! The Deferreds that have not fired.

use std::fmt;
use std::panic::Location;

use super::registry::records;

/// Lists every Deferred of this thread that has no result yet, in the order in which they were made: where each was made
/// and what it waits for. For finding out why a program hangs.
///
/// A Deferred of which neither a handle nor the trigger is left is not listed.
pub fn live() -> Live {
    let unfired = records().into_iter().filter_map(|record| {
        let ladder = record.ladder.borrow().clone();
        if ladder.outcome().is_some() {
            return None;
        }
        let waiting = match record.waits_in() {
            Some((index, inner)) => Waiting::Deferred {
                id: inner.key.id,
                stage: ladder.stages[index].name.as_deref().map(str::to_owned),
                stage_at: ladder.stages[index].added_at,
            },
            None if ladder.fired.is_some() => Waiting::Callback,
            None => match record.missing() {
                members if members.is_empty() => Waiting::Trigger,
                members => Waiting::Members(members),
            },
        };
        let name = ladder.name.as_deref().map(str::to_owned);
        Some(Unfired { id: record.key.id, name, made_at: ladder.made_at?, waiting })
    });
    Live(unfired.collect())
}

/// The Deferreds that had not fired when [`live`] was called. Prints a line for each.
#[derive(Debug, Clone)]
pub struct Live(pub Vec<Unfired>);

/// A Deferred that has not fired.
#[derive(Debug, Clone)]
pub struct Unfired {
    /// The Deferred's number. Each thread counts its Deferreds.
    pub id: u64,
    /// The Deferred's name, if it was given one.
    pub name: Option<String>,
    /// The place that created it.
    pub made_at: &'static Location<'static>,
    /// The cause of the wait.
    pub waiting: Waiting,
}

/// The causes for which a Deferred waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Waiting {
    /// Its own trigger has not fired. For a queue, lock, semaphore or pool, which holds the triggers of its waiters,
    /// `made_at` is the place that asked for the Deferred.
    Trigger,
    /// It is a list, and the members with these numbers have not fired.
    Members(Vec<u64>),
    /// A callback of its chain is running now.
    Callback,
    /// A stage of its chain returned a Deferred that has not fired.
    Deferred {
        /// The number of the returned Deferred.
        id: u64,
        /// The name of the stage, if it was given one.
        stage: Option<String>,
        /// The place that added the stage.
        stage_at: &'static Location<'static>,
    },
}

impl IntoIterator for Live {
    type Item = Unfired;
    type IntoIter = std::vec::IntoIter<Unfired>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Live {
    type Item = &'a Unfired;
    type IntoIter = std::slice::Iter<'a, Unfired>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
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
