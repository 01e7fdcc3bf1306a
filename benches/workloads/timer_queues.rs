//! Candidates for the timer queue, without a loop, at three sizes.

use super::{CPU, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};

pub const WORKLOAD: Workload =
    Workload { name: "timer_queues", about: "structures for timers, by themselves", cases };

fn cases(quick: bool) -> Vec<Case> {
    let timers: u64 = if quick { 100_000 } else { 1_000_000 };
    let sizes: [u64; 3] = [100, 10_000, if quick { 100_000 } else { 1_000_000 }];
    let case = |done: &str, action: &'static str, size: u64| {
        let peer = |name, structure: &str| {
            let role = format!("{structure}-{action}");
            Peer::new(name, move || {
                child::sample(Core::Measured, "timer-queues", &role, &arguments([&size, &timers]))
            })
        };
        Case {
            title: format!("{size} timers inserted, then {done}; per timer"),
            metrics: CPU,
            peers: vec![
                peer("std BTreeMap", "map"),
                peer("twistor, ladder queue", "ladder"),
                peer("indexed 4-way heap", "indexed-heap"),
                peer("hierarchical wheel", "wheel"),
            ],
        }
    };
    let fire = sizes.map(|size| case("fired", "fire", size));
    let cancel = sizes.map(|size| case("cancelled", "cancel", size));
    fire.into_iter().chain(cancel).collect()
}
