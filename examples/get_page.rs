//! cargo run --example get_page -- [--timeout SECONDS] [--max-body BYTES] [--max-redirects N] [--head] [--cacert
//! FILE] [--proxy URL | --env-proxy] [--output FILE] URL
//!
//! Fetches one page, for scripts. Prints only its body on standard output, or writes it to FILE; with `--head`,
//! only its status line and headers. A failure is one line on standard error and exit status 1. Exit status 2 is a
//! usage error.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use twistor::http::Proxy;
use twistor::net::tls::ClientTls;
use twistor::prelude::*;

/// Fetches one page.
#[derive(Parser)]
struct Options {
    /// Time limit for the whole request
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Size limit of the body
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    /// Maximum number of redirects
    #[arg(long, value_name = "N")]
    max_redirects: Option<usize>,
    /// Request only the headers, and print them
    #[arg(long)]
    head: bool,
    /// Certificates to trust instead of this machine's (PEM)
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Proxy to use
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Use the proxy that http_proxy, https_proxy, all_proxy and no_proxy name
    #[arg(long, conflicts_with = "proxy")]
    env_proxy: bool,
    /// File for the body
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    url: String,
}

fn seconds(text: &str) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

fn main() -> ExitCode {
    match fetch(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // One line, even if the message of a server or file system contains line feeds.
            eprintln!("error: {}", failure.to_string().replace(|c: char| c.is_control(), " "));
            ExitCode::FAILURE
        }
    }
}

fn fetch(options: Options) -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let mut request = if options.head { Request::head(&options.url) } else { Request::get(&options.url) };
    if let Some(timeout) = options.timeout {
        request = request.timeout(timeout);
    }
    if let Some(bytes) = options.max_body {
        request = request.max_body(bytes);
    }
    if let Some(count) = options.max_redirects {
        request = request.max_redirects(count);
    }
    if let Some(file) = options.cacert {
        request = request.tls(ClientTls::trusting_file(file)?);
    }
    if options.env_proxy {
        request = request.proxy(Proxy::from_env());
    } else if let Some(url) = options.proxy {
        request = request.proxy(Proxy::new(url)?);
    }
    let page = reactor.run_until(request.get_page(&reactor))?;
    let text = if options.head { head(&page) } else { page.into_body() };
    match options.output {
        Some(file) => {
            std::fs::write(&file, text).map_err(|error| Failure::from(error).context(file.display()))
        }
        None => {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&text).and_then(|()| out.flush());
            written.map_err(|error| Failure::from(error).context("standard output"))
        }
    }
}

fn head(page: &Page) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} {}\n", page.status().as_str(), page.reason()).into_bytes();
    for (name, value) in page.headers() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
    }
    text
}
