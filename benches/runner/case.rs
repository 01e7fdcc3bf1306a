//! The description of a workload for the runner.

use super::sample::{Metric, Sample};

/// A workload: its name on the command line, a description, and its cases, which are shorter if `quick` is set.
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    pub cases: fn(quick: bool) -> Vec<Case>,
}

/// A table of peers that do the same work. The first peer is the floor.
pub struct Case {
    pub title: String,
    pub metrics: &'static [Metric],
    pub peers: Vec<Peer>,
    /// The number of runs of each peer in a round; one in a quick round. If differences of a percent matter, many
    /// short runs show more than one long one, because a shared machine changes its speed from one second to the
    /// next.
    pub slices: usize,
}

/// One row of the table. `run` does the work once.
pub struct Peer {
    pub name: &'static str,
    pub run: Box<dyn Fn() -> Result<Sample, Trouble>>,
}

/// The reason for a missing sample.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The peer is missing, or cannot do this work. It is skipped.
    Missing(String),
    /// The result was wrong or missing. The benchmark fails.
    Failed(String),
}

impl From<String> for Trouble {
    fn from(reason: String) -> Trouble {
        Trouble::Failed(reason)
    }
}

impl Trouble {
    pub fn missing(reason: impl Into<String>) -> Trouble {
        Trouble::Missing(reason.into())
    }
}

impl Peer {
    pub fn new<E: Into<Trouble>>(name: &'static str, run: impl Fn() -> Result<Sample, E> + 'static) -> Peer {
        Peer { name, run: Box::new(move || run().map_err(E::into)) }
    }

    /// A peer that cannot do this work, and the reason.
    pub fn skipped(name: &'static str, reason: &'static str) -> Peer {
        Peer::new(name, move || Err(Trouble::missing(reason)))
    }
}
