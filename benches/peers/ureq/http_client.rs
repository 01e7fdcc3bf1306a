//! ureq's agent, one request after the other.

use ureq::Agent;

use crate::peers::PAGE;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// `ADDRESS PAGES 1 KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let url = format!("http://{}/", arguments.text(0));
    let (pages, keep_alive) = (arguments.number(1), arguments.number(3) == 1);
    let idle = if keep_alive { 10 } else { 0 };
    let agent: Agent =
        Agent::config_builder().max_idle_connections(idle).max_idle_connections_per_host(idle).build().into();
    let clock = Stopwatch::start();
    for _ in 0..pages {
        let mut response = agent.get(&url).call().expect("a response");
        let body = response.body_mut().read_to_vec().expect("a body");
        assert_eq!((response.status().as_u16(), body.len()), (200, PAGE));
    }
    clock.stop(pages).report();
}
