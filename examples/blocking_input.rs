//! cargo run --example blocking_input
//!
//! The tutorial's third program: several pages are requested at once, and each is reported and saved when it arrives.
//! There is one thread, so nothing can interfere with the map of pages while a callback works on it.

mod pages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use twistor::prelude::*;

type Pages = Rc<RefCell<BTreeMap<String, Option<Page>>>>;

fn request_page(reactor: &Handle, url: String, pages: Pages) -> Deferred<()> {
    let request = get_page(reactor, &url);

    // Three closures handle the result. They run later, so each owns the URL that it prints.
    let (good, bad) = (url.clone(), url.clone());
    let report_success = move |page| {
        println!("Successfully downloaded `{good}`.");
        Ok(Some(page))
    };
    let report_failure = move |_| {
        println!("Failed to download `{bad}`.");
        Ok(None)
    };
    let save_result = move |page| _ = pages.borrow_mut().insert(url, page);

    request.add_callbacks(report_success, report_failure).add_callback(save_result)
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
