//! A million timers, fired or cancelled.

use super::{CPU, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};

pub const WORKLOAD: Workload =
    Workload { name: "timers", about: "timers inserted and fired, inserted and cancelled", cases };

fn cases(quick: bool) -> Vec<Case> {
    let few: u64 = 10_000;
    let many: u64 = if quick { 100_000 } else { 1_000_000 };
    // Long enough for the slowest peer to have inserted all of them before the first is due: it says so if it was not.
    let lead: u64 = if quick { 500 } else { 4_000 };
    let peer = |name, program: &'static str, role: &'static str, numbers: Vec<String>| {
        Peer::new(name, move || child::sample(Core::Measured, program, role, &numbers))
    };
    let fire_few = || arguments([&few, &500]);
    let fire = || arguments([&many, &lead]);
    let cancel = || arguments([&many]);
    let churn = || arguments([&few, &many]);
    vec![
        Case {
            title: format!("insert and fire, {few} timers in random order of their deadlines; per timer"),
            metrics: CPU,
            peers: vec![
                peer("std BTreeMap of closures", "std", "timers-fire", fire_few()),
                peer("twistor", "twistor", "timers-fire", fire_few()),
                peer("tokio spawn+sleep", "tokio", "timers-fire", fire_few()),
                peer("tokio DelayQueue", "tokio", "delay-queue-fire", fire_few()),
                peer("calloop", "calloop", "timers-fire", fire_few()),
            ],
            slices: 3,
        },
        Case {
            title: format!("insert and fire, {many} timers in random order of their deadlines; per timer"),
            metrics: CPU,
            peers: vec![
                peer("std BTreeMap of closures", "std", "timers-fire", fire()),
                peer("twistor", "twistor", "timers-fire", fire()),
                peer("tokio spawn+sleep", "tokio", "timers-fire", fire()),
                peer("tokio DelayQueue", "tokio", "delay-queue-fire", fire()),
                Peer::skipped(
                    "calloop",
                    "it inserts in O(n), which would take hours here; see the table before",
                ),
            ],
            slices: 2,
        },
        Case {
            title: format!("insert and cancel, {many} timers, cancelled in random order; per timer"),
            metrics: CPU,
            peers: vec![
                peer("std BTreeMap of closures", "std", "timers-cancel", cancel()),
                peer("twistor", "twistor", "timers-cancel", cancel()),
                peer("tokio sleep", "tokio", "timers-cancel", cancel()),
                peer("tokio DelayQueue", "tokio", "delay-queue-cancel", cancel()),
                Peer::skipped(
                    "calloop",
                    "it cancels in O(n), which would take hours here; see the next table",
                ),
            ],
            slices: 3,
        },
        Case {
            title: format!("one cancelled and one inserted while {few} wait; per pair"),
            metrics: CPU,
            peers: vec![
                peer("std BTreeMap of closures", "std", "timers-churn", churn()),
                peer("twistor", "twistor", "timers-churn", churn()),
                peer("tokio sleep", "tokio", "timers-churn", churn()),
                peer("tokio DelayQueue", "tokio", "delay-queue-churn", churn()),
                peer("calloop", "calloop", "timers-churn", arguments([&few, &(many / 50)])),
            ],
            slices: 4,
        },
    ]
}
