//! HTTP servers that answer later.

use super::http_server::under_wrk;
use super::{CPU_AND_RATE, arguments};
use crate::runner::case::{Case, Peer, Workload};
use crate::runner::child::Core;
use crate::runner::program::{self, Program};

pub const WORKLOAD: Workload = Workload {
    name: "late_responses",
    about: "GET / that is answered a millisecond later, under wrk -t1 -c64",
    cases,
};

fn cases(_: bool) -> Vec<Case> {
    // The least that wrk can do.
    let seconds: u64 = 1;
    let peer = |name, program: Program| {
        Peer::new(name, move || {
            let body = arguments([&"Hello, world!"]);
            under_wrk(seconds, || program.server(Core::Measured, "late-responses", &body))
        })
    };
    let own = |name, program| peer(name, Program::Own(program));
    vec![Case {
        title: "64 connections, answered after 1 ms; per request".to_owned(),
        metrics: CPU_AND_RATE,
        peers: vec![
            own("mio, fixed bytes", "mio"),
            own("twistor", "twistor"),
            own("hyper on tokio", "hyper"),
            peer("node", program::NODE).once(),
            peer("aiohttp", program::AIOHTTP).once(),
            peer("twisted", program::TWISTED).once(),
        ],
    }]
}
