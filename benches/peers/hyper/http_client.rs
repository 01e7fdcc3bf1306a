//! hyper-util's pooling client on tokio's current-thread runtime, with a task for each request in flight.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::peers::PAGE;
use crate::peers::tokio::fetch::fetch_all;
use crate::runner::child::Arguments;

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let uri: Uri = format!("http://{}/", arguments.text(0)).parse().expect("a URI");
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let idle = if arguments.number(3) == 1 { arguments.number(2) as usize } else { 0 };
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(connector);
    fetch_all(arguments, move || {
        let (client, uri) = (client.clone(), uri.clone());
        async move {
            let response = client.get(uri).await.expect("a response");
            assert!(response.status().is_success());
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body.len(), PAGE);
        }
    });
}
