//! cargo run --features trace --example trace [-- --program PROGRAM] [--view VIEW] [--out FOLDER]
//!
//! Records a program and shows what its loop did. PROGRAM is `small` (the default), `first` (the README's first program, on
//! a simulated network), `blocking`, `hangs`, or the name of another example, such as `fetch_pages`; `all` is these four
//! and the examples `fetch_pages`, `batching_7_semaphore` and `batching_8_cooperator`. VIEW is one of
//!
//! - `text`: a line for each event;
//! - `ladder`: the path of a result, as the two ladders that tutorials draw: callbacks on the left, errbacks on the right;
//! - `timeline`: the turns, with a bar for each callback;
//! - `page`: an HTML page that plays the recording;
//! - `chrome`: JSON for <https://ui.perfetto.dev>.
//!
//! The view is printed. With `--out`, all views are written to FOLDER/PROGRAM instead. The pictures of the README were
//! written by:
//!
//! ```console
//! cargo run --features trace --example trace -- --view ladder >examples/trace.svg
//! cargo run --features trace --example trace -- --program first --view ladder >examples/first_ladder.svg
//! cargo run --features trace --example trace -- --program first --view timeline >examples/first_timeline.svg
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use twistor::deferred::trace;
use twistor::net::SimulatedNetwork;
use twistor::prelude::*;
use twistor::reactor::trace::Recording;

#[derive(Parser)]
struct Options {
    /// The program to record: small, first, blocking, hangs, all, or the name of another example.
    #[arg(long, default_value = "small")]
    program: String,
    /// The view to print.
    #[arg(long, value_enum, default_value = "text")]
    view: View,
    /// Write all views to this folder instead.
    #[arg(long, required_if_eq("program", "all"))]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum View {
    Text,
    Ladder,
    Timeline,
    Page,
    Chrome,
}

/// A result that changes sides twice and waits for a timer.
fn small(reactor: &Reactor) -> Result<(), Failure> {
    let (input, trigger) = Deferred::<&str>::new();
    let handle = reactor.handle();
    let answer = input
        .named("input")
        .shown()
        .add_callback(|text| Ok(text.parse::<u64>()?))
        .named("parse")
        .add_errback(|_| Ok(7))
        .named("else seven")
        .shown()
        .add_callback(move |n| {
            defer_later(&handle, Duration::from_millis(10), move || Ok(6 * n)).named("timer")
        })
        .named("six times, slowly")
        .shown()
        .add_callback(|n| eprintln!("it is {n}"))
        .named("print");
    trigger.callback("seven");
    reactor.run_until(answer)
}

/// The README's first program: fetch three pages at once, and report each result as it arrives.
fn first(reactor: &Reactor) -> Result<(), Failure> {
    let pages = ["http://example.com/", "http://example.org/", "http://no-such-name.invalid/"].map(|url| {
        get_page(reactor, url).named(url).add_callbacks(
            move |page| eprintln!("{url}: {} bytes", page.body().len()),
            move |failure| eprintln!("{url}: {failure}"),
        )
    });
    reactor.run_until(DeferredList::new(pages))?;
    Ok(())
}

/// Answers any request with the same page.
struct Hello;

impl Protocol for Hello {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhello\n");
        transport.lose_connection();
        Ok(())
    }
}

/// Puts two servers on the simulated network.
fn serve(reactor: &Reactor) -> Result<(), Failure> {
    let Some(network) = SimulatedNetwork::of(reactor) else { return Ok(()) };
    network.set_latency(Duration::from_millis(5), Duration::from_millis(40));
    for (name, address) in [("example.com", "192.0.2.10:80"), ("example.org", "192.0.2.11:80")] {
        let address: std::net::SocketAddr = address.parse()?;
        network.add_name(name, [address.ip()]);
        ServerEndpoint::tcp(address).listen(reactor, |_peer| Hello)?;
    }
    Ok(())
}

/// A callback that computes for 50 ms while other timers are due.
fn blocking(reactor: &Reactor) -> Result<(), Failure> {
    let after = |millis, what: &'static str| {
        defer_later(reactor, Duration::from_millis(millis), move || eprintln!("{what}")).named(what)
    };
    let compute = defer_later(reactor, Duration::from_millis(15), || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
    });
    let ticks = [
        after(10, "on time"),
        compute.named("compute"),
        after(30, "late"),
        after(40, "late, too"),
        after(90, "on time again"),
    ];
    reactor.run_until(gather_results(ticks).named("all"))?;
    Ok(())
}

/// Waits for an answer that never arrives. After 100 ms it lists everything that is still pending.
fn hangs(reactor: &Reactor) -> Result<(), Failure> {
    let (answer, kept) = Deferred::<String>::new();
    let question = defer_later(reactor, Duration::from_millis(20), || ()).named("question");
    let done = question
        .add_callback(move |()| answer.named("answer"))
        .named("ask")
        .add_callback(|answer| eprintln!("{answer}"))
        .named("print");
    let handle = reactor.handle();
    reactor.call_later(Duration::from_millis(100), move || {
        eprintln!("{}", trace::live());
        handle.stop();
    });
    let path = done.path();
    reactor.on_shutdown(Phase::Before, move || eprintln!("{path}"));
    let ended = reactor.run_until(done);
    drop(kept);
    ended.or_else(|failure| failure.trap::<twistor::deferred::Cancelled>().map(|_| ()))
}

/// Records one of the programs of this file.
fn record(program: &str) -> Result<Option<Recording>, Failure> {
    let run = match program {
        "small" => small,
        "first" => first,
        "blocking" => blocking,
        "hangs" => hangs,
        _ => return Ok(None),
    };
    // Simulated programs are recorded the same each time. Computing takes time only outside a simulation.
    let reactor = if program == "blocking" { Reactor::new()? } else { Reactor::simulated(1) };
    serve(&reactor)?;
    let recording = reactor.record();
    run(&reactor)?;
    drop(reactor);
    Ok(Some(recording))
}

/// Records another example, unchanged: the environment asks it to.
fn record_example(name: &str, folder: &Path) -> Result<(), Failure> {
    let mut command = match std::env::var_os("CARGO") {
        Some(cargo) => {
            let mut command = Command::new(cargo);
            command.args(["run", "--quiet", "--features", "trace", "--example", name]);
            command
        }
        None => Command::new(std::env::current_exe()?.with_file_name(name)),
    };
    // The folder of an earlier recording is not overwritten.
    let _ = std::fs::remove_file(folder.join("page.html"));
    command.env("TWISTOR_RECORD", folder).status()?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let examples = ["fetch_pages", "batching_7_semaphore", "batching_8_cooperator"];
    let programs = match options.program.as_str() {
        "all" => ["small", "first", "blocking", "hangs"].into_iter().chain(examples).collect(),
        program => vec![program],
    };
    for program in programs {
        let folder = options.out.as_deref().unwrap_or(Path::new("recordings")).join(program);
        match record(program)? {
            Some(recording) if options.out.is_none() => {
                show(&recording, options.view, program);
                continue;
            }
            Some(recording) => recording.write_views(&folder, program)?,
            None => record_example(program, &folder)?,
        }
        eprintln!("the recording of {program} is in {}", folder.display());
    }
    Ok(())
}

fn show(recording: &Recording, view: View, title: &str) {
    match view {
        View::Text => println!("{recording}"),
        View::Ladder => {
            if let Some(ladder) = recording.ladders().first() {
                print!("{}", ladder.svg());
            }
        }
        View::Timeline => print!("{}", recording.timeline()),
        View::Page => print!("{}", recording.page(title)),
        View::Chrome => print!("{}", recording.chrome_trace()),
    }
}
