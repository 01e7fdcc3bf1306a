//! cargo run --example batching_8_cooperator
//!
//! Example 8: throttling with Cooperator. With the semaphore, all Deferreds are created at once, although only two run at
//! a time. What if there are a thousand, and the program runs out of file descriptors? Here each Deferred is created
//! when it is needed, and not before:
//!
//! 1. an iterator creates the next Deferred on demand;
//! 2. it is created once, before the loop, and the workers share it (with one each, every page would be fetched twice);
//! 3. `coiterate` discards the results, so the processing of a page belongs in its own callback;
//! 4. a list of the workers fires when everything is done.

mod pages;

use twistor::prelude::*;

const MAX_RUN: usize = 2;
const PAGES: usize = 1000;

fn page_callback(number: usize, page: &Page) {
    if number % 250 == 0 {
        println!("page {number} has {} bytes", page.body().len());
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").map_or(0, |descriptors| descriptors.count())
}

fn do_work(reactor: Handle, url: String) -> impl Iterator<Item = Deferred<()>> {
    let pool = DeferredPool::new(); // it only counts the requests in flight
    (1..=PAGES).map(move |number| {
        let page = pool.add(get_page(&reactor, &url));
        if number % 250 == 0 {
            println!("page {number}: {} in flight, {} descriptors open", pool.len(), open_descriptors());
        }
        page.add_callback(move |page| page_callback(number, &page))
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let url = pages::serve(&reactor)?.url("/little");
    let work = SharedIterator::new(do_work(reactor.handle(), url));
    let cooperator = Cooperator::new(&reactor);
    let workers = (0..MAX_RUN).map(|_| cooperator.coiterate(work.clone()));
    reactor.run_until(gather_results(workers))?;
    Ok(())
}
