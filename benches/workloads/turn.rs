//! The minimum of a loop's work: one ready byte.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};

pub const WORKLOAD: Workload =
    Workload { name: "turn", about: "turns of the loop in which one byte is ready on one socket", cases };

fn cases(quick: bool) -> Vec<Case> {
    let turns: u64 = if quick { 50_000 } else { 250_000 };
    let peer =
        |name| Peer::new(name, move || child::sample(Core::Measured, name, "turn", &arguments([&turns])));
    vec![Case {
        title: format!("{turns} turns: wait, read the byte, write the next one into the other end"),
        metrics: CPU_AND_RATE,
        peers: vec![peer("mio"), peer("twistor"), peer("tokio"), peer("calloop")],
        slices: 4,
    }]
}
