//! The small web site from which the examples fetch their pages. It runs in the same reactor as the example.

// Each example uses a part of this module.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use twistor::http::server::{Site, Tree};
use twistor::net::ListeningPort;
use twistor::prelude::*;

/// The pages: name, delay of the response, length in bytes.
const PAGES: [(&str, Duration, usize); 6] = [
    ("google", Duration::from_millis(40), 12_000),
    ("yahoo", Duration::from_millis(80), 70_000),
    ("python", Duration::from_millis(20), 20_000),
    ("twisted", Duration::from_millis(60), 9_000),
    ("little", Duration::ZERO, 20),
    ("never", Duration::MAX, 0),
];

/// A site that listens on a free port.
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
    /// Returns the URL of a path on this site.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// Returns the URLs of the four ordinary pages.
    pub fn urls(&self) -> [String; 4] {
        ["/google", "/yahoo", "/python", "/twisted"].map(|path| self.url(path))
    }
}

/// Returns the URL of a port that refuses connections.
pub fn refused() -> Result<String, Failure> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok(format!("http://{closed}/"))
}
