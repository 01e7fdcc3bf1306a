//! cargo run --example fetch_one_file
//!
//! The mailing list's answer: several files to download, at most two at a time. The work on one file reads from top to
//! bottom, and yet the files make progress side by side.

mod pages;

use std::path::Path;

use twistor::prelude::*;

fn fetch_one_file(
    reactor: Handle,
    semaphore: &DeferredSemaphore,
    folder: &Path,
    url: String,
) -> Deferred<()> {
    // Process one file:
    // - wait to get a semaphore slot,
    let file = folder.join(Path::new(&url).file_name().unwrap_or_default());
    semaphore.acquire().add_callback(move |slot| {
        // - fetch the URL,
        println!("fetch {url}");
        download_page(&reactor, &url, file).add_both(move |result| {
            println!("fetched {url} {result:?}");
            // - release the semaphore.
            drop(slot);
        })
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    // The list of URLs to retrieve, and where to put them.
    let urls = pages::serve(&reactor)?.urls();
    let folder = std::env::temp_dir().join("fetch_one_file");
    std::fs::create_dir_all(&folder)?;
    // Only 2 simultaneous downloads.
    let semaphore = DeferredSemaphore::new(2)?;
    let downloads = urls.map(|url| fetch_one_file(reactor.handle(), &semaphore, &folder, url));
    reactor.run_until(DeferredList::new(downloads))?;
    println!("the files are in {}", folder.display());
    Ok(())
}
