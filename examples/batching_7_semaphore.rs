//! cargo run --example batching_7_semaphore
//!
//! Example 7: batching with DeferredSemaphore. All requests are created at once, but at most two run at a time: the
//! semaphore calls `get_page` for the next request when an earlier one is done.

mod pages;

use twistor::prelude::*;

const MAX_RUN: usize = 2;

fn page_callback(page: Page) -> Result<usize, Failure> {
    println!("a page of {} bytes", page.body().len());
    Ok(page.body().len())
}

fn list_callback(lengths: Vec<usize>) {
    println!("in all {} bytes", lengths.iter().sum::<usize>());
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let semaphore = DeferredSemaphore::new(MAX_RUN)?;
    let pages = site.urls().map(|url| {
        let reactor = reactor.handle();
        semaphore.run(move || get_page(&reactor, url)).add_callback(page_callback)
    });
    reactor.run_until(gather_results(pages).add_callback(list_callback))
}
