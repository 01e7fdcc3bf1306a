//! cargo run --example batching_3_page_callbacks
//!
//! Example 3: page callbacks too. Instead of processing all results together in the list's callback, process each page
//! when it arrives. The list receives the values that the page callbacks return.

mod pages;

use twistor::prelude::*;

fn page_callback(page: Page) -> Result<usize, Failure> {
    Ok(page.body().len())
}

fn list_callback(results: Vec<Result<usize, Failure>>) {
    println!("{results:?}");
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let d1 = get_page(&reactor, site.url("/google")).add_callback(page_callback);
    let d2 = get_page(&reactor, site.url("/yahoo")).add_callback(page_callback);
    reactor.run_until(DeferredList::new([d1, d2]).add_callback(list_callback))
}
