//! A thousand connections that ping, and one that floods.

use super::arguments;
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core, Running, Server};
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
const PINGERS: u64 = 1_000;

fn cases(quick: bool) -> Vec<Case> {
    let milliseconds: u64 = if quick { 500 } else { 3_000 };
    [false, true]
        .map(|floods| {
            let peer = |name| {
                Peer::new(name, move || {
                    let server = Server::start(Core::Measured, name, "echo", &arguments([&TOKIO_BUFFER]))?;
                    // It runs until it is dropped. It shares the core of the pings, and yields to them.
                    let flood = arguments([&server.address, &server.pid(), &1, &60_000]);
                    let _flood =
                        floods.then(|| Running::start(Core::Load, "load", "flood", &flood)).transpose()?;
                    let load = arguments([&server.address, &PINGERS, &milliseconds]);
                    child::sample(Core::Load, "load", "ping", &load)
                })
            };
            let beside = if floods { "together with one that sends as much as it can" } else { "alone" };
            Case {
                title: format!("{PINGERS} connections that each ping ten times a second, {beside}"),
                metrics: METRICS,
                peers: vec![peer("mio"), peer("twistor"), peer("tokio"), peer("calloop")],
                slices: 1,
            }
        })
        .into()
}
