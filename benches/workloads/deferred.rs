//! Chains of callbacks, beside what the standard library has for them.

use super::{CPU, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};

pub const WORKLOAD: Workload =
    Workload { name: "deferred", about: "chains of ten callbacks, pending and fired", cases };

const SLICES: usize = 8;

fn cases(quick: bool) -> Vec<Case> {
    let times: u64 = if quick { 100_000 } else { 1_000_000 };
    let peer = |name, program: &'static str, role: &'static str| {
        Peer::new(name, move || child::sample(Core::Measured, program, role, &arguments([&times])))
    };
    vec![
        Case {
            title: "ten callbacks on a u64, each with a captured u64: made, fired, dropped; per chain"
                .to_owned(),
            metrics: CPU,
            peers: vec![
                peer("std Vec of boxed closures", "std", "deferred-closures"),
                peer("twistor", "twistor", "deferred-pending"),
                peer("twistor, written out", "twistor", "deferred-written-out"),
                peer("std boxed futures", "std", "deferred-futures"),
            ],
            slices: SLICES,
        },
        Case {
            title: "the same ten added to a chain that has fired; per chain".to_owned(),
            metrics: CPU,
            peers: vec![
                peer("plain additions", "std", "deferred-calls"),
                peer("twistor", "twistor", "deferred-fired"),
            ],
            slices: SLICES,
        },
        Case {
            title: "without callbacks: made, fired, dropped".to_owned(),
            metrics: CPU,
            peers: vec![
                peer("std one boxed closure", "std", "deferred-closure"),
                peer("twistor", "twistor", "deferred-bare"),
            ],
            slices: SLICES,
        },
    ]
}
