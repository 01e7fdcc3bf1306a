//! attohttpc, one request after another, each on a new connection.

use crate::peers::PAGE;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// `ADDRESS PAGES 1 0`.
pub fn run(arguments: &Arguments<'_>) {
    let url = format!("http://{}/", arguments.text(0));
    let pages = arguments.number(1);
    let clock = Stopwatch::start();
    for _ in 0..pages {
        let response = attohttpc::get(&url).send().expect("a response");
        let status = response.status().as_u16();
        assert_eq!((status, response.bytes().expect("a body").len()), (200, PAGE));
    }
    clock.stop(pages).report();
}
