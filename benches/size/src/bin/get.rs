//! A minimal program that fetches a page.

use twistor::prelude::*;

fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or_else(|| Failure::new("no URL"))?;
    let reactor = Reactor::new()?;
    let page = reactor.run_until(get_page(&reactor, &url))?;
    println!("{} bytes", page.body().len());
    Ok(())
}
