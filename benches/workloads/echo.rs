//! Round trips through an echo server.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core, Server};

pub const WORKLOAD: Workload =
    Workload { name: "echo", about: "round trips of 64 bytes through an echo server on TCP", cases };

/// The size of a tokio task's buffer. The other peers share one buffer among all connections.
const TOKIO_BUFFER: u64 = 4096;

/// The number of runs in a round, each a quarter of a second long.
const SLICES: usize = 8;

fn cases(_: bool) -> Vec<Case> {
    let milliseconds: u64 = 250;
    [1_u64, 50, 1_000]
        .map(|connections| {
            let peer = |name| {
                Peer::new(name, move || {
                    let server = Server::start(Core::Measured, name, "echo", &arguments([&TOKIO_BUFFER]))?;
                    let load = arguments([&server.address, &server.pid(), &connections, &milliseconds]);
                    child::sample(Core::Load, "load", "echo", &load)
                })
            };
            Case {
                title: format!(
                    "{connections} connections, each with one message on its way; the server's processor time"
                ),
                metrics: CPU_AND_RATE,
                peers: vec![peer("mio"), peer("twistor"), peer("tokio"), peer("calloop")],
                slices: SLICES,
            }
        })
        .into()
}
