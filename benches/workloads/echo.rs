//! Round trips through an echo server.

use super::{CPU_AND_RATE, arguments, counted};
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program::{self, Program};

pub const WORKLOAD: Workload =
    Workload { name: "echo", about: "round trips of 64 bytes through an echo server on TCP", cases };

/// The buffer of a task. The servers without tasks share one buffer among all connections.
const TOKIO_BUFFER: u64 = 4096;

fn cases(quick: bool) -> Vec<Case> {
    [1_u64, 50, 1_000]
        .map(|connections| Case {
            title: format!("{}, one message in flight on each", counted(connections, "connection")),
            metrics: CPU_AND_RATE,
            peers: servers("echo", TOKIO_BUFFER, connections, quick),
        })
        .into()
}

/// The echo servers under one load generator. `buffer` is the buffer of a task.
pub fn servers(load: &'static str, buffer: u64, connections: u64, quick: bool) -> Vec<Peer> {
    let milliseconds: u64 = if quick { 50 } else { 250 };
    let peer = |name, program: Program| {
        Peer::new(name, move || -> Result<_, Trouble> {
            let server = program.server(Core::Measured, "echo", &arguments([&buffer]))?;
            let numbers = arguments([&server.address, &server.pid(), &connections, &milliseconds]);
            Ok(child::sample(Core::Load, "load", load, &numbers)?)
        })
    };
    let own = |name| peer(name, Program::Own(name));
    vec![
        own("mio"),
        own("twistor"),
        own("tokio"),
        own("calloop"),
        own("smol"),
        super::with_io_uring(own("monoio")),
        peer("libuv", program::LIBUV),
        peer("node", program::NODE).once(),
        peer("asyncio", program::ASYNCIO).once(),
        peer("twisted", program::TWISTED).once(),
    ]
}
