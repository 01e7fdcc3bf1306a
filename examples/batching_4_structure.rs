//! cargo run --example batching_4_structure
//!
//! Example 4: results with more structure. A callback may return any type. From there on the chain has that type, and so
//! does the list.

mod pages;

use twistor::prelude::*;

struct Summary {
    length: usize,
    content: String,
}

fn page_callback(page: Page) -> Result<Summary, Failure> {
    Ok(Summary { length: page.body().len(), content: page.text().chars().take(80).collect() })
}

fn list_callback(summaries: Vec<Summary>) {
    for summary in summaries {
        println!("{} bytes, beginning with {:?}", summary.length, summary.content);
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let d1 = get_page(&reactor, site.url("/google")).add_callback(page_callback);
    let d2 = get_page(&reactor, site.url("/yahoo")).add_callback(page_callback);
    reactor.run_until(gather_results([d1, d2]).add_callback(list_callback))
}
