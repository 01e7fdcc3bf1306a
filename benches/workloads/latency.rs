//! Percentiles of a round trip at half load.

use super::arguments;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core, Server};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Sample, Unit};

pub const WORKLOAD: Workload = Workload {
    name: "latency",
    about: "percentiles of a round trip through an echo server at half of its maximum rate",
    cases,
};

const METRICS: &[Metric] = &[
    Metric { key: "p99", title: "99th percentile", unit: Unit::Nanoseconds },
    Metric { key: "median", title: "median", unit: Unit::Nanoseconds },
    Metric { key: "p999", title: "99.9th percentile", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "trips/s", unit: Unit::PerSecond },
];

const TOKIO_BUFFER: u64 = 4096;
const CONNECTIONS: u64 = 50;

fn cases(quick: bool) -> Vec<Case> {
    let milliseconds: u64 = if quick { 100 } else { 500 };
    let peer = |name, program: Program| Peer::new(name, move || at_half_of_saturation(program, milliseconds));
    let own = |name| peer(name, Program::Own(name));
    vec![Case {
        title: format!("{CONNECTIONS} connections, at half of each server's maximum rate"),
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
    }]
}

/// Measures the maximum rate of the server, and then the latency at half of it.
fn at_half_of_saturation(program: Program, milliseconds: u64) -> Result<Sample, Trouble> {
    let server = program.server(Core::Measured, "echo", &arguments([&TOKIO_BUFFER]))?;
    let load = arguments([&server.address, &server.pid(), &CONNECTIONS, &(milliseconds / 2)]);
    let saturation = child::sample(Core::Load, "load", "echo", &load)?;
    let rate = saturation.get("rate").ok_or("no rate".to_owned())? / 2.0;
    drop(server);
    let server: Server = program.server(Core::Measured, "echo", &arguments([&TOKIO_BUFFER]))?;
    let load = arguments([&server.address, &CONNECTIONS, &(rate as u64), &milliseconds]);
    Ok(child::sample(Core::Load, "load", "latency", &load)?.with("rate", rate))
}
