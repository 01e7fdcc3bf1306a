//! What one connection may take of the loop. The last sentence of statement P5.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use support::*;
use twistor_deferred::{Deferred, Trigger};
use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
use twistor_reactor::Handle;

/// What may be read of one connection in a turn.
const SHARE: usize = 256 * 1024;

const FLOOD: usize = 32 << 20;

/// Counts what it gets in each turn.
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

// P5, P9, B8
#[test]
fn a_flooding_connection_gets_a_bounded_share_of_each_turn() {
    for world in [World::Real, World::Simulated(1)] {
        let most = Rc::new(Cell::new(0));
        world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                // All of it arrives at once.
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
        // It was a flood.
        assert!(world == World::Real || most.get() == SHARE);
    }
}

/// The pings of all connections, and how many turns each took.
struct Pings {
    handle: Handle,
    streams: RefCell<Vec<std::os::unix::net::UnixStream>>,
    /// The turn in which the ping under way was sent.
    sent: Cell<Option<u64>>,
    count: Cell<usize>,
    longest: Cell<u64>,
}

const PINGS: usize = 2000;

/// The flooded connection's protocol: each time it is called, another connection's ping is sent, and is there as soon
/// as it is sent, since the sockets are UNIX ones.
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
            // Until all pings are done, and it is cut off.
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
