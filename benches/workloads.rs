//! The workloads, one file each: the peers that take part, their arguments, and the figures.

mod bulk;
mod deferred;
mod echo;
mod fairness;
mod http_client;
mod http_server;
mod idle;
mod lateness;
mod remote_calls;
mod timer_queues;
mod timers;
mod turn;
mod writers;

use crate::runner::case::Workload;
use crate::runner::sample::{Metric, Unit};

pub const ALL: &[Workload] = &[
    deferred::WORKLOAD,
    timer_queues::WORKLOAD,
    timers::WORKLOAD,
    lateness::WORKLOAD,
    turn::WORKLOAD,
    remote_calls::WORKLOAD,
    echo::WORKLOAD,
    bulk::WORKLOAD,
    fairness::WORKLOAD,
    writers::WORKLOAD,
    idle::WORKLOAD,
    http_server::WORKLOAD,
    http_client::WORKLOAD,
];

/// Processor time and rate of an operation, the figures of most workloads.
const CPU_AND_RATE: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "op/s", unit: Unit::PerSecond },
];

/// Only processor time, for a workload that waits on purpose.
const CPU: &[Metric] = &[Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds }];

/// Arguments of a child.
fn arguments<const N: usize>(values: [&dyn ToString; N]) -> Vec<String> {
    values.iter().map(|value| value.to_string()).collect()
}
