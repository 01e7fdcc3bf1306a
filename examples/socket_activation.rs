//! cargo run --example socket_activation
//!
//! Serves on sockets that systemd has opened, so that clients are never refused while the service starts or restarts:
//! `systemd-socket-activate -l 8000 target/debug/examples/socket_activation`, or a `.socket` unit. Without systemd, it
//! listens on a free port.

use std::process::ExitCode;

#[cfg(unix)]
use twistor::net::Listener;
use twistor::prelude::*;

/// Sends back each line.
struct Echo;

impl FrameReceiver for Echo {
    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        transport.write_frame(&Lines::any_ending(), line)?;
        Ok(())
    }
}

fn echo() -> Framed<Lines, Echo> {
    Framed::new(Lines::any_ending(), Echo)
}

/// The sockets that were passed to this process (LISTEN_FDS): TCP, or else UNIX.
#[cfg(unix)]
fn inherited() -> Result<Vec<Listener>, Failure> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = match passed.take_tcp_listener(index) {
            Ok(socket) => socket.map(Listener::try_from),
            Err(_) => passed.take_unix_listener(index)?.map(Listener::try_from),
        };
        listeners.extend(listener.transpose()?);
    }
    Ok(listeners)
}

fn run() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let mut listening = Vec::new();
    #[cfg(unix)]
    for listener in inherited()? {
        listening.push(listener.serve(&reactor, |_peer| echo())?);
    }
    if listening.is_empty() {
        let endpoint: ServerEndpoint = "tcp:127.0.0.1:0".parse()?;
        listening.push(endpoint.listen(&reactor, |_peer| echo())?);
    }
    let addresses: Vec<String> = listening.iter().map(|port| port.address().to_string()).collect();
    println!("listening on {}", addresses.join(", "));
    Ok(reactor.run()?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure:#}");
            ExitCode::FAILURE
        }
    }
}
