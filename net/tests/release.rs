//! Releasing a live connection to its next owner. P19.5 to P19.10.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::{Cancelled, Deferred};
use twistor_net::connect::{Connect, Connecting, Tcp};
use twistor_net::framing::Lines;
use twistor_net::{
    ClientEndpoint, ConnectionDone, ConnectionLost, ConnectionReleased, Conversation, Failure, FrameReceiver,
    Framed, IdleTimeout, Limited, Producer, Protocol, Reconnecting, Stream, Transport,
};
use twistor_reactor::{Handle, Reactor};

const SECOND: Duration = Duration::from_secs(1);

/// Builds the next protocol of a connection.
type Next = Rc<dyn Fn() -> Scripted>;

/// Releases its connection at the line `NEXT`, and runs another protocol on it.
struct Lined {
    handle: Handle,
    next: Next,
    lost: Diary,
}

impl FrameReceiver for Lined {
    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        if line == b"NEXT" {
            let stream = transport.release()?;
            assert!(transport.is_lost() && !transport.write(b"x") && transport.release().is_err());
            stream.run(&self.handle, (self.next)())?;
        } else {
            transport.write_slices(&[b"line ", line, b"\r\n"]);
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        Protocol::connection_lost(&mut scripted(&self.lost), reason);
    }
}

/// Serves lines until `NEXT`, inside the wrappers of this crate.
fn serve_lines(reactor: &Reactor, lost: &Diary, next: impl Fn() -> Scripted + 'static) -> u16 {
    let (handle, next, lost): (_, Next, _) = (reactor.handle(), Rc::new(next), lost.clone());
    let factory = Limited::new(move |_| {
        let lined = Lined { handle: handle.clone(), next: next.clone(), lost: lost.clone() };
        let framed: Box<dyn Protocol> = Box::new(Framed::new(Lines::new(), lined));
        IdleTimeout::new(&handle, 100 * SECOND, framed)
    });
    address(&listen(reactor, factory)).port()
}

fn converse(reactor: &Reactor, port: u16) -> Deferred<Conversation> {
    ClientEndpoint::tcp("127.0.0.1", port).converse(reactor)
}

// P19.5, P19.6
#[test]
fn unused_bytes_go_to_the_next_protocol_first() {
    on_every_network(|world| {
        let (before, after) = (Diary::new(), Diary::new());
        let kept = after.clone();
        world.run(|reactor| {
            let port = serve_lines(reactor, &before, move || {
                scripted(&kept).on_data(|transport, data| {
                    transport.write(data);
                    Ok(())
                })
            });
            let peer = converse(reactor, port);
            reactor.spawn(async move {
                let peer = peer.await?;
                peer.write(b"one\r\nNEXT\r\nNEXT\r\nand ");
                assert_eq!(peer.read_line(99).await?, b"line one");
                assert_eq!(peer.read_exact(10).await?, b"NEXT\r\nand ");
                peer.write(b"more");
                assert_eq!(peer.read_exact(4).await?, b"more");
                Ok::<(), Failure>(())
            })
        });
        assert_eq!(before.entries(), [format!("lost {ConnectionReleased}")]);
        assert_eq!(after.story()[..2], ["made", "data NEXT\r\nand more"]);
    });
}

// P19.5: the wrapper of `Reconnecting`
#[test]
fn a_connection_of_a_service_is_released() {
    simulated(|reactor| {
        let speaks = |transport: &Transport| {
            transport.write(b"NEXT\r\nand all that follows");
            Ok(())
        };
        let port = address(&listen(reactor, move |_| scripted(&Diary::new()).on_made(speaks))).port();
        let (diary, handle) = (Diary::new(), reactor.handle());
        let (received, kept) = (diary.when_received(20), diary.clone());
        let service = Reconnecting::new(reactor, ClientEndpoint::tcp("127.0.0.1", port), move || {
            let kept = kept.clone();
            let next: Next = Rc::new(move || scripted(&kept));
            Framed::new(Lines::new(), Lined { handle: handle.clone(), next, lost: Diary::new() })
        });
        service.start();
        received.add_callback(move |()| {
            assert_eq!(diary.received(), b"and all that follows");
            service.stop()
        })
    });
}

// P19.5: while no method of the protocol runs
#[test]
fn a_protocol_is_asked_for_unused_bytes_from_outside() {
    on_every_network(|world| {
        let after = Diary::new();
        let kept = after.clone();
        world.run(|reactor| {
            let handle = reactor.handle();
            let transport: Rc<Cell<Option<Transport>>> = Rc::default();
            let seen = transport.clone();
            struct Silent;
            impl FrameReceiver for Silent {
                fn frame_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
                    panic!("no complete frame was sent");
                }
            }
            struct Seen(Rc<Cell<Option<Transport>>>, Framed<Lines, Silent>);
            impl Protocol for Seen {
                fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
                    self.0.set(Some(transport.clone()));
                    self.1.data_received(transport, data)
                }
                fn unread(&mut self) -> Option<Vec<u8>> {
                    self.1.unread()
                }
            }
            let port = listen(reactor, move |_| Seen(seen.clone(), Framed::new(Lines::new(), Silent)));
            let peer = converse(reactor, address(&port).port());
            let received = after.when_received(10);
            reactor.spawn(async move {
                let peer = peer.await?;
                peer.write(b"half a");
                let transport = loop {
                    handle.sleep(Duration::from_millis(5)).await?;
                    if let Some(transport) = transport.take() {
                        break transport;
                    }
                };
                // In a simulation, the rest may arrive later.
                handle.sleep(SECOND / 10).await?;
                let mut stream = transport.release()?;
                stream.put_back(b"> ");
                stream.run(&handle, scripted(&kept))?;
                peer.write(b"li");
                received.await
            })
        });
        assert_eq!(after.received(), b"> half ali");
    });
}

// P19.5
#[test]
fn unsent_bytes_are_sent_before_those_of_the_next_protocol() {
    on_every_network(|world| {
        world.run(|reactor| {
            let much = noise(world.much());
            let (handle, sent) = (reactor.handle(), much.clone());
            let drained = Rc::new(RefCell::new(Vec::new()));
            let told = drained.clone();
            let made = move |transport: &Transport| {
                assert!(transport.write(&sent) && transport.buffered() > 0);
                let told = told.clone();
                drop(transport.drained().add_both(move |result| told.borrow_mut().push(result.is_ok())));
                let stream = transport.release()?;
                let ends = |transport: &Transport| {
                    assert!(transport.buffered() > 0, "unsent bytes are inherited");
                    transport.write(b"the end");
                    transport.lose_connection();
                    Ok(())
                };
                stream.run(&handle, scripted(&Diary::new()).on_made(ends))?;
                Ok(())
            };
            let port = listen_once(reactor, scripted(&Diary::new()).on_made(made));
            let peer = converse(reactor, address(&port).port());
            reactor.spawn(async move {
                let mut received = peer.await?.read_to_end(usize::MAX).await?;
                assert_eq!(received.split_off(much.len()), b"the end");
                assert!(received == much);
                assert_eq!(*drained.borrow(), [true], "the wait continues");
                Ok::<(), Failure>(())
            })
        });
    });
}

// P19.6
#[test]
fn the_state_of_the_old_protocol_ends() {
    struct Stopped(Rc<Cell<bool>>);
    impl Producer for Stopped {
        fn pause_producing(&self) {}
        fn resume_producing(&self) {}
        fn stop_producing(&self) {
            self.0.set(true);
        }
    }
    let (stopped, cancelled) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let diary = Diary::new();
    simulated(|reactor| {
        let (handle, told, stop) = (reactor.handle(), cancelled.clone(), stopped.clone());
        let made = move |transport: &Transport| {
            transport.register_producer(Stopped(stop.clone()))?;
            let told = told.clone();
            let (never, trigger) = Deferred::<()>::with_canceller(move |_| told.set(true));
            std::mem::forget(trigger);
            transport.deliver(never, |_: &mut Scripted, _, _| panic!("cancelled"));
            transport.pause_producing();
            let stream = transport.release()?;
            assert!(!stop.get(), "connection_lost comes from the loop");
            stream.run(&handle, Echo)?;
            Err(Cancelled.into())
        };
        let port = listen_once(reactor, scripted(&diary).on_made(made));
        let peer = converse(reactor, address(&port).port());
        reactor.spawn(async move {
            let peer = peer.await?;
            peer.write(b"x");
            assert_eq!(peer.read_exact(1).await?, b"x", "it is not paused, and lives on");
            Ok::<(), Failure>(())
        })
    });
    assert!(stopped.get() && cancelled.get());
    assert!(diary.reason().is::<Cancelled>(), "the reason is the error of the method");
    assert_eq!(diary.losses(), 1);
}

// P19.7
#[test]
fn the_next_protocol_is_notified_of_the_end_again() {
    on_every_network(|world| {
        let (diary, after) = (Diary::new(), Diary::new());
        let kept = after.clone();
        world.run(|reactor| {
            let handle = reactor.handle();
            let next = move |transport: &Transport| {
                transport.release()?.run(&handle, scripted(&kept))?;
                Ok(())
            };
            let port = listen_once(reactor, scripted(&diary).on_end(next));
            let (peer, lost) = (converse(reactor, address(&port).port()), after.when_lost());
            reactor.spawn(async move {
                let peer = peer.await?;
                peer.write(b"x");
                peer.transport().lose_write_connection();
                lost.await
            })
        });
        assert_eq!(diary.entries()[..3], ["made", "data x", "end"]);
        assert_eq!(after.story(), ["made", "end", &format!("lost {ConnectionDone}")]);
    });
}

// P19.7, P1.1
#[test]
fn a_reset_connection_is_released_with_its_data() {
    on_every_network(|world| {
        let after = Diary::new();
        let (kept, notified) = (after.clone(), Rc::new(Cell::new(false)));
        let told = notified.clone();
        world.run(|reactor| {
            let handle = reactor.handle();
            // Paused until the reset is noticed.
            let paused = |transport: &Transport| {
                transport.pause_producing();
                Ok(())
            };
            let broken = move |transport: &Transport| {
                let told = told.clone();
                let next = scripted(&kept).on_write_lost(move |_| {
                    told.set(true);
                    Ok(())
                });
                transport.release()?.run(&handle, next)?;
                Ok(())
            };
            let protocol = scripted(&Diary::new()).on_made(paused).on_write_lost(broken);
            let port = listen_once(reactor, protocol);
            let (lost, handle) = (after.when_lost(), reactor.handle());
            let peer = Peer::connect(reactor, address(&port), async move |mut peer| {
                peer.write_all(b"the last words").await?;
                let _ = handle.sleep(SECOND / 10).await;
                peer.reset();
                Ok(())
            });
            peer.add_callback(move |()| lost)
        });
        assert_eq!(after.received(), b"the last words");
        assert!(notified.get());
        assert!(after.reason().is::<ConnectionLost>());
    });
}

// P19.8
#[test]
fn a_released_connection_that_is_dropped_is_closed() {
    on_every_network(|world| {
        world.run(|reactor| {
            let drained: Rc<Cell<Option<Failure>>> = Rc::default();
            let (told, much) = (drained.clone(), world.much());
            let made = move |transport: &Transport| {
                transport.write(&noise(much));
                let told = told.clone();
                drop(transport.drained().add_errback(move |failure| told.set(Some(failure))));
                drop(transport.release()?);
                Ok(())
            };
            let port = listen_once(reactor, scripted(&Diary::new()).on_made(made));
            let peer = converse(reactor, address(&port).port());
            reactor.spawn(async move {
                // Data in flight may be lost to a reset.
                let received = peer.await?.read_to_end(usize::MAX).await;
                assert!(received.map_or(0, |received| received.len()) < much);
                assert!(drained.take().unwrap().is::<ConnectionLost>());
                Ok::<(), Failure>(())
            })
        });
    });
}

// P19.9
#[test]
fn a_conversation_is_released_with_its_unread_bytes() {
    on_every_network(|world| {
        world.run(|reactor| {
            let speaks = |transport: &Transport| {
                transport.write(b"hello\r\nand all that follows");
                Ok(())
            };
            let port = listen(reactor, move |_| scripted(&Diary::new()).on_made(speaks));
            let (peer, handle) = (converse(reactor, address(&port).port()), reactor.handle());
            let diary = Diary::new();
            let received = diary.when_received(20);
            reactor.spawn(async move {
                let peer = peer.await?;
                assert_eq!(peer.read_line(99).await?, b"hello");
                let under_way = peer.read_exact(1000);
                peer.release()?.run(&handle, scripted(&diary))?;
                received.await?;
                assert_eq!(diary.received(), b"and all that follows");
                assert!(under_way.await.unwrap_err().is::<ConnectionReleased>());
                Ok::<(), Failure>(())
            })
        });
    });
}

// P19.9: the connection itself calls the reader
#[test]
fn a_conversation_is_released_in_the_callback_of_a_read() {
    on_every_network(|world| {
        world.run(|reactor| {
            let speaks = |transport: &Transport| {
                transport.write(b"hello\r\nand all that follows");
                Ok(())
            };
            let port = listen(reactor, move |_| scripted(&Diary::new()).on_made(speaks));
            let (handle, diary) = (reactor.handle(), Diary::new());
            let received = diary.when_received(20);
            converse(reactor, address(&port).port())
                .add_callback(move |peer| {
                    peer.read_line(99).add_callback(move |_| {
                        peer.release()?.run(&handle, scripted(&diary))?;
                        Ok(())
                    })
                })
                .add_callback(move |()| received)
        });
    });
}

// P19.10
#[test]
fn a_connected_stream_may_be_kept_before_it_is_run() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let speaks = |transport: &Transport| {
                transport.write(b"early");
                transport.lose_connection();
                Ok(())
            };
            let port = listen(reactor, move |_| scripted(&Diary::new()).on_made(speaks));
            let connecting = Connecting::new(reactor, "the server");
            let connected = Tcp::new("127.0.0.1", address(&port).port()).connect(&connecting);
            let (handle, kept, lost) = (reactor.handle(), diary.clone(), diary.when_lost());
            reactor.spawn(async move {
                let stream: Stream = connected.await?;
                handle.sleep(SECOND / 10).await?;
                stream.run(&handle, scripted(&kept))?;
                lost.await
            })
        });
        assert_eq!(diary.story(), ["made", "data early", "end", &format!("lost {ConnectionDone}")]);
    });
}

#[cfg(feature = "tls")]
mod tls_support;

// P19.5, P10
#[cfg(feature = "tls")]
#[test]
fn a_secured_connection_stays_secured() {
    use twistor_net::ServerEndpoint;

    let authority = tls_support::Authority::new();
    on_every_network(|world| {
        world.run(|reactor| {
            let server = authority.signs("localhost").server();
            let (place, handle) = ("127.0.0.1:0".parse().unwrap(), reactor.handle());
            let again = move |transport: &Transport, data: &[u8]| {
                let mut stream = transport.release()?;
                assert!(stream.tls().is_some());
                stream.put_back(data);
                stream.run(&handle, Echo)?;
                Ok(())
            };
            let port = ServerEndpoint::tls(place, server)
                .listen(reactor, move |_| scripted(&Diary::new()).on_data(again.clone()))
                .unwrap();
            let endpoint = ClientEndpoint::tls("localhost", address(&port).port(), authority.client());
            let (peer, handle) = (endpoint.converse(reactor), reactor.handle());
            reactor.spawn(async move {
                let peer = peer.await?;
                peer.write(b"hello");
                peer.write(&noise(100_000));
                assert_eq!(peer.read_exact(5).await?, b"hello");
                let (diary, stream) = (Diary::new(), peer.release()?);
                assert!(stream.tls().is_some());
                let received = diary.when_received(100_000);
                stream.run(&handle, scripted(&diary))?;
                received.await?;
                assert!(diary.received() == noise(100_000));
                Ok::<(), Failure>(())
            })
        });
    });
}
