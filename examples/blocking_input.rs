//! cargo run --example blocking_input
//!
//! The tutorial's third program: several pages asked for at once, each reported and kept when it comes.
//! One thread, so nothing can interfere with the map of pages while a callback works on it.

mod pages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use twistor::prelude::*;

type Pages = Rc<RefCell<BTreeMap<String, Option<Page>>>>;

fn request_page(reactor: &Handle, url: String, pages: Pages) -> Deferred<()> {
    let (good, bad) = (url.clone(), url.clone());
    get_page(reactor, &url)
        .add_callbacks(move |page| report_success(good, page), move |_| report_failure(bad))
        .add_callback(move |page| save_result(&pages, url, page))
}

fn report_success(url: String, page: Page) -> Result<Option<Page>, Failure> {
    println!("Successfully downloaded `{url}`.");
    Ok(Some(page))
}

fn report_failure(url: String) -> Result<Option<Page>, Failure> {
    println!("Failed to download `{url}`.");
    Ok(None)
}

fn save_result(pages: &Pages, url: String, page: Option<Page>) {
    pages.borrow_mut().insert(url, page);
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let site = pages::serve(&reactor)?;
    let pages = Pages::default();
    let urls = site.urls().into_iter().chain(["a_bad_url".to_owned()]);
    let requests = urls.map(|url| request_page(&reactor, url, pages.clone()));
    reactor.run_until(gather_results(requests))?;
    println!("{} pages were saved.", pages.borrow().values().flatten().count());
    Ok(())
}
