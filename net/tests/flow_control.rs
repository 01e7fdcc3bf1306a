//! Producers and high-water marks. Statement P5, and the producer's part of P2.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::{ClientEndpoint, ConnectionDone, Failure, Producer, ProducerRefused, Protocol, Transport};

/// Writes pieces until it is paused or done.
struct Source {
    transport: Transport,
    left: Cell<usize>,
    paused: Cell<bool>,
    log: Log,
    most: Rc<Cell<usize>>,
}

const PIECE: usize = 10_000;

/// What a producer was told.
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

// P5, P2
#[test]
fn a_push_producer_is_paused_above_the_mark_and_resumed_when_all_is_sent() {
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
            // Waits for the producer.
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

// P5
#[test]
fn the_high_water_mark_can_be_set() {
    let (diary, most) = (Diary::new(), Rc::new(Cell::new(0)));
    run(|reactor| {
        let seen = most.clone();
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
            Ok(())
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), |mut stream| stream.read_to_end(&mut Vec::new()))
    });
    assert!((1 << 20..=(1 << 20) + PIECE).contains(&most.get()), "{} bytes were buffered", most.get());
}

// P5, B1
#[test]
fn a_producer_is_told_to_stop_when_the_connection_is_lost() {
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

/// Writes one piece each time it is asked.
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

// P5
#[test]
fn a_pull_producer_is_asked_for_one_piece_at_a_time() {
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

/// One side of a proxy: passes what comes to the other side, as fast as that takes it.
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
fn a_proxy_between_a_fast_and_a_slow_side_buffers_little_in_both_directions() {
    const TOTAL: usize = 32 << 20;
    let most = Rc::new(Cell::new(0));
    run(|reactor| {
        let (far_diary, handle, seen) = (Diary::new(), (**reactor).clone(), most.clone());
        // The far side sends everything back.
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
            // A slow reader: small pieces.
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
    // The mark, and one read on top.
    assert!(most.get() <= 2 * 64 * 1024, "{} bytes were buffered", most.get());
}

/// Echo with flow control of its own: it is read no faster than it is sent.
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

// P5
#[test]
fn a_connection_that_is_idle_holds_no_buffer() {
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
