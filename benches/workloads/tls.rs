//! Handshakes of TLS 1.3, and data through it.

use super::{CPU_AND_RATE, arguments};
use crate::peers::certificate;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "tls", about: "handshakes of TLS 1.3, and data through an echo server", cases };

const PER_MEBIBYTE: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/MiB", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "throughput", unit: Unit::MebibytesPerSecond },
];

fn cases(quick: bool) -> Vec<Case> {
    let milliseconds: u64 = if quick { 50 } else { 250 };
    let peer = |load: &'static str, name, program: Program| {
        Peer::new(name, move || -> Result<_, Trouble> {
            let files = certificate::files()?;
            let server = program.server(Core::Measured, "tls-echo", &files)?;
            let load_arguments = arguments([&server.address, &server.pid(), &files[0], &milliseconds]);
            Ok(child::sample(Core::Load, "load", load, &load_arguments)?)
        })
    };
    let peers = |load| {
        let own = |name, program| peer(load, name, Program::Own(program));
        vec![
            own("rustls on std, blocking", "rustls"),
            own("twistor", "twistor"),
            own("tokio-rustls", "tokio"),
            peer(load, "node (OpenSSL)", program::NODE).once(),
            peer(load, "asyncio (OpenSSL)", program::ASYNCIO).once(),
        ]
    };
    vec![
        Case {
            title: "full handshakes, one after another".to_owned(),
            metrics: CPU_AND_RATE,
            peers: peers("tls-handshakes"),
        },
        Case {
            title: "blocks of 64 KiB there and back on one connection".to_owned(),
            metrics: PER_MEBIBYTE,
            peers: peers("tls-bulk"),
        },
    ]
}
