//! The cost of an idle connection.

use super::arguments;
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core, Server};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "idle", about: "user memory of an idle connection of an echo server", cases };

const METRICS: &[Metric] = &[Metric { key: "memory", title: "memory", unit: Unit::Bytes }];

fn cases(quick: bool) -> Vec<Case> {
    let connections: u64 = if quick { 2_000 } else { 10_000 };
    let peer = |name, program: &'static str, role: &'static str, buffer: u64| {
        Peer::new(name, move || {
            let server = Server::start(Core::Measured, program, role, &arguments([&buffer]))?;
            child::sample(
                Core::Load,
                "load",
                "idle",
                &arguments([&server.address, &server.pid(), &connections]),
            )
        })
    };
    vec![Case {
        title: format!(
            "{connections} connections, each of which echoed one message; the server's anonymous memory, per connection"
        ),
        metrics: METRICS,
        peers: vec![
            peer("mio", "mio", "echo", 0),
            peer("twistor", "twistor", "echo", 0),
            peer("tokio, 1 KiB buffer", "tokio", "echo", 1024),
            peer("tokio, shared buffer", "tokio", "echo-shared", 0),
            peer("calloop", "calloop", "echo", 0),
            super::http_client::twisted("twisted", move |python, folder| {
                let server = Server::start(
                    Core::Measured,
                    "exec",
                    python,
                    &arguments([&format!("{folder}/echo.py")]),
                )?;
                child::sample(
                    Core::Load,
                    "load",
                    "idle",
                    &arguments([&server.address, &server.pid(), &connections]),
                )
            }),
        ],
        slices: 1,
    }]
}
