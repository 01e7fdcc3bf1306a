//! Networks in memory: how many round trips a test runs in a second.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::program::Program;

pub const WORKLOAD: Workload =
    Workload { name: "simulated_network", about: "round trips through a network in memory", cases };

fn cases(quick: bool) -> Vec<Case> {
    let trips: u64 = if quick { 10_000 } else { 100_000 };
    let peer =
        |name, program| Peer::sampling(name, Program::Own(program), "simulated-network", arguments([&trips]));
    vec![Case {
        title: format!("{trips} round trips of 64 bytes, 1 to 10 ms each way"),
        metrics: CPU_AND_RATE,
        peers: vec![
            peer("std BinaryHeap of events", "std"),
            peer("twistor", "twistor"),
            peer("turmoil", "turmoil"),
        ],
    }]
}
