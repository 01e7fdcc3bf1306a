//! HTTP clients fetching many small pages.

use super::{CPU_AND_RATE, arguments};
use crate::peers::PAGE;
use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::child::{self, Core, Server};
use crate::runner::sample::Sample;

pub const WORKLOAD: Workload =
    Workload { name: "http_client", about: "pages of 1 KiB fetched with 50 requests in flight", cases };

const IN_FLIGHT: u64 = 50;

fn cases(quick: bool) -> Vec<Case> {
    let pages: u64 = if quick { 2_000 } else { 5_000 };
    [true, false]
        .map(|keep_alive| {
            let fetch = move |program: &str, role: &str, first: &[&str]| {
                // Each run has a new server on a new port, so that no run meets the TIME_WAIT sockets of another.
                let body = "x".repeat(PAGE);
                let server = Server::start(
                    Core::Load,
                    "mio",
                    if keep_alive { "http-server" } else { "http-server-closing" },
                    &[body],
                )?;
                let mut all: Vec<String> = first.iter().map(|&text| text.to_owned()).collect();
                all.extend(arguments([&server.address, &pages, &IN_FLIGHT, &u8::from(keep_alive)]));
                child::sample(Core::Measured, program, role, &all)
            };
            let peer =
                |name, program: &'static str| Peer::new(name, move || fetch(program, "http-client", &[]));
            Case {
                title: format!(
                    "{pages} pages, {IN_FLIGHT} in flight, {}; the client's processor time per page",
                    if keep_alive { "keep-alive" } else { "a connection for each" }
                ),
                metrics: CPU_AND_RATE,
                peers: vec![
                    peer("mio, bare", "mio"),
                    peer("twistor", "twistor"),
                    peer("hyper-util on tokio", "hyper"),
                    peer("reqwest on tokio", "reqwest"),
                    peer("libcurl multi", "libcurl"),
                    twisted("twisted Agent", move |python, folder| {
                        fetch("exec", python, &[&format!("{folder}/http_client.py")])
                    }),
                ],
                slices: 4,
            }
        })
        .into()
}

/// A peer run by a Python that has Twisted: `$TWISTED_PYTHON` or `python3`. `run` receives the program and the
/// folder of the scripts.
pub fn twisted(name: &'static str, run: impl Fn(&str, &str) -> Result<Sample, String> + 'static) -> Peer {
    Peer::new(name, move || {
        let python = std::env::var("TWISTED_PYTHON").unwrap_or("python3".to_owned());
        let has_it = std::process::Command::new(&python)
            .args(["-c", "import twisted"])
            .stderr(std::process::Stdio::null())
            .status();
        if !has_it.is_ok_and(|status| status.success()) {
            let reason = format!("{python} has no Twisted; name one that has in TWISTED_PYTHON");
            return Err(Trouble::Missing(reason));
        }
        Ok(run(&python, concat!(env!("CARGO_MANIFEST_DIR"), "/peers/twisted"))?)
    })
}
