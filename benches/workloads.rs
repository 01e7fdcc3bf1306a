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
pub const REASONS: &[(&str, &str)] = &[];

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

/// Skips the peer if the kernel does not let this process use io_uring.
fn with_io_uring(peer: Peer) -> Peer {
    match monoio::utils::detect_uring() {
        true => peer,
        false => Peer::skipped(peer.name, "this process may not use io_uring"),
    }
}
