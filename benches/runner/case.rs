//! The description of a workload, for the runner.

use super::child::Core;
use super::program::Program;
use super::sample::{Metric, Sample};

/// A workload: its name on the command line, a description, and its cases, which are shorter if `quick` is set.
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    pub cases: fn(quick: bool) -> Vec<Case>,
}

/// One table of peers that do the same work. The first peer is the floor.
pub struct Case {
    pub title: String,
    pub metrics: &'static [Metric],
    pub peers: Vec<Peer>,
}

/// One row of the table. `run` does the work once.
pub struct Peer {
    pub name: &'static str,
    /// Runs in the first round only, because its figures differ from the others' by far.
    pub once: bool,
    pub run: Box<dyn Fn() -> Result<Sample, Trouble>>,
}

/// The reason for a missing sample.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The peer is not installed or cannot do this work. It is skipped.
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
        Peer { name, once: false, run: Box::new(move || run().map_err(E::into)) }
    }

    /// A program that measures itself, on the measured core.
    pub fn sampling(
        name: &'static str,
        program: Program,
        role: &'static str,
        arguments: Vec<String>,
    ) -> Peer {
        Peer::new(name, move || program.sample(Core::Measured, role, &arguments))
    }

    pub fn once(mut self) -> Peer {
        self.once = true;
        self
    }

    /// A peer that cannot do this work, with the reason.
    pub fn skipped(name: &'static str, reason: &'static str) -> Peer {
        Peer::new(name, move || Err(Trouble::missing(reason)))
    }
}
