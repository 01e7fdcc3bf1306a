//! The host and its reactor.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use twistor::deferred::Failure;
use twistor::net::{ClientEndpoint, Protocol, ServerEndpoint, Transport};
use twistor::reactor::{Handle, Reactor};

pub(super) fn run() -> Result<(), Box<dyn Error>> {
    // The program as it was before it embedded a reactor.
    let mut lines = BufReader::new(feed()?);

    // The new part. The reactor runs nothing until the host takes a turn.
    let reactor = Reactor::new()?;
    serve(&reactor)?;
    let handle = reactor.handle();
    reactor.call_later(Duration::from_millis(1700), move || {
        println!("reactor: time to stop");
        handle.stop();
    });

    let mut waits = 0;
    loop {
        waits += 1;
        let timeout = reactor.next_deadline().map(until);
        let (host_ready, reactor_ready) = {
            let mut fds = [
                PollFd::new(lines.get_ref(), PollFlags::IN),
                PollFd::from_borrowed_fd(reactor.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                // A signal interrupted the wait: start over.
                Err(Errno::INTR) => continue,
                result => _ = result?,
            }
            (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
        };
        if host_ready {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            print!("host:    {line}");
        }
        let due = reactor.next_deadline().is_some_and(|deadline| deadline <= Instant::now());
        if (reactor_ready || due) && !reactor.turn(Some(Duration::ZERO))? {
            break;
        }
    }
    println!("host:    the reactor has stopped, after {waits} waits; on with the rest of the program");
    Ok(())
}

fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
}

/// Creates the host's own descriptor.
fn feed() -> std::io::Result<UnixStream> {
    let (reader, mut writer) = UnixStream::pair()?;
    std::thread::spawn(move || {
        for n in 1.. {
            std::thread::sleep(Duration::from_millis(500));
            if writeln!(writer, "line {n} from the host's own socket").is_err() {
                break;
            }
        }
    });
    Ok(reader)
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// Sends a message, and another one 300 ms after each echo.
struct Client(Handle);

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"hello");
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        println!("reactor: the echo says {}", String::from_utf8_lossy(data));
        let transport = transport.clone();
        self.0.call_later(Duration::from_millis(300), move || _ = transport.write(b"hello again"));
        Ok(())
    }
}

fn serve(reactor: &Reactor) -> Result<(), Box<dyn Error>> {
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(reactor, |_peer| Echo)?;
    let client = ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0));
    drop(client.connect(reactor, Client(reactor.handle())));
    Ok(())
}
