//! A thousand connections that are ready to be written to.

use super::arguments;
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload = Workload {
    name: "writers",
    about: "the longest turn while a thousand clients ask for 30 MB each and do not read",
    cases,
};

const METRICS: &[Metric] = &[Metric { key: "longest", title: "longest turn", unit: Unit::Nanoseconds }];

const CLIENTS: u64 = 1_000;
const BYTES: u64 = 30_000_000;

fn cases(quick: bool) -> Vec<Case> {
    let milliseconds: u64 = if quick { 500 } else { 1_500 };
    let peer = Peer::new("twistor", move || {
        child::sample(Core::Measured, "twistor", "writers", &arguments([&CLIENTS, &BYTES, &milliseconds]))
    });
    vec![Case {
        title: format!("{CLIENTS} clients that ask for 30 MB and do not read"),
        metrics: METRICS,
        peers: vec![peer],
    }]
}
