//! cargo run --example batching_5_arguments
//!
//! Example 5: passing values to callbacks. A callback that needs a value from outside captures it. `get_page_data` wraps
//! `get_page` and returns a Deferred as well; its callback captures the URL.

mod pages;

use twistor::prelude::*;

#[derive(Debug)]
struct Summary {
    url: String,
    length: usize,
}

fn get_page_data(reactor: &Handle, url: String) -> Deferred<Summary> {
    get_page(reactor, &url).add_callback(|page| Ok(Summary { url, length: page.body().len() }))
}

fn list_callback(summaries: Vec<Summary>) {
    for summary in summaries {
        println!("{} has {} bytes", summary.url, summary.length);
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let d1 = get_page_data(&reactor, site.url("/google"));
    let d2 = get_page_data(&reactor, site.url("/yahoo"));
    reactor.run_until(gather_results([d1, d2]).add_callback(list_callback))
}
