//! cargo run --example download -- URL FILE
//!
//! Downloads a file with a progress bar. The data stays in FILE.part until the file is complete. After an interrupted
//! download, the next run continues from there if the server still has the same file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use twistor::http::Request;
use twistor::prelude::*;

/// Downloads a file, or the rest of it.
#[derive(Parser)]
struct Options {
    url: String,
    file: PathBuf,
}

fn main() -> ExitCode {
    match download(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.to_string().replace(|c: char| c.is_control(), " "));
            ExitCode::FAILURE
        }
    }
}

fn download(options: &Options) -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")?;
    let bar = ProgressBar::new_spinner();
    let saved = Request::get(&options.url).resume_download(&reactor, &options.file, move |have, of| {
        if bar.length() != of {
            bar.set_style(style.clone());
            bar.set_length(of.unwrap_or(have));
        }
        bar.set_position(have);
    });
    reactor.run_until(saved)?;
    Ok(())
}
