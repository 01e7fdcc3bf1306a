//! Chains of callbacks, compared with boxed closures and futures.

use super::{CPU, arguments, counted};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program;

pub const WORKLOAD: Workload =
    Workload { name: "deferred", about: "chains of one, three and ten callbacks, pending and fired", cases };

fn cases(quick: bool) -> Vec<Case> {
    let times: u64 = if quick { 100_000 } else { 1_000_000 };
    let peer = |name, length: u64, program: &'static str, role: &'static str| {
        Peer::new(name, move || child::sample(Core::Measured, program, role, &arguments([&times, &length])))
    };
    let twisted = |length: u64, role| {
        let arguments = arguments([&(times / 10), &length]);
        Peer::sampling("twisted", program::TWISTED, role, arguments).once()
    };
    let case = |title: &str, peers| Case { title: title.to_owned(), metrics: CPU, peers };
    let pending = |length| {
        let mut peers = vec![
            peer("std Vec of boxed closures", length, "std", "deferred-closures"),
            peer("twistor", length, "twistor", "deferred-pending"),
            peer("std boxed futures", length, "std", "deferred-futures"),
        ];
        if length == 10 {
            peers.push(peer("twistor, written out", length, "twistor", "deferred-written-out"));
        }
        peers.push(twisted(length, "deferred-pending"));
        case(&format!("a chain of {}, fired afterwards; per chain", counted(length, "callback")), peers)
    };
    vec![
        pending(1),
        pending(3),
        pending(10),
        case(
            "10 callbacks added to a chain that has fired; per chain",
            vec![
                peer("plain additions", 10, "std", "deferred-calls"),
                peer("twistor", 10, "twistor", "deferred-fired"),
                twisted(10, "deferred-fired"),
            ],
        ),
        case(
            "a Deferred without callbacks, fired; per Deferred",
            vec![
                peer("std one boxed closure", 0, "std", "deferred-closure"),
                peer("twistor", 0, "twistor", "deferred-bare"),
                twisted(0, "deferred-bare"),
            ],
        ),
    ]
}
