//! `Agent::get_page` if connections are kept, otherwise `get_page`.

use std::cell::Cell;
use std::rc::Rc;

use twistor::deferred::{Deferred, Failure};
use twistor::http::{Agent, Page, Request, get_page};
use twistor::reactor::Reactor;

use crate::peers::PAGE;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let url = format!("http://{}/", arguments.text(0));
    let (pages, in_flight, keep_alive) = (arguments.number(1), arguments.number(2), arguments.number(3) == 1);
    let reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let clock = Stopwatch::start();
    let fetch: Rc<dyn Fn() -> Deferred<Page>> = if keep_alive {
        let agent = Agent::new(&reactor).max_connections(in_flight as usize).max_idle(in_flight as usize);
        Rc::new(move || agent.get_page(Request::get(&url)))
    } else {
        Rc::new(move || get_page(&handle, &url))
    };
    let (left, done) = (Rc::new(Cell::new(pages)), Rc::new(Cell::new(0)));
    for _ in 0..in_flight {
        let worker = Worker { fetch: fetch.clone(), left: left.clone(), done: done.clone() };
        worker.next();
    }
    while done.get() < pages {
        reactor.turn(None).expect("a turn");
    }
    clock.stop(pages).report();
}

#[derive(Clone)]
struct Worker {
    fetch: Rc<dyn Fn() -> Deferred<Page>>,
    left: Rc<Cell<u64>>,
    done: Rc<Cell<u64>>,
}

impl Worker {
    fn next(self) {
        let Some(left) = self.left.get().checked_sub(1) else { return };
        self.left.set(left);
        let page = (self.fetch)();
        drop(page.add_callback(move |page| self.check(page)));
    }

    fn check(self, page: Page) -> Result<(), Failure> {
        assert_eq!((page.status().as_u16(), page.body().len()), (200, PAGE));
        self.done.set(self.done.get() + 1);
        self.next();
        Ok(())
    }
}
