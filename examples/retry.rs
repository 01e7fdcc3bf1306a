//! cargo run --example retry
//!
//! Repeats a request that fails, after growing waits. The server answers the first two requests with 503. An error that
//! every repetition would meet again, such as 404 or an invalid URL, is returned at once.

use std::cell::Cell;
use std::time::Duration;

use twistor::http::server::{Site, StatusError, Tree};
use twistor::http::{HttpError, NoResponse, RequestTimedOut, StatusCode};
use twistor::net::{Backoff, ConnectRefused, ConnectTimedOut};
use twistor::prelude::*;

/// Returns whether the next attempt may succeed.
fn is_temporary(failure: &Failure) -> bool {
    if let Some(error) = failure.downcast_ref::<HttpError>() {
        return error.status.is_server_error() || error.status == StatusCode::TOO_MANY_REQUESTS;
    }
    failure.is::<ConnectRefused>()
        || failure.is::<ConnectTimedOut>()
        || failure.is::<NoResponse>()
        || failure.is::<RequestTimedOut>()
}

/// Fetches a page, in at most `attempts` attempts.
///
/// A GET can be repeated. A POST that has failed may have been carried out nevertheless.
async fn fetch(reactor: &Handle, url: &str, attempts: u32) -> Result<Page, Failure> {
    let backoff = Backoff { initial: Duration::from_millis(50), ..Backoff::default() };
    let mut failures = 0;
    loop {
        match Request::get(url).timeout(Duration::from_secs(10)).get_page(reactor).await {
            Err(failure) if failures + 1 < attempts && is_temporary(&failure) => {
                failures += 1;
                println!("attempt {failures}: {failure}");
                reactor.sleep(backoff.random_delay(reactor, failures)).await?;
            }
            result => return result,
        }
    }
}

/// Returns a page that is overloaded at the first `requests` requests.
fn overloaded(requests: u32) -> Tree {
    let left = Cell::new(requests);
    Tree::new().get(move |_| {
        if left.get() == 0 {
            return Ok("All is well.");
        }
        left.set(left.get() - 1);
        Err(StatusError::new(StatusCode::SERVICE_UNAVAILABLE).into())
    })
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let tree = Tree::new().put_child("page", overloaded(2)).put_child("down", overloaded(u32::MAX));
    let port = Site::new(&reactor, tree).listen("tcp:127.0.0.1:0".parse()?)?;
    let site = format!("http://{}", port.address());
    let handle = reactor.handle();
    reactor.run_until(reactor.spawn(async move {
        for url in
            [format!("{site}/page"), format!("{site}/down"), format!("{site}/missing"), "page".to_owned()]
        {
            match fetch(&handle, &url, 3).await {
                Ok(page) => println!("{url}: {}", page.text()),
                Err(failure) => println!("{url}: {failure}"),
            }
        }
        Ok(())
    }))
}
