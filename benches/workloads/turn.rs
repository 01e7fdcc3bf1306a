//! The minimum of a loop's work: one ready byte.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::program::{self, Program};

pub const WORKLOAD: Workload =
    Workload { name: "turn", about: "turns of the loop in which one byte is ready on one socket", cases };

fn cases(quick: bool) -> Vec<Case> {
    let turns: u64 = if quick { 50_000 } else { 250_000 };
    let peer = |name, program, turns: u64| Peer::sampling(name, program, "turn", arguments([&turns]));
    let own = |name| peer(name, Program::Own(name), turns);
    vec![Case {
        title: "a turn that reads a byte and writes the next one".to_owned(),
        metrics: CPU_AND_RATE,
        peers: vec![
            own("mio"),
            own("twistor"),
            own("tokio"),
            own("calloop"),
            own("smol"),
            peer("libuv", program::LIBUV, turns),
            peer("asyncio", program::ASYNCIO, turns / 10).once(),
            peer("twisted", program::TWISTED, turns / 10).once(),
        ],
    }]
}
