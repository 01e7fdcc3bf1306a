//! What a workload tells the runner.

use super::sample::{Metric, Sample};

/// One workload: its name on the command line, what it does, and its cases (shorter ones where `quick` is set).
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    pub cases: fn(quick: bool) -> Vec<Case>,
}

/// One table: peers that do the same work. The first peer is the floor.
pub struct Case {
    pub title: String,
    pub metrics: &'static [Metric],
    pub peers: Vec<Peer>,
    /// How many times each peer runs in a round; once, in a quick one. Where differences of a percent count, many short
    /// runs side by side tell more than one long one: a machine that others share changes its speed from one second to
    /// the next.
    pub slices: usize,
}

/// One row of it; `run` does the work once.
pub struct Peer {
    pub name: &'static str,
    pub run: Box<dyn Fn() -> Result<Sample, Trouble>>,
}

/// The reason for a missing sample.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The peer is not there, or cannot do this work: it is skipped.
    Missing(String),
    /// The result was wrong, or there was none: the benchmark fails.
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

    /// A peer that cannot do this work, and why.
    pub fn skipped(name: &'static str, reason: &'static str) -> Peer {
        Peer::new(name, move || Err(Trouble::missing(reason)))
    }
}
