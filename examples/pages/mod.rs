//! The little web that the examples fetch their pages from: it runs in the same reactor as they do.

// Each example uses some of it.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use twistor::net::{ListeningPort, Protocol, ServerEndpoint, Transport};
use twistor::prelude::*;

/// What there is: the path, how long the answer takes, and how long it is.
const PAGES: [(&str, Duration, usize); 5] = [
    ("/google", Duration::from_millis(40), 12_000),
    ("/yahoo", Duration::from_millis(80), 70_000),
    ("/python", Duration::from_millis(20), 20_000),
    ("/twisted", Duration::from_millis(60), 9_000),
    ("/little", Duration::ZERO, 20),
];

/// A site that listens on a port of its own.
pub struct Site {
    port: ListeningPort,
}

/// Serves the pages. `/never` never answers, and everything else is not found.
pub fn serve(reactor: &Handle) -> Result<Site, Failure> {
    let handle = reactor.clone();
    let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse()?);
    let port =
        endpoint.listen(reactor, move |_peer| Visit { reactor: handle.clone(), request: Vec::new() })?;
    Ok(Site { port })
}

impl Site {
    /// The URL of a page here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// The URLs of the four that a person would read.
    pub fn urls(&self) -> [String; 4] {
        ["/google", "/yahoo", "/python", "/twisted"].map(|path| self.url(path))
    }
}

/// One connection: reads one request, answers it, and closes.
struct Visit {
    reactor: Handle,
    request: Vec<u8>,
}

impl Protocol for Visit {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.request.extend_from_slice(data);
        if self.request.ends_with(b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&self.request);
            answer(&self.reactor, transport.clone(), request.split(' ').nth(1).unwrap_or("/"));
            self.request.clear();
        }
        Ok(())
    }
}

fn answer(reactor: &Handle, transport: Transport, path: &str) {
    if path == "/never" {
        return;
    }
    let (status, delay, body) = match PAGES.iter().find(|page| page.0 == path) {
        Some((_, delay, length)) => {
            ("200 OK", *delay, "All work and no play. ".chars().cycle().take(*length).collect())
        }
        None => ("404 Not Found", Duration::ZERO, "There is no such page here.".to_owned()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    reactor.call_later(delay, move || {
        transport.write_all(&[head.as_bytes(), body.as_bytes()]);
        transport.lose_connection();
    });
}

/// The URL of a port where nobody listens.
pub fn refused() -> Result<String, Failure> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok(format!("http://{closed}/"))
}
