//! Timers that fire, expire, are cancelled, and are reset; and their memory.

use super::{CPU, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::{self, Core};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Metric, Unit};

pub const WORKLOAD: Workload =
    Workload { name: "timers", about: "timers inserted and fired, cancelled, reset; their memory", cases };

const EXPIRY: &[Metric] = &[
    Metric { key: "cpu", title: "cpu/op", unit: Unit::Nanoseconds },
    Metric { key: "late", title: "median late", unit: Unit::Nanoseconds },
    Metric { key: "late99", title: "99th late", unit: Unit::Nanoseconds },
    Metric { key: "turns", title: "turns", unit: Unit::Count },
];

const MEMORY: &[Metric] = &[
    Metric { key: "memory", title: "pending", unit: Unit::Bytes },
    Metric { key: "left", title: "cancelled", unit: Unit::Bytes },
];

fn cases(quick: bool) -> Vec<Case> {
    let few: u64 = 10_000;
    let many: u64 = if quick { 100_000 } else { 1_000_000 };
    // Long enough for the slowest peer to insert all timers before the first is due. A peer fails if it was not.
    let lead: u64 = if quick { 500 } else { 2_000 };
    let (from, over): (u64, u64) = if quick { (250, 250) } else { (1_000, 2_000) };
    let rounds: u64 = if quick { 10 } else { 100 };
    let resets = many / 10;
    vec![
        case(
            format!("{many} timers that expire over {from}–{} ms; per timer", from + over),
            EXPIRY,
            "expire",
            arguments([&many, &from, &over, &1]),
        ),
        case(
            format!("{many} timers that expire within 100 ms; per timer"),
            EXPIRY,
            "expire",
            arguments([&many, &0, &100, &1]),
        ),
        case(
            format!("1000 timers that expire within 10 ms; per timer"),
            EXPIRY,
            "expire",
            arguments([&1_000, &0, &10, &rounds]),
        ),
        with_calloop(
            case(
                format!("{few} timers inserted, then all run; per timer"),
                CPU,
                "fire",
                arguments([&few, &300]),
            ),
            Ok(("timers-fire", arguments([&few, &300]))),
        ),
        with_calloop(
            case(
                format!("{many} timers inserted, then all run; per timer"),
                CPU,
                "fire",
                arguments([&many, &lead]),
            ),
            Err("it inserts in O(n), which would take hours here; see the table before"),
        ),
        with_calloop(
            case(
                format!("{many} timers inserted, then all cancelled; per timer"),
                CPU,
                "cancel",
                arguments([&many, &many]),
            ),
            Err("it cancels in O(n), which would take hours here; see the table after the next"),
        ),
        case(
            format!("1000 timers inserted, then all cancelled; per timer"),
            CPU,
            "cancel",
            arguments([&many, &1_000]),
        ),
        with_calloop(
            case(
                format!("one cancelled, one inserted, while {few} wait; per pair"),
                CPU,
                "churn",
                arguments([&few, &many]),
            ),
            Ok(("timers-churn", arguments([&few, &(many / 50)]))),
        ),
        case(
            format!("resets of {resets} timers that wait; per reset"),
            CPU,
            "reset",
            arguments([&resets, &many]),
        ),
        case(
            format!("memory of {many} timers, and once cancelled; per timer"),
            MEMORY,
            "memory",
            arguments([&many]),
        ),
    ]
}

fn case(title: String, metrics: &'static [Metric], action: &str, numbers: Vec<String>) -> Case {
    // Memory does not vary between runs.
    let is_memory = action == "memory";
    let timers = |name, program: Program| {
        let role = format!("timers-{action}");
        // An interpreter would take minutes for all of them.
        let mut numbers = numbers.clone();
        if program.is_interpreted() {
            for number in numbers.iter_mut().take(if action == "expire" { 1 } else { 2 }) {
                let few = number.parse::<u64>().map_or(0, |number| number / 10);
                *number = if few < 500 { number.clone() } else { few.to_string() };
            }
        }
        let peer = Peer::new(name, move || program.sample(Core::Measured, &role, &numbers));
        if program.is_interpreted() || is_memory { peer.once() } else { peer }
    };
    let tokio = if matches!(action, "fire" | "expire") { "tokio spawn+sleep" } else { "tokio sleep" };
    let delay_queue = (format!("delay-queue-{action}"), numbers.clone());
    let queue = Peer::new("tokio DelayQueue", move || {
        child::sample(Core::Measured, "tokio", &delay_queue.0, &delay_queue.1)
    });
    let mut peers = vec![
        timers("std BinaryHeap of closures", Program::Own("std")),
        timers("twistor", Program::Own("twistor")),
        timers(tokio, Program::Own("tokio")),
        if is_memory { queue.once() } else { queue },
        timers("libuv", program::LIBUV),
    ];
    peers.push(match action {
        "reset" => Peer::skipped("node", "its timers cannot be given another delay"),
        "memory" => Peer::skipped("node", "the time of its garbage collection is not under control"),
        _ => timers("node, a tenth of the timers", program::NODE),
    });
    peers.push(timers("asyncio, a tenth of the timers", program::ASYNCIO));
    peers.push(timers("twisted, a tenth of the timers", program::TWISTED));
    Case { title, metrics, peers }
}

fn with_calloop(mut case: Case, calloop: Result<(&'static str, Vec<String>), &'static str>) -> Case {
    case.peers.push(match calloop {
        Ok((role, numbers)) => Peer::sampling("calloop", Program::Own("calloop"), role, numbers),
        Err(reason) => Peer::skipped("calloop", reason),
    });
    case
}
