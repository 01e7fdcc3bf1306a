//! HTTP servers under wrk.

use super::CPU_AND_RATE;
use super::arguments;
use crate::peers::nginx;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core, Running, Server};
use crate::runner::program::{self, Program};
use crate::runner::sample::{Sample, processor_time_of};

pub const WORKLOAD: Workload =
    Workload { name: "http_server", about: "GET / of 13 bytes under wrk -t1 -c64", cases };

const BODY: &str = "Hello, world!";

fn cases(_: bool) -> Vec<Case> {
    // The minimum that wrk accepts.
    let seconds: u64 = 1;
    let peer = |name, program: Program| {
        Peer::new(name, move || {
            under_wrk(seconds, || program.server(Core::Measured, "http-server", &arguments([&BODY])))
        })
    };
    let own = |name, program| peer(name, Program::Own(program));
    vec![Case {
        title: "64 connections, keep-alive; per request".to_owned(),
        metrics: CPU_AND_RATE,
        peers: vec![
            own("mio, fixed bytes", "mio"),
            own("twistor", "twistor"),
            own("hyper on tokio", "hyper"),
            Peer::new("nginx, one worker", move || under_wrk(seconds, || nginx::start(BODY))),
            peer("node", program::NODE).once(),
            peer("aiohttp", program::AIOHTTP).once(),
            peer("twisted", program::TWISTED).once(),
        ],
    }]
}

/// One load for all of them; its processor is not counted.
pub fn under_wrk<E>(seconds: u64, start: impl FnOnce() -> Result<Server, E>) -> Result<Sample, Trouble>
where
    Trouble: From<E>,
{
    if !child::is_installed("wrk") {
        return Err(Trouble::missing("wrk is not installed"));
    }
    let server = start()?;
    let before = processor_time_of(server.pid())?;
    let url = format!("http://{}/", server.address);
    let text = Running::start(
        Core::Load,
        "exec",
        "wrk",
        &arguments([&"-t1", &"-c64", &format!("-d{seconds}s"), &url]),
    )?
    .all()?;
    let cpu = processor_time_of(server.pid())?.saturating_sub(before);
    let (requests, rate) = figures_of_wrk(&text).ok_or(format!("unexpected output of wrk: {text}"))?;
    Ok(Sample::default().with("cpu", cpu.as_nanos() as f64 / requests).with("rate", rate))
}

/// Returns wrk's number of requests and its rate. `None` if any request failed.
fn figures_of_wrk(text: &str) -> Option<(f64, f64)> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let number_in = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let requests = text.lines().find(|line| line.contains(" requests in ")).and_then(number_in)?;
    let rate = text.lines().find(|line| line.starts_with("Requests/sec:")).and_then(number_in)?;
    Some((requests, rate))
}
