//! cargo run --example batching_2_results
//!
//! Example 2: simple result manipulation. A list fires with one `Result` per member, in the order of its members. This
//! program prints whether each page arrived, and its length.

mod pages;

use twistor::prelude::*;

fn list_callback(results: Vec<Result<Page, Failure>>) {
    for result in results {
        println!("Successful? {}", result.is_ok());
        println!("Content Length: {}", result.map_or(0, |page| page.body().len()));
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let d1 = get_page(&reactor, site.url("/google"));
    let d2 = get_page(&reactor, site.url("/yahoo"));
    reactor.run_until(DeferredList::new([d1, d2]).add_callback(list_callback))
}
