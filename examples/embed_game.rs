//! cargo run --example embed_game
//!
//! A game draws 60 frames a second, each on time. The reactor gets at most two milliseconds of each frame.
//!
//! A server on another thread sends as fast as it can. Data that does not fit into the share of one frame waits in the
//! socket for the next frame. The frames stay on time, and TCP slows the server down.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use twistor::deferred::Failure;
use twistor::net::{ClientEndpoint, Producer, Protocol, ServerEndpoint, Transport};
use twistor::reactor::{Reactor, Remote};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
const SHARE: Duration = Duration::from_millis(2);
const FRAMES: u32 = 90;

fn main() -> Result<(), Failure> {
    let (tell, told) = mpsc::channel();
    let server_thread = std::thread::spawn(move || serve(&tell));
    let (port, server) = told.recv()?;

    let reactor = Reactor::new()?;
    let bytes = Rc::new(Cell::new(0));
    let world = World { bytes: bytes.clone() };
    drop(ClientEndpoint::tcp("127.0.0.1", port).connect(&reactor, world));

    let start = Instant::now();
    let (mut late, mut shares) = (Vec::new(), Vec::new());
    for frame in 0..FRAMES {
        let due = start + frame * FRAME;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late.push(due.elapsed());
        draw(frame, bytes.take());

        let begun = Instant::now();
        reactor.turns(SHARE)?;
        shares.push(begun.elapsed());
    }
    println!("{FRAMES} frames in {:?}", start.elapsed());
    for (what, mut times) in [("a frame was late by", late), ("the network took", shares)] {
        times.sort();
        println!(
            "{what} {:?} in the middle, {:?} at the most",
            times[times.len() / 2],
            times[times.len() - 1]
        );
    }

    reactor.stop();
    while reactor.turn(None)? {}
    server.stop()?;
    server_thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn draw(frame: u32, bytes: usize) {
    if frame % 15 == 0 {
        println!("frame {frame:2}: {bytes} bytes came in since the last one");
    }
}

/// Counts the bytes that the server sends.
struct World {
    bytes: Rc<Cell<usize>>,
}

impl Protocol for World {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.bytes.set(self.bytes.get() + data.len());
        Ok(())
    }
}

/// Runs a server that sends without end, on its own reactor and thread.
fn serve(tell: &mpsc::Sender<(u16, Remote)>) -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, |_peer| Flood)?;
    tell.send((port.address().port().unwrap_or(0), reactor.remote()))?;
    Ok(reactor.run()?)
}

struct Flood;

impl Protocol for Flood {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        Ok(transport.register_pull_producer(Source(transport.clone()))?)
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Writes a piece whenever the previous one has been sent.
struct Source(Transport);

impl Producer for Source {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.0.write(&[7; 65_536]);
    }

    fn stop_producing(&self) {}
}
