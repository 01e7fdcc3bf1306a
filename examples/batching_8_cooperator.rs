//! cargo run --example batching_8_cooperator
//!
//! Example 8: throttling with Cooperator. With the semaphore all Deferreds are made at once, although two
//! run at a time. Here a Deferred is made when a worker asks the iterator for the next, and not before:
//!
//! 1. an iterator makes each Deferred as it is asked for it;
//! 2. it is made once, before the loop, and the workers share it (one each would fetch every page twice);
//! 3. the workers swallow the results, so what is to be done with a page its own callback does;
//! 4. a list of the workers tells when all is done.

mod pages;

use twistor::prelude::*;

const MAX_RUN: usize = 2;

fn page_callback(page: Page) {
    println!("{}", page.body().len());
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let handle = reactor.clone();
    let work =
        SharedIterator::new(site.urls().map(move |url| get_page(&handle, url).add_callback(page_callback)));

    let cooperator = Cooperator::new(&reactor);
    let workers = (0..MAX_RUN).map(|_| cooperator.coiterate(work.clone()));
    reactor.run_until(DeferredList::new(workers).add_callback(|_| ()))
}
