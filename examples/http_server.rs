//! cargo run --example http_server -- [--listen ADDRESS] [--root DIR]
//!
//! A web server: a greeting, an echo, a late response, and the files of a folder. When it stops, it first answers the
//! requests in flight.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use twistor::http::server::{Files, Request, Site, StatusError, Tree};
use twistor::http::{Method, StatusCode};
use twistor::prelude::*;

/// Answers `/slow?ms=N` after N milliseconds. A client that leaves earlier cancels the Deferred.
fn slow(request: &mut Request<'_>) -> Deferred<String> {
    let milliseconds = request.arg("ms").and_then(|text| text.parse().ok());
    let Some(milliseconds) = milliseconds else {
        return fail(
            StatusError::new(StatusCode::BAD_REQUEST).because("ms must be a number of milliseconds"),
        );
    };
    let delay = Duration::from_millis(milliseconds);
    defer_later(request.reactor(), delay, move || Ok(format!("slept {milliseconds} ms\n")))
}

/// Greets on GET, and returns the body of a POST.
fn greeting(tree: Tree) -> Tree {
    tree.get(|_| "Hello, world!").post(|request| request.take_body())
}

fn site(root: Option<PathBuf>) -> Tree {
    let tree = Tree::new()
        .put_child("echo", Tree::new().on(Method::POST, |request| request.take_body()))
        .put_child("slow", Tree::new().get(slow));
    match root {
        Some(root) if root.join("index.html").is_file() => tree.fallback(Files::new(root)),
        Some(root) => greeting(tree).fallback(Files::new(root)),
        None => greeting(tree),
    }
}

#[derive(Parser)]
struct Options {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve the files of this folder
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    log_to_stderr(); // shows requests that fail
    let Options { listen, root } = Options::parse();
    let reactor = Reactor::new()?;
    let port = Site::new(&reactor, site(root)).listen(ServerEndpoint::tcp(listen))?;
    println!("listening on http://{}", port.address());
    reactor.run()?;
    Ok(())
}
