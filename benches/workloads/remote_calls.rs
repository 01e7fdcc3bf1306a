//! Closures sent to the loop by another thread.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::Core;
use crate::runner::program::{self, Program};

pub const WORKLOAD: Workload =
    Workload { name: "remote_calls", about: "closures that another thread sends to the loop", cases };

fn cases(quick: bool) -> Vec<Case> {
    let calls: u64 = if quick { 100_000 } else { 500_000 };
    let round_trips: u64 = if quick { 2_000 } else { 10_000 };
    let peer = |name, program: Program, role: &'static str, number: u64| {
        Peer::new(name, move || program.sample(Core::Any, role, &arguments([&number])))
    };
    let own = |name, program, role, number| peer(name, Program::Own(program), role, number);
    vec![
        Case {
            title: "calls, as fast as the other thread sends them".to_owned(),
            metrics: CPU_AND_RATE,
            peers: vec![
                own("mio, std channel", "mio", "remote-flood", calls),
                own("twistor", "twistor", "remote-flood", calls),
                own("tokio mpsc", "tokio", "remote-flood", calls),
                own("tokio spawn", "tokio", "remote-spawn-flood", calls),
                own("calloop channel", "calloop", "remote-flood", calls),
                peer("libuv", program::LIBUV, "remote-flood", calls),
                peer("asyncio", program::ASYNCIO, "remote-flood", calls / 10).once(),
                peer("twisted", program::TWISTED, "remote-flood", calls / 10).once(),
            ],
        },
        Case {
            title: "calls, each sent after the answer to the one before".to_owned(),
            metrics: CPU_AND_RATE,
            peers: vec![
                own("mio, std channel", "mio", "remote-ping", round_trips),
                own("twistor", "twistor", "remote-ping", round_trips),
                own("tokio mpsc", "tokio", "remote-ping", round_trips),
                own("tokio spawn", "tokio", "remote-spawn-ping", round_trips),
                own("calloop channel", "calloop", "remote-ping", round_trips),
                peer("libuv", program::LIBUV, "remote-ping", round_trips),
                peer("asyncio", program::ASYNCIO, "remote-ping", round_trips / 10).once(),
                peer("twisted", program::TWISTED, "remote-ping", round_trips / 10).once(),
            ],
        },
    ]
}
