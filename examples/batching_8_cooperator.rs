//! cargo run --example batching_8_cooperator
//!
//! Example 8: throttling with Cooperator. With the semaphore all the Deferreds are made at once, although
//! two run at a time. What if there are a thousand, and we run out of file descriptors? Here a Deferred is
//! made when it is needed, and not before:
//!
//! 1. an iterator makes each Deferred as it is asked for it;
//! 2. it is made once, before the loop, and the workers share it (one each would fetch every page twice);
//! 3. `coiterate` swallows the results, so what is to be done with a page its own callback does;
//! 4. a list of the workers tells when all is done.

mod pages;

use std::cell::Cell;
use std::rc::Rc;

use twistor::prelude::*;

const MAX_RUN: usize = 2;
const PAGES: usize = 1000;

/// What there was at most.
#[derive(Default)]
struct Most {
    deferreds: Cell<usize>,
    descriptors: Cell<usize>,
}

fn page_callback(running: &Cell<usize>, most: &Most) {
    most.deferreds.set(most.deferreds.get().max(running.get()));
    most.descriptors.set(most.descriptors.get().max(open_descriptors()));
    running.set(running.get() - 1);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").map_or(0, |descriptors| descriptors.count())
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let url = pages::serve(&reactor)?.url("/little");
    let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Most::default()));

    let (handle, seen) = (reactor.handle(), most.clone());
    let work = SharedIterator::new((0..PAGES).map(move |_| {
        let (running, seen) = (running.clone(), seen.clone());
        running.set(running.get() + 1);
        get_page(&handle, &url).add_callback(move |_page| page_callback(&running, &seen))
    }));
    let cooperator = Cooperator::new(&reactor);
    let workers = [(); MAX_RUN].map(|()| cooperator.coiterate(work.clone()));
    reactor.run_until(gather_results(workers))?;

    let Most { deferreds, descriptors } = &*most;
    println!("of {PAGES} Deferreds, {} were there at once at most", deferreds.get());
    println!("and {} descriptors were open", descriptors.get());
    Ok(())
}
