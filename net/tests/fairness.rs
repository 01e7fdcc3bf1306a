//! The share of the loop that connections get. P5.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use support::*;
use twistor_deferred::{Deferred, Trigger};
use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
use twistor_reactor::Handle;

/// The largest number of bytes read of one connection in a turn.
const SHARE: usize = 256 * 1024;

const FLOOD: usize = 32 << 20;

/// Counts the bytes received in each turn.
struct Flooded {
    handle: Handle,
    turn: u64,
    in_turn: usize,
    most: Rc<Cell<usize>>,
    left: usize,
    done: Option<Trigger<()>>,
}

impl Protocol for Flooded {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        let turn = self.handle.stats().turns;
        if turn != self.turn {
            (self.turn, self.in_turn) = (turn, 0);
        }
        self.in_turn += data.len();
        self.most.set(self.most.get().max(self.in_turn));
        self.left -= data.len();
        if self.left == 0 {
            self.done.take().unwrap().callback(());
        }
        Ok(())
    }
}

// P5.7, P9, B8
#[test]
fn a_flooding_connection_gets_a_bounded_share_of_each_turn() {
    on_networks(0..1, |world| {
        let most = Rc::new(Cell::new(0));
        world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                // All data arrives at once.
                network.set_window(FLOOD, FLOOD);
                network.set_splitting(false);
            }
            let (done, trigger) = Deferred::new();
            let flooded = Flooded {
                handle: Handle::clone(reactor),
                turn: 0,
                in_turn: 0,
                most: most.clone(),
                left: FLOOD,
                done: Some(trigger),
            };
            let port = listen_once(reactor, flooded);
            let flood = scripted(&Diary::new()).on_made(|transport| {
                transport.write_vec(vec![b'x'; FLOOD]);
                Ok(())
            });
            drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, flood));
            done
        });
        assert!(most.get() <= SHARE, "{} bytes in one turn, in {world:?}", most.get());
        // Each turn was full, so it was a flood.
        assert!(world.is_real() || most.get() == SHARE);
    });
}

/// Writes pieces when resumed, and counts the bytes that all connections have written in a turn.
struct Pieces {
    handle: Handle,
    transport: Transport,
    size: usize,
    count: Rc<TurnCount>,
}

/// The bytes written in the last turn that wrote any, and the most in one turn.
#[derive(Default)]
struct TurnCount {
    last: Cell<(u64, usize)>,
    most: Cell<usize>,
}

impl TurnCount {
    fn add(&self, handle: &Handle, bytes: usize) {
        let turn = handle.stats().turns;
        let (last, before) = self.last.get();
        let count = bytes + if last == turn { before } else { 0 };
        self.last.set((turn, count));
        self.most.set(self.most.get().max(count));
    }
}

impl twistor_net::Producer for Pieces {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.count.add(&self.handle, self.size);
        self.transport.write(&vec![b'x'; self.size]);
    }

    fn stop_producing(&self) {}
}

/// Serves many clients that connect at once and do not read. `made` runs for each connection. Returns the
/// most bytes counted in one turn.
fn serve_many(
    window: usize,
    made: impl Fn(&Transport, Handle, Rc<TurnCount>) -> Result<(), Failure> + 'static,
) -> usize {
    const CLIENTS: usize = 100;
    let count = Rc::new(TurnCount::default());
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.set_window(window, window);
        network.set_latency(std::time::Duration::ZERO, std::time::Duration::ZERO);
        network.set_splitting(false);
        let (handle, count, made) = (Handle::clone(reactor), count.clone(), Rc::new(made));
        let port = listen(reactor, move |_| {
            let (handle, count, made) = (handle.clone(), count.clone(), made.clone());
            scripted(&Diary::new()).on_made(move |transport| made(transport, handle.clone(), count.clone()))
        });
        for _ in 0..CLIENTS {
            let silent = scripted(&Diary::new()).on_made(|transport| {
                transport.pause_producing();
                Ok(())
            });
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            drop(endpoint.connect(reactor, silent));
        }
        twistor_reactor::defer_later(reactor, std::time::Duration::from_secs(5), move || {
            drop(port);
            Ok(())
        })
    });
    count.most.get()
}

fn serve_pieces(size: usize) -> impl Fn(&Transport, Handle, Rc<TurnCount>) -> Result<(), Failure> {
    move |transport, handle, count| {
        let pieces = Pieces { handle, transport: transport.clone(), size, count };
        Ok(transport.register_pull_producer(pieces)?)
    }
}

/// The largest number of bytes read and written by all connections in a turn.
const WORK: usize = 4 << 20;

// P5.1
#[test]
fn all_connections_together_get_a_bounded_share_of_a_turn() {
    let most = serve_many(1 << 20, serve_pieces(64 * 1024));
    // The last piece of the turn may begin just before the share is used up.
    assert!((1 << 20..=WORK + 64 * 1024).contains(&most), "{most} bytes in one turn");
}

// P5.1
#[test]
fn bytes_that_are_copied_to_be_sent_later_count_as_work() {
    let most = serve_many(1024, serve_pieces(256 * 1024));
    assert!((1 << 20..=WORK + 256 * 1024).contains(&most), "{most} bytes in one turn");
}

// P5.1
#[test]
fn a_listener_accepts_no_more_when_the_share_is_used_up() {
    let most = serve_many(1024, |transport, handle, count| {
        count.add(&handle, 256 * 1024);
        transport.write_slices(&[&[b'x'; 128 * 1024], &[b'x'; 128 * 1024]]);
        Ok(())
    });
    assert!((1 << 20..=WORK + 256 * 1024).contains(&most), "{most} bytes in one turn");
}

// P5.1
#[test]
fn one_large_write_takes_no_more_than_a_share_of_the_turn() {
    simulated(|reactor| {
        SimulatedNetwork::of(reactor).unwrap().set_window(FLOOD, FLOOD);
        let diary = Diary::new();
        let port = listen_once(reactor, scripted(&diary));
        let writers: [fn(&Transport) -> bool; 3] = [
            |transport| transport.write(&vec![b'x'; FLOOD / 4]),
            |transport| transport.write_vec(vec![b'x'; FLOOD / 4]),
            |transport| transport.write_slices(&[b"xx", &vec![b'x'; FLOOD / 4 - 2]]),
        ];
        let client = scripted(&Diary::new()).on_made(move |transport| {
            for write in writers {
                let before = transport.buffered();
                assert!(write(transport));
                assert!(transport.buffered() - before >= FLOOD / 4 - SHARE);
            }
            transport.lose_connection();
            Ok(())
        });
        drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, client));
        diary.when_lost().add_callback(move |()| assert_eq!(diary.received().len(), FLOOD / 4 * 3))
    });
}

/// A hand-written TLS server that sends each byte in a separate record.
#[cfg(feature = "tls")]
struct OneByteRecords(twistor_net::tls::rustls::ServerConnection, usize);

#[cfg(feature = "tls")]
impl Protocol for OneByteRecords {
    fn data_received(&mut self, transport: &Transport, mut data: &[u8]) -> Result<(), Failure> {
        let OneByteRecords(session, left) = self;
        let mut wire = Vec::new();
        while !data.is_empty() {
            session.read_tls(&mut data)?;
            session.process_new_packets()?;
        }
        if !session.is_handshaking() {
            for _ in 0..std::mem::take(left) {
                session.writer().write_all(b"x")?;
                while session.wants_write() {
                    session.write_tls(&mut wire)?;
                }
            }
        }
        while session.wants_write() {
            session.write_tls(&mut wire)?;
        }
        transport.write_vec(wire);
        Ok(())
    }
}

// P10.1: records are counted, however little they contain
#[cfg(feature = "tls")]
#[test]
fn a_flood_of_small_records_gets_a_bounded_share_of_each_turn() {
    use std::sync::Arc;

    const RECORDS: usize = 50_000;
    on_networks(0..1, |world| {
        let authority = tls_support::Authority::new();
        let config = Arc::new(authority.signs("localhost").rustls_server());
        let most = Rc::new(Cell::new(0));
        world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_window(FLOOD, FLOOD);
                network.set_splitting(false);
                network.add_name("localhost", ["127.0.0.1".parse().unwrap()]);
            }
            let session = twistor_net::tls::rustls::ServerConnection::new(config).unwrap();
            let port = listen_once(reactor, OneByteRecords(session, RECORDS));
            let (done, trigger) = Deferred::new();
            let flooded = Flooded {
                handle: Handle::clone(reactor),
                turn: 0,
                in_turn: 0,
                most: most.clone(),
                left: RECORDS,
                done: Some(trigger),
            };
            let endpoint = ClientEndpoint::tls("localhost", address(&port).port(), authority.client());
            drop(endpoint.connect(reactor, flooded));
            done
        });
        // Four reads of 20 KiB, at 23 bytes per record, and the rest of the last turn's.
        assert!(most.get() <= 4 * (20 * 1024 / 23 + 1), "{} records in one turn, in {world:?}", most.get());
    });
}

/// The pings of all connections, and the number of turns each took.
struct Pings {
    handle: Handle,
    streams: RefCell<Vec<std::os::unix::net::UnixStream>>,
    /// The turn in which the pending ping was sent.
    sent: Cell<Option<u64>>,
    count: Cell<usize>,
    longest: Cell<u64>,
}

const PINGS: usize = 2000;

/// The flooded connection's protocol. Each call sends another connection's ping, which arrives at once,
/// because the sockets are UNIX sockets.
struct Pinging(Rc<Pings>);

impl Protocol for Pinging {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        let pings = &self.0;
        if pings.count.get() == PINGS {
            transport.abort_connection();
        } else if pings.sent.get().is_none() {
            let mut streams = pings.streams.borrow_mut();
            let which = pings.count.get() % streams.len();
            pings.sent.set(Some(pings.handle.stats().turns));
            streams[which].write_all(b"p")?;
        }
        Ok(())
    }
}

struct Pinged(Rc<Pings>);

impl Protocol for Pinged {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        let pings = &self.0;
        let waited = pings.handle.stats().turns - pings.sent.take().unwrap();
        pings.longest.set(pings.longest.get().max(waited));
        pings.count.set(pings.count.get() + 1);
        Ok(())
    }
}

// P5, B8
#[test]
fn connections_that_ping_wait_one_turn_while_another_floods() {
    const PEERS: usize = 100;
    let folder = support::folder::Folder::new("fairness");
    let (count, longest) = run(|reactor| {
        let pings = Rc::new(Pings {
            handle: Handle::clone(reactor),
            streams: RefCell::default(),
            sent: Cell::new(None),
            count: Cell::new(0),
            longest: Cell::new(0),
        });
        let (pinged, pinging) = (pings.clone(), pings.clone());
        let accepted = Rc::new(Cell::new(0));
        let (all_accepted, all) = Deferred::new();
        let all = Cell::new(Some(all));
        let (ping_path, flood_path) = (folder.join("ping"), folder.join("flood"));
        ServerEndpoint::unix(&ping_path)
            .listen(reactor, move |_| {
                accepted.set(accepted.get() + 1);
                if accepted.get() == PEERS {
                    all.take().unwrap().callback(());
                }
                Pinged(pinged.clone())
            })
            .unwrap();
        ServerEndpoint::unix(&flood_path).listen(reactor, Once(Some(Pinging(pinging)))).unwrap();
        for _ in 0..PEERS {
            let stream = std::os::unix::net::UnixStream::connect(&ping_path).unwrap();
            pings.streams.borrow_mut().push(stream);
        }
        let handle = Handle::clone(reactor);
        let flooded = all_accepted.add_callback(move |()| {
            // Until all pings are done, and this connection is cut off.
            handle.defer_to_thread(move || {
                let mut stream = std::os::unix::net::UnixStream::connect(&flood_path)?;
                stream.set_write_timeout(Some(DEADLINE))?;
                let piece = vec![b'x'; 1 << 20];
                while stream.write_all(&piece).is_ok() {}
                Ok(())
            })
        });
        flooded.add_callback(move |()| Ok((pings.count.get(), pings.longest.get())))
    });
    assert_eq!(count, PINGS);
    assert_eq!(longest, 1, "turns until a ping was read");
}
