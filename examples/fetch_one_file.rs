//! cargo run --example fetch_one_file
//!
//! The mailing list's answer: several files to download, no more than two at a time. What happens to one
//! file is told in a line, from top to bottom, and yet they all go on beside one another.

mod pages;

use std::path::Path;

use twistor::prelude::*;

fn fetch_one_file(reactor: Handle, semaphore: &DeferredSemaphore, url: String) -> Deferred<()> {
    // Process one file:
    // - wait to get a semaphore slot,
    semaphore.acquire().add_callback(move |slot| {
        // - fetch the URL,
        println!("fetch {url}");
        let name = Path::new(&url).file_name().unwrap_or("index.html".as_ref());
        let file = std::env::temp_dir().join(name);
        download_page(&reactor, &url, file).add_both(move |result| {
            println!("fetched {url} {result:?}");
            // - release the semaphore.
            drop(slot);
        })
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    // The list of URLs to retrieve.
    let urls = pages::serve(&reactor)?.urls();
    // Only 2 simultaneous downloads.
    let semaphore = DeferredSemaphore::new(2)?;
    let downloads = urls.map(|url| fetch_one_file(reactor.handle(), &semaphore, url));
    reactor.run_until(DeferredList::new(downloads))?;
    Ok(())
}
