//! cargo run --example download -- URL FILE
//!
//! A file with a progress bar. What came is kept in FILE.part until it is whole; when the download was cut, the next
//! run asks for the rest, and takes it if the server vouches that it is still the same file.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use twistor::net::http::{Agent, Request, Response, ResponseBody};
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
    let part = beside(&options.file, ".part");
    // What the server called this version of the file.
    let version = beside(&options.file, ".part.version");
    // The new file would take the place of a device, too, and opening a pipe waits for who reads it.
    for file in [&options.file, &part, &version] {
        if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
            return Err(Failure::new(format!("{} is there, and no regular file", file.display())));
        }
    }
    let reactor = Reactor::new()?;
    let agent = Agent::new(&reactor);

    // The bytes as they lie on the server: they are what a range counts.
    let mut request = Request::get(&options.url).header("Accept-Encoding", "identity");
    let have = fs::metadata(&part).map_or(0, |part| part.len());
    if let (1.., Ok(version)) = (have, fs::read(&version)) {
        request = request.header("Range", format!("bytes={have}-")).header("If-Range", version);
    }
    let (to, from, name) = (part.clone(), version.clone(), part.clone());
    let saved = agent
        .request(request)
        .add_callback(move |response| begin(response, &to, &from, have))
        .add_callback(|(body, mut file, bar)| {
            body.deliver(move |piece| {
                file.write_all(piece).map_err(|error| blame(&name, error))?;
                bar.inc(piece.len() as u64);
                Ok(())
            })
        });
    reactor.run_until(saved)?;
    fs::rename(&part, &options.file).map_err(|error| blame(&options.file, error))?;
    remove(&version)?;
    Ok(())
}

/// The file to write the body into: behind what is there, or anew where the server has begun anew.
fn begin(
    response: Response,
    part: &Path,
    version: &Path,
    have: u64,
) -> Result<(ResponseBody, File, ProgressBar), Failure> {
    let rest =
        response.header("content-range").is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
    let (file, have) = match response.status().as_u16() {
        206 if rest => {
            (OpenOptions::new().append(true).open(part).map_err(|error| blame(part, error))?, have)
        }
        200 => {
            // A weak tag promises no more than that the pages look alike.
            match response.header("etag").filter(|tag| !tag.starts_with("W/")) {
                Some(tag) => fs::write(version, tag).map_err(|error| blame(version, error))?,
                None => remove(version)?,
            }
            (File::create(part).map_err(|error| blame(part, error))?, 0)
        }
        _ => return Err(Failure::new(format!("{} {}", response.status().as_str(), response.reason()))),
    };
    let bar = match response.length() {
        Some(length) => ProgressBar::new(have + length).with_style(ProgressStyle::with_template(
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        )?),
        None => ProgressBar::new_spinner(),
    };
    bar.set_position(have);
    Ok((response.into_body(), file, bar))
}

fn blame(file: &Path, error: std::io::Error) -> Failure {
    Failure::from(error).context(file.display())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(file: &Path) -> Result<(), Failure> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
