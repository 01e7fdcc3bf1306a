//! One file a workload: which peers take part, with what, and what is told of them.

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

/// Processor time and rate of an operation: what most workloads tell.
const CPU_AND_RATE: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "op/s", unit: Unit::PerSecond },
];

/// Processor time alone, where a workload waits on purpose.
const CPU: &[Metric] = &[Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds }];

/// Arguments of a child.
fn arguments<const N: usize>(values: [&dyn ToString; N]) -> Vec<String> {
    values.iter().map(|value| value.to_string()).collect()
}
