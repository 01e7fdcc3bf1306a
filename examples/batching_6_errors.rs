//! cargo run --example batching_6_errors
//!
//! Example 6: adding some error checking. Two of the URLs fail: one is a 404, the other a name that does not resolve.
//! Each page has its own errback, so the list receives results of one kind only.

mod pages;

use twistor::prelude::*;

fn page_callback(url: String, page: Page) -> Result<String, Failure> {
    Ok(format!("{url} has {} bytes", page.body().len()))
}

fn page_errback(url: String, failure: Failure) -> Result<String, Failure> {
    Ok(format!("{url} failed: {failure}"))
}

fn get_page_data(reactor: &Handle, url: String) -> Deferred<String> {
    let page_url = url.clone();
    get_page(reactor, &url)
        .add_callback(move |page| page_callback(page_url, page))
        .add_errback(move |failure| page_errback(url, failure))
}

fn list_callback(lines: Vec<String>) {
    for line in lines {
        println!("{line}");
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let urls = [
        site.url("/google"),
        site.url("/yahoo"),
        site.url("/a-page-that-is-not-there"),
        "http://no-such-name.invalid/".to_owned(),
    ];
    let pages = urls.map(|url| get_page_data(&reactor, url));
    reactor.run_until(gather_results(pages).add_callback(list_callback))
}
