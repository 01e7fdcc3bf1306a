//! cargo run --example fetch_pages [-- URL…]
//!
//! Fetches several pages at once and prints the outcome of each, in the order in which they finish. Without URLs it
//! serves its own: four good pages, one that does not exist, a port that refuses connections, and a page that never
//! arrives.
//!
//! The exit status is 0 if all pages arrived, else 1. Without URLs it is 0 if the four good pages arrived.

mod pages;

use std::process::ExitCode;
use std::time::Duration;

use twistor::prelude::*;

/// Fetches a page and prints the outcome. The result is whether the page arrived.
fn fetch(reactor: &Handle, url: String) -> Deferred<bool> {
    Request::get(&url).timeout(Duration::from_secs(2)).get_page(reactor).add_both(move |result| {
        match &result {
            Ok(page) => println!("{url}: {} bytes", page.body().len()),
            Err(failure) => println!("{url}: {failure}"),
        }
        Ok(result.is_ok())
    })
}

fn main() -> Result<ExitCode, Failure> {
    let reactor = Reactor::new()?;
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    let mut expected = urls.len();
    if urls.is_empty() {
        let site = pages::serve(&reactor)?;
        urls.extend(site.urls());
        expected = urls.len();
        urls.extend([site.url("/missing"), pages::refused()?, site.url("/never")]);
    }
    let fetched = urls.into_iter().map(|url| fetch(&reactor, url));
    let arrived = reactor.run_until(gather_results(fetched))?;
    let count = arrived.iter().filter(|arrived| **arrived).count();
    println!("{count} of {} pages arrived", arrived.len());
    Ok(if count >= expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
