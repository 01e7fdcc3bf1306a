//! HTTP clients fetching many small pages.

use super::{CPU_AND_RATE, arguments};
use crate::peers::PAGE;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{Core, Server};
use crate::runner::program::{self, Program};

pub const WORKLOAD: Workload =
    Workload { name: "http_client", about: "pages of 1 KiB fetched, 50 at a time and one at a time", cases };

const IN_FLIGHT: u64 = 50;

/// Blocking clients have one request in flight per thread, so they are compared one at a time.
const ONE_AT_A_TIME: u64 = 1;

fn cases(quick: bool) -> Vec<Case> {
    let pages: u64 = if quick { 1_000 } else { 5_000 };
    [(IN_FLIGHT, true), (IN_FLIGHT, false), (ONE_AT_A_TIME, true), (ONE_AT_A_TIME, false)]
        .map(|(in_flight, keep_alive)| {
            let peer = |name, program: Program| {
                Peer::new(name, move || -> Result<_, Trouble> {
                    // A new port for each run: the TIME_WAIT sockets of one run would slow down the next.
                    let role = if keep_alive { "http-server" } else { "http-server-closing" };
                    let server = Server::start(Core::Load, "mio", role, &["x".repeat(PAGE)])?;
                    let pages = if program.is_interpreted() { pages / 5 } else { pages };
                    let numbers = arguments([&server.address, &pages, &in_flight, &u8::from(keep_alive)]);
                    program.sample(Core::Measured, "http-client", &numbers)
                })
            };
            let own = |name, program| peer(name, Program::Own(program));
            let mut peers = vec![
                own("mio, bare", "mio"),
                own("twistor", "twistor"),
                own("hyper-util on tokio", "hyper"),
                own("reqwest on tokio", "reqwest"),
                own("libcurl multi", "libcurl"),
            ];
            if in_flight == ONE_AT_A_TIME {
                peers.push(own("ureq", "ureq"));
                peers.push(match keep_alive {
                    true => Peer::skipped("attohttpc", "it keeps no connections"),
                    false => own("attohttpc", "attohttpc"),
                });
            }
            peers.push(peer("node", program::NODE).once());
            peers.push(peer("aiohttp", program::AIOHTTP).once());
            peers.push(peer("twisted Agent", program::TWISTED).once());
            Case {
                title: format!(
                    "{pages} pages, {}, {}; per page",
                    if in_flight == ONE_AT_A_TIME {
                        "one at a time".to_owned()
                    } else {
                        format!("{in_flight} in flight")
                    },
                    if keep_alive { "keep-alive" } else { "a connection for each" }
                ),
                metrics: CPU_AND_RATE,
                peers,
            }
        })
        .into()
}
