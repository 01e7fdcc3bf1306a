//! reqwest on tokio's current-thread runtime, with a task for each request in flight.

use reqwest::{Client, Url};

use crate::peers::PAGE;
use crate::peers::tokio::fetch::fetch_all;
use crate::runner::child::Arguments;

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let url: Url = format!("http://{}/", arguments.text(0)).parse().expect("a URL");
    let idle = if arguments.number(3) == 1 { arguments.number(2) as usize } else { 0 };
    let client = Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(idle)
        .build()
        .expect("a client");
    fetch_all(arguments, move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let response = client.get(url).send().await.and_then(|response| response.error_for_status());
            let body = response.expect("a response").bytes().await.expect("a body");
            assert_eq!(body.len(), PAGE);
        }
    });
}
