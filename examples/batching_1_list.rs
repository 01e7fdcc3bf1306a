//! cargo run --example batching_1_list
//!
//! Example 1: just a DeferredList. Get two Deferreds (`get_page` returns one), make a list of them, add a callback to
//! the list, garnish with a lemon.

mod pages;

use twistor::prelude::*;

fn list_callback(results: Vec<Result<Page, Failure>>) {
    println!("{results:?}");
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let d1 = get_page(&reactor, site.url("/google"));
    let d2 = get_page(&reactor, site.url("/yahoo"));
    reactor.run_until(DeferredList::new([d1, d2]).add_callback(list_callback))
}
