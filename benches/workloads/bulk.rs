//! Bulk data through an echo server.

use super::arguments;
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core, Server};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "bulk", about: "bulk data through an echo server on TCP", cases };

const METRICS: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/MiB", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "throughput", unit: Unit::MebibytesPerSecond },
];

/// The same for all peers: the shared buffers of the others have this size, too.
const TOKIO_BUFFER: u64 = 256 * 1024;

/// The number of runs in a round, each a quarter of a second long.
const SLICES: usize = 8;

fn cases(_: bool) -> Vec<Case> {
    let milliseconds: u64 = 250;
    [1_u64, 8]
        .map(|connections| {
            let peer = |name| {
                Peer::new(name, move || {
                    let server = Server::start(Core::Measured, name, "echo", &arguments([&TOKIO_BUFFER]))?;
                    let load = arguments([&server.address, &server.pid(), &connections, &milliseconds]);
                    child::sample(Core::Load, "load", "bulk", &load)
                })
            };
            Case {
                title: format!(
                    "{connections} connections, each with up to 1 MiB on its way; the server's processor time"
                ),
                metrics: METRICS,
                peers: vec![peer("mio"), peer("twistor"), peer("tokio"), peer("calloop")],
                slices: SLICES,
            }
        })
        .into()
}
