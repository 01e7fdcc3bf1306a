//! Bulk data through an echo server.

use super::counted;
use super::echo::servers;
use crate::runner::case::{Case, Workload};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "bulk", about: "bulk data through an echo server on TCP", cases };

const METRICS: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/MiB", unit: Unit::Nanoseconds },
    Metric { key: "rate", title: "throughput", unit: Unit::MebibytesPerSecond },
];

/// The same for all peers: the shared buffers of the others have this size, too.
const TOKIO_BUFFER: u64 = 256 * 1024;

fn cases(quick: bool) -> Vec<Case> {
    [1_u64, 8]
        .map(|connections| Case {
            title: format!("{}, up to 1 MiB in flight on each", counted(connections, "connection")),
            metrics: METRICS,
            peers: servers("bulk", TOKIO_BUFFER, connections, quick),
        })
        .into()
}
