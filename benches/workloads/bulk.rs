//! Bulk data through an echo server.

use super::arguments;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program::{self, Program};
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
const SLICES: usize = 4;

fn cases(_: bool) -> Vec<Case> {
    let milliseconds: u64 = 250;
    [1_u64, 8]
        .map(|connections| {
            let peer = |name, program: Program| {
                Peer::new(name, move || -> Result<_, Trouble> {
                    let server = program.server(Core::Measured, "echo", &arguments([&TOKIO_BUFFER]))?;
                    let load = arguments([&server.address, &server.pid(), &connections, &milliseconds]);
                    Ok(child::sample(Core::Load, "load", "bulk", &load)?)
                })
            };
            let own = |name| peer(name, Program::Own(name));
            Case {
                title: format!(
                    "{connections} connections, each with up to 1 MiB on its way; the server's processor time"
                ),
                metrics: METRICS,
                peers: vec![
                    own("mio"),
                    own("twistor"),
                    own("tokio"),
                    own("calloop"),
                    own("smol"),
                    super::with_io_uring(own("monoio")),
                    peer("libuv", program::LIBUV),
                    peer("node", program::NODE).once_a_round(),
                    peer("asyncio", program::ASYNCIO).once_a_round(),
                    peer("twisted", program::TWISTED).once_a_round(),
                ],
                slices: SLICES,
            }
        })
        .into()
}
