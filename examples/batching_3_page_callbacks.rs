//! cargo run --example batching_3_page_callbacks
//!
//! Example 3: page callbacks too. Instead of working on all results at once, in the list's callback, we
//! work on each when its page comes; what the page's callback returns is what the list gets.

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
