//! cargo run --example multi_core -- [--listen ADDRESS] [--reactors NUMBER]
//!
//! One reactor per core, all on one port: the operating system distributes the connections among them (SO_REUSEPORT), and
//! they share nothing else. Each greets a client with the number of its reactor and the count of its clients; run
//! `telnet 127.0.0.1 8000` a few times to see it. Ctrl-C shuts all of them down gracefully.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use twistor::prelude::*;

/// Sends a greeting and closes.
struct Greeter {
    reactor: usize,
    client: u64,
}

impl Protocol for Greeter {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(format!("reactor {}, client {}\r\n", self.reactor, self.client).as_bytes());
        transport.lose_connection();
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Creates a reactor that listens, on the calling thread. Returns it and its address, with the port that was chosen.
fn listening(number: usize, address: SocketAddr) -> Result<(Reactor, SocketAddr), Failure> {
    let reactor = Reactor::new()?;
    let clients = Cell::new(0);
    let port = ServerEndpoint::tcp(address).reuse_port(true).listen(&reactor, move |_peer| {
        clients.set(clients.get() + 1);
        Greeter { reactor: number, client: clients.get() }
    })?;
    Ok((reactor, port.address().ip().unwrap_or(address)))
}

fn serve(address: SocketAddr, reactors: usize) -> Result<(), Failure> {
    let (first, address) = listening(0, address)?;
    // A reactor stays on its thread. Only a `Remote` may leave it.
    let (started, remotes) = mpsc::channel();
    let threads: Vec<_> = (1..reactors)
        .map(|number| {
            let started = started.clone();
            thread::spawn(move || -> Result<(), Failure> {
                let (reactor, _) = listening(number, address)?;
                let remote = reactor.remote();
                reactor.call_when_running(move || drop(started.send(remote)));
                Ok(reactor.run()?)
            })
        })
        .collect();
    drop(started);
    // Ends when each reactor runs or has failed.
    let remotes: Vec<Remote> = remotes.iter().collect();

    let mut outcome = Ok(());
    if remotes.len() + 1 == reactors {
        println!("listening on {address}, with {reactors} reactors");
        outcome = first.run().map_err(Failure::from);
    }
    for remote in &remotes {
        // A reactor that has stopped already is fine, too.
        let _ = remote.stop();
    }
    for thread in threads {
        outcome = outcome.and(thread.join().unwrap_or(Ok(())));
    }
    outcome
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut address = Some(SocketAddr::from(([127, 0, 0, 1], 8000)));
    let mut reactors = Some(thread::available_parallelism().map_or(2, usize::from));
    for option in arguments.chunks(2) {
        match option {
            [name, value] if name == "--listen" => address = value.parse().ok(),
            [name, value] if name == "--reactors" => {
                reactors = value.parse().ok().filter(|number| *number > 0)
            }
            _ => address = None,
        }
    }
    let (Some(address), Some(reactors)) = (address, reactors) else {
        eprintln!("usage: multi_core [--listen ADDRESS] [--reactors NUMBER]");
        return ExitCode::from(2);
    };
    match serve(address, reactors) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
