//! Closures sent to the loop by another thread.

use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};

pub const WORKLOAD: Workload =
    Workload { name: "remote_calls", about: "closures that another thread sends to the loop", cases };

const SLICES: usize = 6;

fn cases(quick: bool) -> Vec<Case> {
    let calls: u64 = if quick { 100_000 } else { 500_000 };
    let round_trips: u64 = if quick { 2_000 } else { 10_000 };
    let peer = |name, program: &'static str, role: &'static str, number: u64| {
        Peer::new(name, move || child::sample(Core::Any, program, role, &arguments([&number])))
    };
    vec![
        Case {
            title: format!(
                "{calls} calls, sent as fast as the other thread can; both threads' processor time"
            ),
            metrics: CPU_AND_RATE,
            peers: vec![
                peer("mio, std channel", "mio", "remote-flood", calls),
                peer("twistor", "twistor", "remote-flood", calls),
                peer("tokio mpsc", "tokio", "remote-flood", calls),
                peer("tokio spawn", "tokio", "remote-spawn-flood", calls),
                peer("calloop channel", "calloop", "remote-flood", calls),
            ],
            slices: SLICES,
        },
        Case {
            title: format!("{round_trips} calls, each sent when the one before was answered"),
            metrics: CPU_AND_RATE,
            peers: vec![
                peer("mio, std channel", "mio", "remote-ping", round_trips),
                peer("twistor", "twistor", "remote-ping", round_trips),
                peer("tokio mpsc", "tokio", "remote-ping", round_trips),
                peer("tokio spawn", "tokio", "remote-spawn-ping", round_trips),
                peer("calloop channel", "calloop", "remote-ping", round_trips),
            ],
            slices: SLICES,
        },
    ]
}
