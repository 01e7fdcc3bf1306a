//! Shared by the load generators: connections, and the time window in which operations count.

use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use crate::runner::sample::processor_time_of;

/// Connects `count` times, and registers each connection under its number, for reading and writing.
pub fn connect(address: &str, count: usize, poll: &Poll) -> Vec<TcpStream> {
    (0..count)
        .map(|number| {
            let stream = std::net::TcpStream::connect(address).expect("connect");
            stream.set_nodelay(true).expect("nodelay");
            stream.set_nonblocking(true).expect("nonblocking");
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)
                .expect("register");
            stream
        })
        .collect()
}

/// Counts after the first tenth of the time, to leave out connecting and warming up.
pub struct Window {
    pid: u32,
    opens: Instant,
    length: Duration,
    open: Option<(Instant, Duration, u64)>,
}

/// The operations within the window, and their time.
pub struct Counted {
    pub operations: u64,
    pub wall: Duration,
    pub cpu: Duration,
}

impl Window {
    pub fn new(pid: u64, milliseconds: u64) -> Window {
        let length = Duration::from_millis(milliseconds);
        Window { pid: pid as u32, opens: Instant::now() + length / 10, length, open: None }
    }

    /// Call this often with the current count. Returns the result once the window has passed.
    pub fn look(&mut self, count: u64) -> Option<Counted> {
        let now = Instant::now();
        let cpu = || processor_time_of(self.pid).expect("the server runs");
        match self.open {
            None if now >= self.opens => self.open = Some((now, cpu(), count)),
            Some((start, before, first)) if now >= start + self.length => {
                return Some(Counted { operations: count - first, wall: now - start, cpu: cpu() - before });
            }
            _ => {}
        }
        None
    }
}
