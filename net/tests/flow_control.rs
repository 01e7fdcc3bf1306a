//! Producers and high-water marks. P5, and the producers of P2.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::{
    ClientEndpoint, ConnectionAborted, ConnectionDone, Failure, HandlerPanicked, Producer, ProducerRefused,
    Protocol, RateLimit, SimulatedNetwork, Transport,
};
use twistor_reactor::Handle;

/// Writes pieces until it is paused or done.
struct Source {
    transport: Transport,
    left: Cell<usize>,
    paused: Cell<bool>,
    log: Log,
    most: Rc<Cell<usize>>,
}

const PIECE: usize = 10_000;

/// The calls that a producer received.
type Log = Rc<RefCell<Vec<&'static str>>>;

impl Source {
    fn go(&self) {
        while !self.paused.get() && self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            if !self.transport.write(&[b'x'; PIECE]) {
                return;
            }
            self.most.set(self.most.get().max(self.transport.buffered()));
        }
        if self.left.get() == 0 {
            self.transport.unregister_producer();
        }
    }
}

impl Producer for Source {
    fn pause_producing(&self) {
        assert!(!self.paused.replace(true));
        self.log.borrow_mut().push("pause");
    }

    fn resume_producing(&self) {
        assert!(self.paused.replace(false) && self.transport.buffered() == 0);
        self.log.borrow_mut().push("resume");
        self.go();
    }

    fn stop_producing(&self) {
        self.log.borrow_mut().push("stop");
    }
}

// P5.3, P5.4, P2
#[test]
fn a_push_producer_is_paused_and_resumed() {
    let (diary, log, most) = (Diary::new(), Log::default(), Rc::new(Cell::new(0)));
    let got = run(|reactor| {
        let (log, most) = (log.clone(), most.clone());
        let server = scripted(&diary).on_made(move |transport| {
            let source = Rc::new(Source {
                transport: transport.clone(),
                left: Cell::new(2000),
                paused: Cell::new(false),
                log: log.clone(),
                most: most.clone(),
            });
            transport.register_producer(source.clone())?;
            assert_eq!(transport.register_producer(source.clone()), Err(ProducerRefused::AlreadyRegistered));
            source.go();
            // The connection waits for the producer.
            transport.lose_connection();
            assert_eq!(transport.register_producer(source), Err(ProducerRefused::Closed));
            Ok(())
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), |mut stream| stream.read_to_end(&mut Vec::new()))
    });
    assert_eq!(got, 2000 * PIECE);
    assert!(most.get() <= 64 * 1024 + PIECE, "{} bytes were buffered", most.get());
    assert_eq!(log.borrow()[..2], ["pause", "resume"]);
    assert!(!log.borrow().contains(&"stop"));
    assert!(diary.reason().is::<ConnectionDone>());
}

// P5.3
#[test]
fn the_high_water_mark_can_be_set() {
    let (diary, most) = (Diary::new(), Rc::new(Cell::new(0)));
    run(|reactor| {
        let seen = most.clone();
        // The peer begins to read only then. Otherwise it could keep up with the producer.
        let (full, is_full) = std::sync::mpsc::channel();
        let server = scripted(&diary).on_made(move |transport| {
            transport.set_high_water_mark(1 << 20);
            let source = Rc::new(Source {
                transport: transport.clone(),
                left: Cell::new(2000),
                paused: Cell::new(false),
                log: Rc::default(),
                most: seen.clone(),
            });
            transport.register_producer(source.clone())?;
            source.go();
            assert!(transport.is_full());
            transport.lose_connection();
            full.send(())?;
            Ok(())
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), move |mut stream| {
            // The sender is dropped if the assertion above fails.
            let _ = is_full.recv();
            stream.read_to_end(&mut Vec::new())
        })
    });
    assert!((1 << 20..=(1 << 20) + PIECE).contains(&most.get()), "{} bytes were buffered", most.get());
}

// P5.5, B1
#[test]
fn a_producer_is_stopped_when_the_connection_is_lost() {
    let (diary, log) = (Diary::new(), Log::default());
    run(|reactor| {
        let log = log.clone();
        let server = scripted(&diary).on_made(move |transport| {
            let source = Rc::new(Source {
                transport: transport.clone(),
                left: Cell::new(usize::MAX),
                paused: Cell::new(false),
                log: log.clone(),
                most: Rc::default(),
            });
            transport.register_producer(source.clone())?;
            source.go();
            Ok(())
        });
        let port = listen_once(reactor, server);
        let peer = peer(reactor, address(&port), |mut stream| {
            stream.read_exact(&mut [0; 1000])?;
            reset(stream);
            Ok(())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |()| lost)
    });
    assert_eq!(log.borrow().last(), Some(&"stop"));
    assert_eq!(log.borrow().iter().filter(|entry| **entry == "stop").count(), 1);
}

// P4, P5.5
#[test]
fn a_producer_is_stopped_when_a_handler_fails() {
    on_every_network(|world| {
        let (diary, log) = (Diary::new(), Log::default());
        let told = log.clone();
        let server = scripted(&diary)
            .on_made(move |transport| {
                let source = Source {
                    transport: transport.clone(),
                    left: Cell::new(1),
                    paused: Cell::new(false),
                    log: told.clone(),
                    most: Rc::default(),
                };
                Ok(transport.register_producer(source)?)
            })
            .on_data(|_, _| Err(std::io::Error::other("this makes no sense").into()));
        world.until_lost(&diary, server, async |mut stream| {
            stream.write_all(b"x").await?;
            stream.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(*log.borrow(), ["stop"]);
        assert_eq!(diary.reason().to_string(), "this makes no sense");
    });
}

// P5, P2.3: a rate limit holds the data back, so that the buffer is exactly as full as the test expects
#[test]
fn a_producer_keeps_a_closing_connection_open() {
    on_every_network(|world| {
        let (diary, log) = (Diary::new(), Log::default());
        world.run(|reactor| {
            let (handle, log) = (Handle::clone(reactor), log.clone());
            let server = scripted(&diary).on_made(move |transport| {
                let source = || Source {
                    transport: transport.clone(),
                    left: Cell::new(0),
                    paused: Cell::new(false),
                    log: log.clone(),
                    most: Rc::default(),
                };
                transport.limit_writing(&RateLimit::new(&handle, 1));
                transport.set_high_water_mark(1000);
                transport.register_producer(source())?;
                transport.write(&[b'x'; 1000]);
                assert!(log.borrow().is_empty());
                transport.write(b"x");
                assert_eq!(*log.borrow(), ["pause"]);
                // A producer registered with a full buffer is paused at once.
                transport.unregister_producer();
                transport.register_producer(source())?;
                assert_eq!(*log.borrow(), ["pause", "pause"]);

                transport.lift_limits();
                transport.set_high_water_mark(10_000);
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            let peer = Peer::connect(reactor, address(&port), async |mut stream| {
                stream.read_to_end(&mut Vec::new()).await
            });
            let lost = diary.when_lost();
            peer.add_callback(move |got| {
                assert_eq!(got, 1001);
                lost
            })
        });
        // It was resumed when everything was sent, had no more data and unregistered. So the connection
        // closed.
        assert_eq!(*log.borrow(), ["pause", "pause", "resume"]);
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P5.3
#[test]
fn a_mark_below_the_waiting_bytes_pauses_at_once() {
    on_every_network(|world| {
        let (diary, log) = (Diary::new(), Log::default());
        world.run(|reactor| {
            let (handle, log) = (Handle::clone(reactor), log.clone());
            let server = scripted(&diary).on_made(move |transport| {
                transport.limit_writing(&RateLimit::new(&handle, 1));
                transport.register_producer(Source {
                    transport: transport.clone(),
                    left: Cell::new(0),
                    paused: Cell::new(false),
                    log: log.clone(),
                    most: Rc::default(),
                })?;
                transport.write(&[b'x'; 2000]);
                transport.set_high_water_mark(2000);
                assert!(log.borrow().is_empty());
                transport.set_high_water_mark(1999);
                assert_eq!(*log.borrow(), ["pause"]);
                // The producer is paused already, and stays paused until everything is sent.
                transport.set_high_water_mark(1);
                transport.set_high_water_mark(5000);
                assert_eq!(*log.borrow(), ["pause"]);
                transport.lift_limits();
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            let peer = Peer::connect(reactor, address(&port), async |mut stream| {
                stream.read_to_end(&mut Vec::new()).await
            });
            let lost = diary.when_lost();
            peer.add_callback(move |_| lost)
        });
        assert_eq!(*log.borrow(), ["pause", "resume"]);
    });
}

/// Writes a piece when it is first resumed.
struct Hesitant {
    transport: Transport,
    resumed: Rc<Cell<usize>>,
}

impl Producer for Hesitant {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.resumed.set(self.resumed.get() + 1);
        assert!(self.resumed.get() < 10, "resumed again and again");
        if self.resumed.get() == 1 {
            self.transport.write(b"x");
        }
    }

    fn stop_producing(&self) {}
}

// P5.4: it is resumed again when its piece is sent, and not before it has written one
#[test]
fn a_pull_producer_that_writes_nothing_is_not_resumed_again() {
    let resumed = Rc::new(Cell::new(0));
    simulated(|reactor| {
        let (handle, count) = (Handle::clone(reactor), resumed.clone());
        let (done, trigger) = Deferred::new();
        let trigger = Cell::new(Some(trigger));
        let server = scripted(&Diary::new()).on_made(move |transport| {
            let producer = Hesitant { transport: transport.clone(), resumed: count.clone() };
            transport.register_pull_producer(producer)?;
            let (transport, count, trigger) = (transport.clone(), count.clone(), trigger.take().unwrap());
            let later = handle.clone();
            handle.call_later(Duration::from_secs(60), move || {
                assert_eq!(count.get(), 2);
                transport.write(b"y");
                later.call_later(Duration::from_secs(60), move || trigger.callback(()));
            });
            Ok(())
        });
        let port = listen_once(reactor, server);
        // It writes nothing, and nothing else makes the loop call the connection.
        let peer = scripted(&Diary::new());
        drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, peer));
        done
    });
    assert_eq!(resumed.get(), 3);
}

// P5.3: a pull producer has nothing to pause, whatever the mark
#[test]
fn a_pull_producer_is_not_paused_by_a_mark() {
    let diary = Diary::new();
    run(|reactor| {
        let handle = Handle::clone(reactor);
        let server = scripted(&diary).on_made(move |transport| {
            transport.limit_writing(&RateLimit::new(&handle, 1));
            transport.register_pull_producer(Panicking("pause_producing"))?;
            transport.write(&[b'x'; 2000]);
            transport.set_high_water_mark(5);
            transport.unregister_producer();
            transport.lift_limits();
            transport.lose_connection();
            Ok(())
        });
        let port = listen_once(reactor, server);
        drop(peer(reactor, address(&port), |mut stream| stream.read_to_end(&mut Vec::new())));
        diary.when_lost()
    });
    assert!(diary.reason().is::<ConnectionDone>());
}

// P2.3: from a later turn, without any other event on the connection
#[test]
fn a_closing_connection_closes_when_its_producer_unregisters() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let handle = Handle::clone(reactor);
            let server = scripted(&diary).on_made(move |transport| {
                transport.register_producer(Panicking(""))?;
                transport.lose_connection();
                let transport = transport.clone();
                handle.call_later(Duration::from_millis(5), move || {
                    assert!(!transport.is_lost());
                    transport.unregister_producer();
                });
                Ok(())
            });
            let port = listen_once(reactor, server);
            let peer = Peer::connect(reactor, address(&port), async |mut stream| {
                stream.read_to_end(&mut Vec::new()).await
            });
            let lost = diary.when_lost();
            peer.add_callback(move |_| lost)
        });
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

/// Panics in the method with this name.
struct Panicking(&'static str);

impl Panicking {
    fn enter(&self, method: &'static str) {
        assert_ne!(self.0, method, "on purpose");
    }
}

impl Producer for Panicking {
    fn pause_producing(&self) {
        self.enter("pause_producing");
    }

    fn resume_producing(&self) {
        self.enter("resume_producing");
    }

    fn stop_producing(&self) {
        self.enter("stop_producing");
    }
}

// P4.1: a producer counts as a handler of the connection
#[test]
fn a_panic_in_a_producer_closes_its_connection() {
    for method in ["pause_producing", "resume_producing", "stop_producing"] {
        let diary = Diary::new();
        run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                transport.register_producer(Panicking(method))?;
                transport.write_vec(vec![b'x'; 8 << 20]);
                if method == "stop_producing" {
                    transport.abort_connection();
                }
                Ok(())
            });
            let port = listen_once(reactor, server);
            let peer = peer(reactor, address(&port), |mut stream| {
                let _ = stream.read_to_end(&mut Vec::new());
                Ok(())
            });
            let lost = diary.when_lost();
            peer.add_callback(move |()| lost)
        });
        let reason = diary.reason();
        match method {
            // The connection is already lost when it is called.
            "stop_producing" => assert!(reason.is::<ConnectionAborted>(), "{reason:?}"),
            _ => assert_eq!(reason.downcast_ref::<HandlerPanicked>().unwrap().handler(), method),
        }
    }
}

/// Writes one piece each time it is resumed.
struct Pull {
    transport: Transport,
    left: Cell<usize>,
}

impl Producer for Pull {
    fn pause_producing(&self) {
        panic!("a pull producer is never paused");
    }

    fn resume_producing(&self) {
        assert_eq!(self.transport.buffered(), 0);
        if self.left.get() == 0 {
            self.transport.unregister_producer();
            self.transport.lose_connection();
        } else {
            self.left.set(self.left.get() - 1);
            self.transport.write(&[b'x'; PIECE]);
        }
    }

    fn stop_producing(&self) {}
}

// P5.4
#[test]
fn a_pull_producer_is_resumed_for_one_piece_at_a_time() {
    let diary = Diary::new();
    let got = run(|reactor| {
        let server = scripted(&diary).on_made(|transport| {
            let pull = Pull { transport: transport.clone(), left: Cell::new(1500) };
            Ok(transport.register_pull_producer(pull)?)
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), |mut stream| stream.read_to_end(&mut Vec::new()))
    });
    assert_eq!(got, 1500 * PIECE);
}

/// Writes a byte each time it is resumed, and counts the resumes of one turn.
struct Counting {
    transport: Transport,
    handle: Handle,
    left: Cell<usize>,
    turn: Cell<u64>,
    in_turn: Cell<usize>,
    most: Rc<Cell<usize>>,
}

impl Producer for Counting {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        let turn = self.handle.stats().turns;
        if self.turn.replace(turn) != turn {
            self.in_turn.set(0);
        }
        self.in_turn.set(self.in_turn.get() + 1);
        self.most.set(self.most.get().max(self.in_turn.get()));
        self.transport.write(b"x");
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.transport.unregister_producer();
            self.transport.lose_connection();
        }
    }

    fn stop_producing(&self) {}
}

// P5.7
#[test]
fn a_pull_producer_gets_a_bounded_share_of_each_turn() {
    on_every_network(|world| {
        let most = Rc::new(Cell::new(0));
        let got = world.run(|reactor| {
            let (handle, most) = (Handle::clone(reactor), most.clone());
            let server = scripted(&Diary::new()).on_made(move |transport| {
                let counting = Counting {
                    transport: transport.clone(),
                    handle: handle.clone(),
                    left: Cell::new(1000),
                    turn: Cell::new(0),
                    in_turn: Cell::new(0),
                    most: most.clone(),
                };
                Ok(transport.register_pull_producer(counting)?)
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async |mut stream| {
                stream.read_to_end(&mut Vec::new()).await
            })
        });
        assert_eq!((got, most.get()), (1000, 16), "bytes, and the most in one turn, in {world:?}");
    });
}

/// Measures in every turn how much of the queue the last turn sent.
fn watch(handle: &Handle, transport: Transport, before: usize, most: Rc<Cell<usize>>) {
    let now = transport.buffered();
    most.set(most.get().max(before - now));
    if now > 0 {
        let again = handle.clone();
        handle.call_later(Duration::ZERO, move || watch(&again, transport, now, most));
    }
}

// P5.7: removing a rate limit releases all the data that it held back
#[test]
fn the_queue_is_sent_in_bounded_shares() {
    const MUCH: usize = 8 << 20;
    let most = Rc::new(Cell::new(0));
    simulated(|reactor| {
        if let Some(network) = SimulatedNetwork::of(reactor) {
            network.set_window(2 * MUCH, 2 * MUCH);
            network.set_splitting(false);
        }
        let (handle, most) = (Handle::clone(reactor), most.clone());
        let server = scripted(&Diary::new()).on_made(move |transport| {
            transport.limit_writing(&RateLimit::new(&handle, 1));
            transport.write_vec(vec![b'x'; MUCH]);
            assert_eq!(transport.buffered(), MUCH);
            transport.lift_limits();
            watch(&handle, transport.clone(), MUCH, most.clone());
            Ok(())
        });
        let port = listen_once(reactor, server);
        let diary = Diary::new();
        let all = diary.when_received(MUCH);
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .connect(reactor, scripted(&diary))
            .add_callback(move |_| all)
    });
    assert_eq!(most.get(), 256 * 1024);
}

/// One side of a proxy. Passes received data to the other side, at that side's pace.
struct Side {
    other: Rc<RefCell<Option<Transport>>>,
    own: Rc<RefCell<Option<Transport>>>,
    most: Rc<Cell<usize>>,
}

impl Protocol for Side {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.own.replace(Some(transport.clone()));
        match &*self.other.borrow() {
            None => transport.pause_producing(),
            Some(other) => {
                transport.register_producer(other.clone())?;
                other.register_producer(transport.clone())?;
                other.resume_producing();
            }
        }
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        if let Some(other) = &*self.other.borrow() {
            other.write(data);
            self.most.set(self.most.get().max(other.buffered()));
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        if let Some(other) = &*self.other.borrow() {
            other.unregister_producer();
            other.lose_write_connection();
        }
        Ok(())
    }
}

// P5: from end to end
#[test]
fn a_proxy_buffers_little_in_both_directions() {
    const TOTAL: usize = 32 << 20;
    let most = Rc::new(Cell::new(0));
    run(|reactor| {
        let (far_diary, handle, seen) = (Diary::new(), (**reactor).clone(), most.clone());
        // The far side sends all data back.
        let far = listen_once(reactor, Back(far_diary));
        let far = ClientEndpoint::tcp("127.0.0.1", address(&far).port());
        let near = listen(reactor, move |_| {
            let (inner, outer) = (Rc::default(), Rc::default());
            let side = Side { other: Rc::clone(&outer), own: Rc::clone(&inner), most: seen.clone() };
            drop(far.connect(&handle, Side { other: inner, own: outer, most: seen.clone() }));
            side
        });
        peer(reactor, address(&near), move |mut stream| {
            let mut writer = stream.try_clone()?;
            let sender = std::thread::spawn(move || {
                writer.write_all(&vec![b'x'; TOTAL]).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            // A slow reader takes small pieces.
            let (mut piece, mut total) = (vec![0; 4096], 0);
            loop {
                match stream.read(&mut piece)? {
                    0 => break,
                    count => total += count,
                }
            }
            sender.join().unwrap();
            assert_eq!(total, TOTAL);
            Ok(())
        })
    });
    // The high-water mark, and one more read.
    assert!(most.get() <= (64 + 256) * 1024, "{} bytes were buffered", most.get());
}

/// An echo with flow control: it reads no faster than it sends.
struct Back(Diary);

impl Protocol for Back {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        Ok(transport.register_producer(transport.clone())?)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.unregister_producer();
        transport.lose_connection();
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        scripted(&self.0).connection_lost(reason);
    }
}

// P5.6
#[test]
fn an_idle_connection_holds_no_buffer() {
    let transport = run(|reactor| {
        let port = listen(reactor, |_| Echo);
        let (deferred, trigger) = Deferred::new();
        let trigger = Cell::new(Some(trigger));
        let client = scripted(&Diary::new())
            .on_made(|transport| {
                transport.write(&vec![b'x'; 8 << 20]);
                assert!(transport.buffered() > 0);
                Ok(())
            })
            .on_data({
                let mut left = 8 << 20;
                move |transport, data| {
                    left -= data.len();
                    if left == 0 {
                        assert_eq!(transport.buffered(), 0);
                        trigger.take().unwrap().callback(transport.clone());
                    }
                    Ok(())
                }
            });
        let connected = ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, client);
        connected.add_callback(move |_| deferred)
    });
    assert!(transport.is_lost());
}

// P5.8: the data waits in the socket, so that each read is as large as it may be
#[test]
fn a_protocol_limits_how_much_one_read_delivers() {
    const SENT: usize = 512 << 10;
    for (size, most) in
        [(1, 4 << 10), (5000, 16 << 10), (64 << 10, 64 << 10), (usize::MAX, Transport::LARGEST_READ)]
    {
        let largest = simulated(|reactor| {
            SimulatedNetwork::of(reactor).unwrap().set_window(2 * SENT, 2 * SENT);
            let (deferred, trigger) = Deferred::new();
            let (handle, mut trigger) = (Handle::clone(reactor), Some(trigger));
            let (mut left, mut largest) = (SENT, 0);
            let server = scripted(&Diary::new())
                .on_made(move |transport| {
                    transport.set_read_size(size);
                    transport.pause_producing();
                    let transport = transport.clone();
                    handle.call_later(Duration::from_secs(60), move || transport.resume_producing());
                    Ok(())
                })
                .on_data(move |_, data| {
                    (left, largest) = (left - data.len(), largest.max(data.len()));
                    if let Some(trigger) = trigger.take_if(|_| left == 0) {
                        trigger.callback(largest);
                    }
                    Ok(())
                });
            let port = listen_once(reactor, server);
            let client = scripted(&Diary::new()).on_made(|transport| {
                transport.write(&vec![b'x'; SENT]);
                Ok(())
            });
            let connected = ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, client);
            connected.add_callback(move |_| deferred)
        });
        assert_eq!(largest, most, "of {size}");
    }
}
