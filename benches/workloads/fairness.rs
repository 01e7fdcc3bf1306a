//! A thousand connections that ping, and one that floods.

use super::arguments;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core, Running};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload = Workload {
    name: "fairness",
    about: "how long a ping takes through an echo server, alone and together with a connection that floods",
    cases,
};

const METRICS: &[Metric] = &[
    Metric { key: "p99", title: "99th percentile", unit: Unit::Nanoseconds },
    Metric { key: "median", title: "median", unit: Unit::Nanoseconds },
    Metric { key: "most", title: "longest", unit: Unit::Nanoseconds },
];

/// The same for all peers, as for bulk data.
const TOKIO_BUFFER: u64 = 256 * 1024;

fn cases(quick: bool) -> Vec<Case> {
    let pingers: u64 = if quick { 200 } else { 1_000 };
    let milliseconds: u64 = if quick { 200 } else { 500 };
    [false, true]
        .map(|floods| {
            let peer = |name, program: Program| {
                Peer::new(name, move || -> Result<_, Trouble> {
                    let server = program.server(Core::Measured, "echo", &arguments([&TOKIO_BUFFER]))?;
                    // Runs until dropped. It shares the core of the pings, at a lower priority.
                    let flood = arguments([&server.address, &server.pid(), &1, &60_000]);
                    let _flood =
                        floods.then(|| Running::start(Core::Load, "load", "flood", &flood)).transpose()?;
                    let load = arguments([&server.address, &pingers, &milliseconds]);
                    Ok(child::sample(Core::Load, "load", "ping", &load)?)
                })
            };
            let own = |name| peer(name, Program::Own(name));
            let beside = if floods { "beside a flood" } else { "alone" };
            Case {
                title: format!("{pingers} connections that ping ten times a second, {beside}"),
                metrics: METRICS,
                peers: vec![
                    own("mio"),
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
