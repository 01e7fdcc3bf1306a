//! One file per workload: its peers, their arguments, and its metrics.

mod bulk;
mod deferred;
mod echo;
mod fairness;
mod http_client;
mod http_server;
mod idle;
mod late_responses;
mod latency;
mod lateness;
mod programs;
mod remote_calls;
mod simulated_network;
mod timer_queues;
mod timers;
mod tls;
mod turn;
mod writers;

use crate::runner::case::{Peer, Workload};
use crate::runner::sample::{Metric, Unit};

pub const ALL: &[Workload] = &[
    deferred::WORKLOAD,
    timer_queues::WORKLOAD,
    timers::WORKLOAD,
    lateness::WORKLOAD,
    turn::WORKLOAD,
    remote_calls::WORKLOAD,
    echo::WORKLOAD,
    latency::WORKLOAD,
    bulk::WORKLOAD,
    tls::WORKLOAD,
    fairness::WORKLOAD,
    writers::WORKLOAD,
    idle::WORKLOAD,
    http_server::WORKLOAD,
    late_responses::WORKLOAD,
    http_client::WORKLOAD,
    simulated_network::WORKLOAD,
    programs::WORKLOAD,
];

/// Why twistor loses, where it does, by workload.
pub const REASONS: &[(&str, &str)] = &[
    (
        "deferred",
        "a Deferred can be cancelled and extended after it is made, so its first node costs more than a future that is polled once. Longer chains cost less.",
    ),
    (
        "timer_queues",
        "the ladder queue costs a check more than a heap alone while timers are few, and it sorts each timer once, where a wheel puts it into a bucket. It has no ticks, and gains with many timers.",
    ),
    (
        "timers",
        "`call_later` reads the clock, records its caller and boxes a closure. A `DelayQueue` stores values and runs nothing. libuv counts in milliseconds, so more timers are due together.",
    ),
    ("lateness", "Node cuts a delay of 5.3 ms to 5 ms, and a callback that runs early counts as not late."),
    ("turn", "each handler runs under a guard that catches panics and counts work."),
    (
        "remote_calls",
        "calls go through a locked queue, and each runs under a guard that catches panics. The channel of tokio has no lock.",
    ),
    (
        "echo",
        "monoio submits reads and writes through io_uring, without a system call for each. Other differences are smaller than the spread of the ratios.",
    ),
    ("bulk", "the differences are smaller than the spread of the ratios."),
    ("tls", "the difference is smaller than the spread of the ratios."),
    (
        "fairness",
        "calloop reads from each ready connection once per turn. twistor lets a connection use its whole share. Without the flood, the differences are smaller than the spread of the ratios.",
    ),
    (
        "late_responses",
        "the timers of tokio count in milliseconds, so more responses share a turn, and each is later: the rate is half that of twistor.",
    ),
    (
        "http_client",
        "a connection passes name lookup, the race of addresses and the pool, although it is used once.",
    ),
    (
        "programs",
        "a transport has a queue of unsent data, half-closes, time limits and log messages. The program on calloop reads from and writes to its sockets itself.",
    ),
];

/// CPU time and rate of an operation, for most workloads.
const CPU_AND_RATE: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "op/s", unit: Unit::PerSecond },
];

/// CPU time alone, for workloads that wait on purpose.
const CPU: &[Metric] = &[Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds }];

/// Arguments of a child.
fn arguments<const N: usize>(values: [&dyn ToString; N]) -> Vec<String> {
    values.iter().map(|value| value.to_string()).collect()
}

/// Returns `1 connection` or `2 connections`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Skips the peer if the kernel does not let this process use io_uring.
fn with_io_uring(peer: Peer) -> Peer {
    match monoio::utils::detect_uring() {
        true => peer,
        false => Peer::skipped(peer.name, "this process may not use io_uring"),
    }
}
