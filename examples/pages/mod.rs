//! The little web that the examples fetch their pages from: it runs in the same reactor as they do.

// Each example uses some of it.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use twistor::net::ListeningPort;
use twistor::net::http::server::{Site, Tree};
use twistor::prelude::*;

/// What there is: the name of the page, how long the answer takes, and how long it is.
const PAGES: [(&str, Duration, usize); 6] = [
    ("google", Duration::from_millis(40), 12_000),
    ("yahoo", Duration::from_millis(80), 70_000),
    ("python", Duration::from_millis(20), 20_000),
    ("twisted", Duration::from_millis(60), 9_000),
    ("little", Duration::ZERO, 20),
    ("never", Duration::MAX, 0),
];

/// A site that listens on a port of its own.
pub struct Pages {
    port: ListeningPort,
}

/// Serves the pages.
pub fn serve(reactor: &Handle) -> Result<Pages, Failure> {
    let tree = PAGES.into_iter().fold(Tree::new(), |tree, (name, delay, length)| {
        let page = move || Ok("All work and no play. ".chars().cycle().take(length).collect::<String>());
        tree.put_child(name, Tree::new().get(move |request| defer_later(request.reactor(), delay, page)))
    });
    let port = Site::new(reactor, tree).listen(ServerEndpoint::tcp("127.0.0.1:0".parse()?))?;
    Ok(Pages { port })
}

impl Pages {
    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// The URLs of the four that a person would read.
    pub fn urls(&self) -> [String; 4] {
        ["/google", "/yahoo", "/python", "/twisted"].map(|path| self.url(path))
    }
}

/// The URL of a port where nobody listens.
pub fn refused() -> Result<String, Failure> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok(format!("http://{closed}/"))
}
