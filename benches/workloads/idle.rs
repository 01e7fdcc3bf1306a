//! The memory of an idle connection.

use super::arguments;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "idle", about: "user memory of an idle connection of an echo server", cases };

const METRICS: &[Metric] = &[Metric { key: "memory", title: "memory", unit: Unit::Bytes }];

fn cases(quick: bool) -> Vec<Case> {
    let connections: u64 = if quick { 500 } else { 10_000 };
    let peer = |name, program: Program, role: &'static str, buffer: u64| {
        Peer::new(name, move || -> Result<_, Trouble> {
            let server = program.server(Core::Measured, role, &arguments([&buffer]))?;
            let load = arguments([&server.address, &server.pid(), &connections]);
            Ok(child::sample(Core::Load, "load", "idle", &load)?)
        })
        // Memory does not vary between runs.
        .once()
    };
    let own = |name| peer(name, Program::Own(name), "echo", 0);
    vec![Case {
        title: format!("{connections} connections after one message; per connection"),
        metrics: METRICS,
        peers: vec![
            own("mio"),
            own("twistor"),
            peer("tokio, 1 KiB buffer", Program::Own("tokio"), "echo", 1024),
            peer("tokio, shared buffer", Program::Own("tokio"), "echo-shared", 0),
            own("calloop"),
            peer("smol, 1 KiB buffer", Program::Own("smol"), "echo", 1024),
            peer("libuv", program::LIBUV, "echo", 0),
            peer("node", program::NODE, "echo", 0),
            peer("asyncio", program::ASYNCIO, "echo", 0),
            peer("twisted", program::TWISTED, "echo", 0),
        ],
    }]
}
