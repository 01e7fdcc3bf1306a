//! Shared by the clients on tokio: tasks that each fetch one page after another until all are fetched.

use std::cell::Cell;
use std::future::Future;

use super::runtime::current_thread;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

fn take_one() -> bool {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(1));
    left > 0
}

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`: measures `fetch`, called for each page. The clock starts inside the
/// runtime; clients are created outside.
pub fn fetch_all<Fetch, Page>(arguments: &Arguments<'_>, fetch: Fetch)
where
    Fetch: Fn() -> Page + Clone + Send + 'static,
    Page: Future<Output = ()> + Send + 'static,
{
    let (pages, in_flight) = (arguments.number(1), arguments.number(2));
    LEFT.set(pages);
    current_thread().block_on(async {
        let clock = Stopwatch::start();
        let mut workers = Vec::new();
        for _ in 0..in_flight {
            let fetch = fetch.clone();
            workers.push(tokio::spawn(async move {
                while take_one() {
                    fetch().await;
                }
            }));
        }
        for worker in workers {
            worker.await.expect("a worker");
        }
        clock.stop(pages).report();
    });
}
