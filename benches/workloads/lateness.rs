//! The lateness of a single timer.

use super::arguments;
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload = Workload {
    name: "lateness",
    about: "how long after its deadline one timer runs, in an otherwise idle loop",
    cases,
};

const METRICS: &[Metric] = &[
    Metric { key: "late", title: "median late", unit: Unit::Nanoseconds },
    Metric { key: "late90", title: "90th late", unit: Unit::Nanoseconds },
];

fn cases(quick: bool) -> Vec<Case> {
    let times: u64 = if quick { 10 } else { 100 };
    [100_u64, 1_000, 5_300]
        .map(|delay| {
            let peer = |name, program| Peer::sampling(name, program, "lateness", arguments([&delay, &times]));
            let own = |name| peer(name, Program::Own(name));
            Case {
                title: format!("a timer after {delay} µs, in an idle loop"),
                metrics: METRICS,
                peers: vec![
                    peer("mio poll(timeout)", Program::Own("mio")),
                    own("twistor"),
                    own("tokio"),
                    own("calloop"),
                    own("smol"),
                    peer("libuv", program::LIBUV),
                    peer("node", program::NODE).once(),
                    peer("asyncio", program::ASYNCIO).once(),
                    peer("twisted", program::TWISTED).once(),
                ],
            }
        })
        .into()
}
