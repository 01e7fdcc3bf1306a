//! TCP connections: the events that a protocol receives, their order, and the end. P1 to P4 and P9, each on
//! the network of the operating system and on the simulated one.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use support::logged::{keep_log, logged};
use support::*;
use twistor_deferred::Deferred;
use twistor_net::simulation::explore;
use twistor_net::{
    ClientEndpoint, ConnectionAborted, ConnectionDone, ConnectionLost, Failure, HandlerPanicked, Transport,
};
use twistor_reactor::Handle;

// P1.5, P1.6: the peer closes
#[test]
fn a_client_sees_made_data_end_and_loss_in_order() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let port = listen(reactor, |_| Echo);
            let all = diary.clone();
            let client = scripted(&diary)
                .on_made(|transport| {
                    assert!(transport.write(b"hello"));
                    Ok(())
                })
                .on_data(move |transport, _| {
                    if all.received() == b"hello" {
                        transport.lose_connection();
                    }
                    Ok(())
                });
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            let lost = diary.when_lost();
            endpoint.connect(reactor, client).add_callback(move |_| lost)
        });
        assert_eq!(diary.story(), ["made", "data hello", "lost connection was closed cleanly"]);
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P1
#[test]
fn connection_made_has_run_when_connect_fires() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let port = listen(reactor, |_| Echo);
            let seen = diary.clone();
            ClientEndpoint::tcp("127.0.0.1", address(&port).port())
                .connect(reactor, scripted(&diary))
                .add_callback(move |transport| assert!(seen.entries() == ["made"] && !transport.is_lost()))
        });
    });
}

// P1.8
#[test]
fn data_before_the_peers_close_precedes_the_loss() {
    on_every_network(|world| {
        let diary = Diary::new();
        let text = noise(world.much());
        let sent = text.clone();
        world.run(|reactor| {
            let port = listen_once(reactor, scripted(&diary));
            let peer =
                Peer::connect(reactor, address(&port), async move |mut stream| stream.write_all(&sent).await);
            let lost = diary.when_lost();
            peer.add_callback(move |()| lost)
        });
        assert!(diary.received() == text, "the bytes differ");
        assert_eq!(diary.losses(), 1);
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P1.7: never inside a call of the program (`Diary::enter` asserts it)
#[test]
fn connection_lost_is_never_called_inside_a_call() {
    on_every_network(|world| {
        for end in [Transport::lose_connection, Transport::abort_connection] {
            let diary = Diary::new();
            let inner = diary.clone();
            let server = scripted(&diary).on_data(move |transport, _| {
                end(transport);
                end(transport);
                assert_eq!(inner.losses(), 0);
                Ok(())
            });
            world.until_lost(&diary, server, async move |mut stream| {
                stream.write_all(b"x").await?;
                let _ = stream.read(&mut [0]).await;
                Ok(())
            });
            assert_eq!(diary.losses(), 1);
        }
    });
}

// P1.5, P1.6: a reset in the middle of a large write
#[test]
fn a_reset_with_a_full_queue_is_one_loss() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let kept = Rc::new(RefCell::new(None::<Transport>));
        let keep = kept.clone();
        let server = scripted(&diary).on_made(move |transport| {
            transport.write_vec(vec![b'x'; much]);
            assert!(transport.buffered() > 0);
            keep.replace(Some(transport.clone()));
            Ok(())
        });
        world.until_lost(&diary, server, async move |mut stream| {
            stream.read_exact(&mut [0; 1024]).await?;
            stream.reset();
            Ok(())
        });
        assert_eq!(diary.losses(), 1);
        assert!(diary.reason().is::<ConnectionLost>());
        let transport = kept.take().unwrap();
        assert_eq!((transport.buffered(), transport.is_lost(), transport.peer()), (0, true, None));
    });
}

// P1
#[test]
fn a_reset_while_reading_is_paused_is_noticed() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let server = scripted(&diary).on_data(|transport, _| {
                transport.pause_producing();
                Ok(())
            });
            let port = listen_once(reactor, server);
            let (paused, lost) = (diary.when_received(1), diary.when_lost());
            let peer = Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"x").await?;
                Ok(stream)
            });
            peer.add_callback(move |stream| paused.add_callback(move |()| stream.reset()))
                .add_callback(move |()| lost)
        });
        assert_eq!(diary.losses(), 1);
        assert!(diary.reason().is::<ConnectionLost>());
    });
}

// P1.8: an answer that the peer sent before it refused more data
#[test]
fn an_answer_before_a_failed_write_is_delivered() {
    let diary = Diary::new();
    run(|reactor| {
        let server = scripted(&diary).on_data(|transport, data| {
            if data == b"go" {
                transport.pause_producing();
            }
            Ok(())
        });
        let kept = Rc::new(RefCell::new(None::<Transport>));
        let keep = kept.clone();
        let server = server.on_made(move |transport| {
            keep.replace(Some(transport.clone()));
            Ok(())
        });
        let port = listen_once(reactor, server);
        let (paused, lost) = (diary.when_received(2), diary.when_lost());
        let peer = peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"go")?;
            Ok(stream)
        });
        let handle = (**reactor).clone();
        peer.add_callback(move |mut stream| {
            paused.add_callback(move |()| {
                // The answer arrives and the peer resets before this side reads, so the next write fails.
                stream.write_all(b"sorry")?;
                drop(stream);
                let transport = kept.take().unwrap();
                handle.call_later(std::time::Duration::ZERO, move || {
                    transport.write(b"a");
                    transport.write(b"b");
                    transport.resume_producing();
                });
                Ok(())
            })
        })
        .add_callback(move |()| lost)
    });
    assert_eq!(diary.received(), b"gosorry");
    assert_eq!(diary.losses(), 1);
}

// P1.9
#[test]
fn an_open_connection_is_lost_when_the_reactor_stops() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let port = listen(reactor, |_| Echo);
            ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, scripted(&diary))
        });
        assert_eq!(diary.entries(), ["made", "lost connection was lost: the reactor has stopped"]);
    });
}

// P2.2
#[test]
fn write_after_lose_connection_returns_false() {
    on_every_network(|world| {
        let diary = Diary::new();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                assert!(transport.write(b"last"));
                transport.lose_connection();
                assert!(!transport.write(b"ignored"));
                assert!(!transport.write(b""));
                assert!(!transport.write_slices(&[b"ig", b"nored"]));
                assert!(!transport.write_vec(b"ignored".to_vec()));
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                let mut got = String::new();
                stream.read_to_string(&mut got).await?;
                Ok(got)
            })
        });
        assert_eq!(got, "last");
    });
}

// P2.2
#[test]
fn write_after_the_loss_returns_false() {
    on_every_network(|world| {
        let diary = Diary::new();
        let transport = world.run(|reactor| {
            let port = listen(reactor, |_| Echo);
            let lost = diary.when_lost();
            ClientEndpoint::tcp("127.0.0.1", address(&port).port())
                .connect(reactor, scripted(&diary))
                .add_callback(move |transport| {
                    transport.lose_connection();
                    lost.add_callback(move |()| Ok(transport))
                })
        });
        assert!(!transport.write(b"x") && transport.is_lost() && transport.is_closing());
        transport.lose_connection();
        transport.abort_connection();
        transport.resume_producing();
        assert_eq!(diary.losses(), 1);
    });
}

// P2.3
#[test]
fn lose_connection_sends_everything_to_a_slow_reader() {
    on_every_network(|world| {
        let diary = Diary::new();
        let text = noise(world.much());
        let sent = text.clone();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                transport.write(&sent);
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                let mut got = Vec::new();
                let mut piece = vec![0; 3000];
                loop {
                    match stream.read(&mut piece).await? {
                        0 => return Ok(got),
                        count => got.extend_from_slice(&piece[..count]),
                    }
                }
            })
        });
        assert!(got == text, "{} of {} bytes arrived", got.len(), text.len());
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

/// A way to end a connection inside a handler.
type End = fn(&Transport) -> Result<(), Failure>;

// P2.4: data held up by a pause is discarded too. If it stayed unread, the close would be a reset
#[test]
fn closing_a_paused_connection_loses_no_written_data() {
    let ends: [End; 2] = [
        |transport| {
            transport.lose_connection();
            transport.pause_producing();
            Ok(())
        },
        |_| Err(std::io::Error::other("enough").into()),
    ];
    on_every_network(|world| {
        // So much that the peer's bytes arrive long before everything is sent.
        let much = 4 * world.much();
        for end in ends {
            let diary = Diary::new();
            let server = scripted(&diary).on_data(move |transport, _| {
                transport.pause_producing();
                transport.write_vec(vec![b'x'; much]);
                end(transport)
            });
            let got = world.until_lost(&diary, server, async |mut stream| {
                stream.write_all(b"x").await?;
                stream.read_exact(&mut [0; 1024]).await?;
                stream.write_all(&[b'y'; 50_000]).await?;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await
            });
            assert_eq!(got + 1024, much);
            assert_eq!(diary.entries()[..2], ["made", "data x"]);
            assert_eq!(diary.entries().len(), 3);
        }
    });
}

// P2.4: held-up data is read before the close, also if the close is requested when everything has just been
// sent
#[test]
fn closing_a_paused_drained_connection_is_not_a_reset() {
    let (diary, much) = (Diary::new(), World::Real.much());
    let server = scripted(&diary).on_made(move |transport| {
        transport.pause_producing();
        transport.write_vec(vec![b'x'; much]);
        let closing = transport.clone();
        drop(transport.drained().add_callback(move |()| closing.lose_connection()));
        Ok(())
    });
    let got = World::Real.until_lost(&diary, server, async |mut stream| {
        stream.write_all(&[b'y'; 100]).await?;
        stream.read_to_end(&mut Vec::new()).await
    });
    assert_eq!((got, diary.entries().len()), (much, 2));
    assert!(diary.reason().is::<ConnectionDone>());
}

// P2.5: a peer that continues to send can read everything
#[test]
fn a_peer_that_continues_to_send_reads_everything() {
    on_every_network(|world| {
        let (diary, much) = (Diary::new(), world.much());
        let server = scripted(&diary).on_data(move |transport, _| {
            transport.write_vec(vec![b'x'; much]);
            transport.lose_connection();
            Ok(())
        });
        let got = world.until_lost(&diary, server, async |mut stream| {
            let (mut got, mut piece) = (0, vec![0; 50_000]);
            loop {
                stream.write_all(&[b'y'; 25_000]).await?;
                match stream.read(&mut piece).await? {
                    0 => return Ok(got),
                    count => got += count,
                }
            }
        });
        assert_eq!(got, much);
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P2.7: a peer that is known to send is waited for, even if none of its data has arrived
#[test]
fn a_peer_that_is_refused_midway_reads_the_refusal() {
    const REFUSAL: usize = 1 << 20;
    for _ in 0..10 {
        let diary = Diary::new();
        let server = scripted(&diary).on_data(|transport, _| {
            // So little that the socket accepts it at once.
            transport.write_vec(vec![b'n'; REFUSAL]);
            transport.lose_connection_lingering();
            Ok(())
        });
        let got = World::Real.until_lost(&diary, server, async |mut stream| {
            for _ in 0..80 {
                stream.write_all(&[b'y'; 100_000]).await?;
            }
            stream.read_to_end(&mut Vec::new()).await
        });
        assert_eq!((got, diary.losses()), (REFUSAL, 1));
        assert!(diary.reason().is::<ConnectionDone>());
    }
}

// P2.7: a lingering peer that does not close costs five seconds, wherever the call is made
#[test]
fn a_quiet_peer_is_lingered_on_for_five_seconds() {
    for (lingering, seconds) in [(false, 0.0..1.0), (true, 4.5..5.5)] {
        let (near, far) = (Diary::new(), Diary::new());
        let waited = simulated(|reactor| {
            let server = scripted(&near).on_made(move |transport| {
                if lingering {
                    transport.lose_connection_lingering();
                } else {
                    transport.lose_connection();
                }
                Ok(())
            });
            let port = listen_once(reactor, server);
            let address = address(&port);
            let endpoint = ClientEndpoint::tcp(address.ip().to_string(), address.port());
            drop(endpoint.connect(reactor, scripted(&far).on_end(|_| Ok(()))));
            let (handle, since) = (Handle::clone(reactor), reactor.now());
            near.when_lost().add_callback(move |()| Ok((handle.now() - since).as_secs_f64()))
        });
        assert!(seconds.contains(&waited), "{waited} s");
    }
}

// P2.5: with a time limit
#[test]
fn a_peer_that_sends_without_end_is_waited_for_five_seconds() {
    explore(seeds(), |world| {
        let world = World::Simulated(world);
        let (near, far, much) = (Diary::new(), Diary::new(), world.much());
        let server = scripted(&near).on_data(move |transport, _| {
            transport.write_vec(vec![b'x'; much]);
            transport.lose_connection();
            Ok(())
        });
        let waited = world.run(|reactor| {
            let handle = Handle::clone(reactor);
            let ended = Rc::new(Cell::new(handle.now()));
            let (since, clock, sender) = (ended.clone(), handle.clone(), handle.clone());
            let client = scripted(&far)
                .on_made(move |transport| {
                    let (transport, clock) = (transport.clone(), sender.clone());
                    drop(sender.spawn(async move {
                        while transport.write(b"y") {
                            clock.sleep(Duration::from_millis(1)).await?;
                        }
                        Ok::<(), Failure>(())
                    }));
                    Ok(())
                })
                .on_end(move |_| {
                    since.set(clock.now());
                    Ok(())
                });
            let port = listen_once(reactor, server);
            let address = address(&port);
            let endpoint = ClientEndpoint::tcp(address.ip().to_string(), address.port());
            drop(endpoint.connect(reactor, client));
            near.when_lost().add_callback(move |()| Ok(handle.now() - ended.get()))
        });
        let seconds = waited.as_secs_f64();
        assert!((4.5..5.5).contains(&seconds), "{seconds} s");
        assert_eq!(far.received().len(), much);
        assert!(near.reason().is::<ConnectionDone>());
    });
}

// P2.5: with a limit of 16 MiB
#[test]
fn a_flooding_peer_is_not_read_without_end() {
    let diary = Diary::new();
    let much = World::Real.much();
    let server = scripted(&diary).on_data(move |transport, _| {
        transport.write_vec(vec![b'x'; much]);
        transport.lose_connection();
        Ok(())
    });
    let (taken, error) = World::Real.until_lost(&diary, server, async move |mut stream| {
        stream.write_all(b"y").await?;
        stream.read_exact(&mut [0; 1024]).await?;
        stream.write_all(b"y").await?;
        stream.read_exact(&mut vec![0; much - 1024]).await?;
        for taken in 0..128 {
            if let Err(error) = stream.write_all(&vec![b'y'; 1 << 20]).await {
                return Ok((taken, Some(error.kind())));
            }
        }
        Ok((128, None))
    });
    assert!(error.is_some() && taken >= 16, "{error:?} after {taken} MiB");
    assert!(diary.reason().is::<ConnectionDone>());
}

// P2.8
#[test]
fn abort_connection_resets_and_drops_unsent_data() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let error = world.run(|reactor| {
            let server = scripted(&diary).on_data(move |transport, _| {
                transport.write(&vec![b'x'; much]);
                transport.abort_connection();
                assert!(!transport.write(b"x"));
                assert_eq!(transport.buffered(), 0);
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"x").await?;
                Ok(stream.read_to_end(&mut Vec::new()).await.unwrap_err().kind())
            })
        });
        assert_eq!(error, std::io::ErrorKind::ConnectionReset);
        assert!(diary.reason().is::<ConnectionAborted>());
    });
}

// P2.3: data after lose_connection is discarded
#[test]
fn data_after_lose_connection_is_not_delivered() {
    on_every_network(|world| {
        let (much, is_real) = (world.much(), world.is_real());
        let diary = Diary::new();
        world.run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                transport.write(&vec![b'x'; much]);
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"too late").await?;
                // In the simulation, the other side may have closed before this arrived, which is a reset.
                let ended = stream.read_to_end(&mut Vec::new()).await;
                if is_real { ended } else { Ok(0) }
            })
        });
        assert_eq!(diary.received(), b"");
    });
}

// P2.1
#[test]
fn bytes_arrive_once_and_in_order_however_written() {
    on_every_network(|world| {
        let diary = Diary::new();
        let text = noise(world.much());
        let expected = text.clone();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                let mut rest = &text[..];
                let mut length = 1;
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(length.min(rest.len()));
                    rest = after;
                    match length % 3 {
                        0 => transport.write(piece),
                        1 => transport.write_vec(piece.to_vec()),
                        _ => {
                            let slices: Vec<&[u8]> = piece.chunks(piece.len() / 40 + 1).collect();
                            transport.write_slices(&slices)
                        }
                    };
                    length = (length * 7 + 3) % 70_001 + 1;
                }
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await?;
                Ok(got)
            })
        });
        assert!(got == expected, "the bytes differ");
    });
}

// P3.2
#[test]
fn a_half_close_closes_by_default_after_sending_everything() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_made(move |transport| {
                transport.write(&vec![b'x'; much]);
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.shutdown(Shutdown::Write).await?;
                stream.read_to_end(&mut Vec::new()).await
            })
        });
        assert_eq!(got, much);
        assert_eq!(diary.entries(), ["made", "end", "lost connection was closed cleanly"]);
    });
}

// P3.1
#[test]
fn an_overridden_half_close_can_be_answered() {
    on_every_network(|world| {
        let diary = Diary::new();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_end(|transport| {
                assert!(transport.write(b"answer"));
                transport.lose_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"question").await?;
                stream.shutdown(Shutdown::Write).await?;
                let mut got = String::new();
                stream.read_to_string(&mut got).await?;
                Ok(got)
            })
        });
        assert_eq!(got, "answer");
        assert_eq!(diary.story(), ["made", "data question", "end", "lost connection was closed cleanly"]);
    });
}

// P3.1: events during a long answer report the peer's end again
#[test]
fn a_half_close_is_reported_once() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let server = scripted(&diary).on_end(move |transport| {
            transport.write_vec(vec![b'x'; much]);
            let transport = transport.clone();
            drop(transport.clone().drained().add_callback(move |()| transport.lose_connection()));
            Ok(())
        });
        let got = world.until_lost(&diary, server, async |mut stream| {
            stream.shutdown(Shutdown::Write).await?;
            stream.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(got, much);
        assert_eq!(diary.entries(), ["made", "end", "lost connection was closed cleanly"]);
    });
}

// P3.3: a half-close by this side
#[test]
fn reading_continues_after_lose_write_connection() {
    on_every_network(|world| {
        let diary = Diary::new();
        let server = scripted(&diary).on_made(move |transport| {
            transport.write(b"that is all");
            transport.lose_write_connection();
            assert!(!transport.write(b"ignored"));
            Ok(())
        });
        world.until_lost(&diary, server, async move |mut stream| {
            let mut got = String::new();
            stream.read_to_string(&mut got).await?;
            assert_eq!(got, "that is all");
            stream.write_all(&vec![b'y'; 1 << 20]).await
        });
        assert_eq!(diary.received().len(), 1 << 20);
        assert_eq!(diary.losses(), 1);
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P4.2
#[test]
fn an_error_of_a_handler_closes_with_that_reason() {
    on_every_network(|world| {
        #[derive(Debug)]
        struct Nonsense;
        impl std::fmt::Display for Nonsense {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("nonsense")
            }
        }
        impl std::error::Error for Nonsense {}

        let diary = Diary::new();
        let got = world.run(|reactor| {
            let server = scripted(&diary).on_data(|transport, _| {
                transport.write(b"what?");
                Err(Nonsense.into())
            });
            let port = listen_once(reactor, server);
            Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"x").await?;
                let mut got = String::new();
                stream.read_to_string(&mut got).await?;
                Ok(got)
            })
        });
        assert_eq!(got, "what?");
        assert_eq!(diary.losses(), 1);
        assert!(diary.reason().is::<Nonsense>());
    });
}

// P4.3, P4.4
#[test]
fn a_panic_of_a_handler_closes_that_connection_only() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let (bad, first) = (diary.clone(), Cell::new(true));
            let port = listen(reactor, move |_| -> Box<dyn twistor_net::Protocol> {
                if first.replace(false) { Box::new(Panicking(bad.clone())) } else { Box::new(Echo) }
            });
            let bad = Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"x").await?;
                Ok(stream.read(&mut [0]).await.unwrap_or(0))
            });
            let (handle, address) = ((**reactor).clone(), address(&port));
            bad.add_callback(move |_| {
                Peer::connect(&handle, address, async move |mut stream| {
                    stream.write_all(b"x").await?;
                    stream.read_exact(&mut [0]).await
                })
            })
        });
        let reason = diary.reason();
        let panic = reason.downcast_ref::<HandlerPanicked>().unwrap();
        assert_eq!((panic.handler(), panic.message()), ("data_received", "on purpose"));
    });
}

struct Panicking(Diary);

impl twistor_net::Protocol for Panicking {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        panic!("on purpose");
    }

    fn connection_lost(&mut self, reason: Failure) {
        scripted(&self.0).connection_lost(reason);
    }
}

// P4
#[test]
fn a_panic_in_connection_lost_is_logged_and_survived() {
    keep_log();
    on_every_network(|world| {
        struct Rude;
        impl twistor_net::Protocol for Rude {
            fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
                transport.lose_connection();
                Ok(())
            }
            fn connection_lost(&mut self, _: Failure) {
                panic!("on purpose");
            }
        }
        world.run(|reactor| {
            let port = listen(reactor, |_| Rude);
            let mut all: Deferred<()> = twistor_deferred::succeed(());
            for _ in 0..3 {
                let (handle, address) = ((**reactor).clone(), address(&port));
                all = all.add_callback(move |()| {
                    Peer::connect(&handle, address, async move |mut stream| {
                        stream.write_all(b"x").await?;
                        stream.read(&mut [0]).await.map(drop)
                    })
                });
            }
            all
        });
        let panics = logged();
        assert!(panics.len() == 3 && panics[0].contains("on purpose"), "{panics:?}");
    });
}

// P8, for bytes: pausing holds the data back
#[test]
fn a_paused_connection_gets_no_data_until_it_is_resumed() {
    on_every_network(|world| {
        let diary = Diary::new();
        world.run(|reactor| {
            let handle = (**reactor).clone();
            let paused = Rc::new(Cell::new(false));
            let is_paused = paused.clone();
            let server = scripted(&diary)
                .on_data(move |transport, _| {
                    assert!(!is_paused.get(), "data was delivered while paused");
                    transport.pause_producing();
                    is_paused.set(true);
                    let (transport, is_paused) = (transport.clone(), is_paused.clone());
                    handle.call_later(std::time::Duration::from_millis(1), move || {
                        is_paused.set(false);
                        transport.resume_producing();
                    });
                    Ok(())
                })
                .on_resumed(move |transport| {
                    assert!(!transport.is_paused());
                    Ok(())
                });
            let port = listen_once(reactor, server);
            let peer = Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(&vec![b'x'; 1 << 20]).await
            });
            let lost = diary.when_lost();
            peer.add_callback(move |()| lost)
        });
        assert_eq!(diary.received().len(), 1 << 20);
        assert!(diary.entries().contains(&"resumed".to_owned()));
        assert!(diary.reason().is::<ConnectionDone>());
    });
}

// P1.9: a protocol that keeps its own transport does not leak. R8 for connections
#[test]
fn a_dropped_reactor_drops_protocols_that_hold_their_transports() {
    on_every_network(|world| {
        struct Keeper {
            transport: Option<Transport>,
            _kept: Rc<()>,
        }
        impl twistor_net::Protocol for Keeper {
            fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
                self.transport = Some(transport.clone());
                Ok(())
            }
            fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
                Ok(())
            }
        }
        let kept = Rc::new(());
        world.run(|reactor| {
            let keep = kept.clone();
            let port = listen(reactor, move |_| Keeper { transport: None, _kept: keep.clone() });
            ClientEndpoint::tcp("127.0.0.1", address(&port).port())
                .connect(reactor, Keeper { transport: None, _kept: kept.clone() })
        });
        assert_eq!(Rc::strong_count(&kept), 1);
    });
}

// P2
#[test]
fn drained_fires_when_all_is_sent_and_fails_on_a_loss() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let outcome = Rc::new(RefCell::new(Vec::new()));
        let outcomes = outcome.clone();
        let server = scripted(&diary).on_made(move |transport| {
            let note = |text: &'static str| {
                let outcomes = outcomes.clone();
                move |result: Result<(), Failure>| outcomes.borrow_mut().push((text, result.is_ok()))
            };
            drop(transport.drained().add_both(note("empty")));
            transport.write(&vec![b'x'; much]);
            let second = transport.clone();
            let after = note("second");
            drop(transport.drained().add_both(note("first")).add_callback(move |()| {
                // More than the operating system buffers at both ends.
                second.write(&vec![b'x'; 8 * much]);
                drop(second.drained().add_both(after));
            }));
            Ok(())
        });
        world.until_lost(&diary, server, async move |mut stream| {
            stream.read_exact(&mut vec![0; much + 1]).await?;
            stream.reset();
            Ok(())
        });
        assert_eq!(*outcome.borrow(), [("empty", true), ("first", true), ("second", false)]);
    });
}

// P2
#[test]
fn drained_distinguishes_an_abort_from_a_loss() {
    on_every_network(|world| {
        let much = world.much();
        let failure = world.run(|reactor| {
            let (told, trigger) = Deferred::new();
            let trigger = Cell::new(Some(trigger));
            let server = scripted(&Diary::new()).on_data(move |transport, _| {
                transport.write_vec(vec![b'x'; much]);
                let trigger = trigger.take().unwrap();
                drop(transport.drained().add_both(move |result| trigger.callback(result.unwrap_err())));
                transport.abort_connection();
                Ok(())
            });
            let port = listen_once(reactor, server);
            let peer = Peer::connect(reactor, address(&port), async move |mut stream| {
                stream.write_all(b"x").await?;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                Ok(())
            });
            peer.add_callback(move |()| told)
        });
        assert!(failure.is::<ConnectionAborted>(), "{failure:?}");
    });
}

// P3.3: whichever side ends first
#[test]
fn a_connection_whose_halves_have_both_ended_is_lost() {
    on_every_network(|world| {
        for first in [true, false] {
            let diary = Diary::new();
            let server = scripted(&diary)
                .on_made(move |transport| {
                    if first {
                        transport.lose_write_connection();
                    }
                    Ok(())
                })
                .on_end(move |transport| {
                    if !first {
                        transport.lose_write_connection();
                    }
                    Ok(())
                });
            world.until_lost(&diary, server, async move |mut stream| {
                if !first {
                    stream.shutdown(Shutdown::Write).await?;
                }
                stream.read_to_end(&mut Vec::new()).await
            });
            assert_eq!(diary.entries(), ["made", "end", "lost connection was closed cleanly"]);
        }
    });
}

// P4: a later reset does not replace the reason
#[test]
fn a_reset_does_not_hide_the_error_of_a_handler() {
    on_every_network(|world| {
        let much = world.much();
        let diary = Diary::new();
        let server = scripted(&diary).on_data(move |transport, _| {
            transport.write_vec(vec![b'x'; much]);
            Err(std::io::Error::other("this makes no sense").into())
        });
        world.until_lost(&diary, server, async move |mut stream| {
            stream.write_all(b"x").await?;
            stream.read_exact(&mut [0; 1024]).await?;
            stream.reset();
            Ok(())
        });
        assert_eq!(diary.losses(), 1);
        assert_eq!(diary.reason().to_string(), "this makes no sense");
    });
}

// P4: nor does an error
#[test]
fn an_error_after_an_abort_is_not_the_reason() {
    on_every_network(|world| {
        let diary = Diary::new();
        let server = scripted(&diary).on_data(|transport, _| {
            transport.abort_connection();
            Err(std::io::Error::other("this makes no sense").into())
        });
        world.until_lost(&diary, server, async |mut stream| {
            stream.write_all(b"x").await?;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            Ok(())
        });
        assert!(diary.reason().is::<ConnectionAborted>());
    });
}

// P2, P8: neither from outside its handlers, nor data that has already arrived
#[test]
fn a_closing_connection_delivers_nothing_when_resumed() {
    on_every_network(|world| {
        let ends: [fn(&Transport); 3] =
            [Transport::lose_connection, Transport::abort_connection, |transport| {
                transport.fail_connection(std::io::Error::other("enough"))
            }];
        let on_its_way = Duration::from_secs(if world.is_real() { 0 } else { 1 });
        for end in ends {
            let diary = Diary::new();
            world.run(|reactor| {
                let (made, trigger) = Deferred::new();
                let trigger = Cell::new(Some(trigger));
                let server = scripted(&diary).on_made(move |transport| {
                    transport.pause_producing();
                    trigger.take().unwrap().callback(transport.clone());
                    Ok(())
                });
                let port = listen_once(reactor, server);
                let (handle, lost) = (Handle::clone(reactor), diary.when_lost());
                let peer = Peer::connect(reactor, address(&port), async |mut stream| {
                    stream.write_all(b"unheard").await?;
                    Ok(stream)
                });
                peer.add_callback(move |stream| {
                    made.add_callback(move |transport| {
                        handle.call_later(on_its_way, move || {
                            transport.resume_producing();
                            end(&transport);
                        });
                        lost.add_callback(move |()| drop(stream))
                    })
                })
            });
            let entries = diary.entries();
            assert!(entries.len() == 2 && entries[1].starts_with("lost "), "{entries:?}");
        }
    });
}

// P2, P8
#[test]
fn a_closing_connection_does_not_report_reading_resumed() {
    on_every_network(|world| {
        let diary = Diary::new();
        let server = scripted(&diary).on_data(|transport, _| {
            transport.pause_producing();
            transport.resume_producing();
            transport.lose_connection();
            Ok(())
        });
        world.until_lost(&diary, server, async move |mut stream| {
            stream.write_all(b"x").await?;
            stream.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(diary.entries(), ["made", "data x", "lost connection was closed cleanly"]);
    });
}

/// Resumes a paused connection only when everything that its peer sends has arrived: an `x`, and the end. A
/// short read then must not stop the reading.
fn read_when_all_has_come(
    diary: &Diary,
    on_data: impl Fn(&Handle, &Transport) -> Result<(), Failure> + 'static,
) {
    run(|reactor| {
        let (come, trigger) = Deferred::new();
        let (handle, trigger) = (Handle::clone(reactor), Cell::new(Some(trigger)));
        let server = scripted(diary)
            .on_made(move |transport| {
                transport.pause_producing();
                trigger.take().unwrap().callback(transport.clone());
                Ok(())
            })
            .on_data(move |transport, _| on_data(&handle, transport));
        let port = listen_once(reactor, server);
        let peer = peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"x")?;
            stream.shutdown(Shutdown::Write)?;
            Ok(stream)
        });
        let lost = diary.when_lost();
        peer.add_callback(move |stream| {
            come.add_callback(move |transport| {
                transport.resume_producing();
                lost.add_callback(move |()| drop(stream))
            })
        })
    });
}

// P3: the end of the stream waits while reading is paused, as data does
#[test]
fn an_end_is_not_reported_while_reading_is_paused() {
    let diary = Diary::new();
    read_when_all_has_come(&diary, |handle, transport| {
        transport.pause_producing();
        let transport = transport.clone();
        handle.call_later(Duration::ZERO, move || transport.resume_producing());
        Ok(())
    });
    let lost = format!("lost {ConnectionDone}");
    assert_eq!(diary.entries(), ["made", "resumed", "data x", "resumed", "end", &lost]);
}

// P2.8: including data that has already arrived
#[test]
fn nothing_is_delivered_after_abort_connection() {
    let diary = Diary::new();
    read_when_all_has_come(&diary, |_, transport| {
        transport.abort_connection();
        Ok(())
    });
    assert_eq!(diary.entries(), ["made", "resumed", "data x", &format!("lost {ConnectionAborted}")]);
}

// P4.3
#[test]
fn a_panic_closes_at_once_and_drops_unsent_data() {
    on_every_network(|world| {
        // More than the operating system buffers at both ends.
        let much = if world.is_real() { 64 << 20 } else { world.much() };
        let diary = Diary::new();
        let server = scripted(&diary).on_data(move |transport, _| {
            transport.write_vec(vec![b'x'; much]);
            panic!("on purpose");
        });
        let got = world.until_lost(&diary, server, async |mut stream| {
            stream.write_all(b"x").await?;
            let mut got = Vec::new();
            // The peer sees the end or a reset.
            let _ = stream.read_to_end(&mut got).await;
            Ok(got.len())
        });
        assert!(got < much);
        assert_eq!(diary.reason().downcast_ref::<HandlerPanicked>().unwrap().handler(), "data_received");
    });
}

// P4.1
#[test]
fn a_panic_with_queued_data_resets_and_is_logged() {
    support::logged::keep_log();
    on_every_network(|world| {
        for pull in [false, true] {
            let much = if world.is_real() { 64 << 20 } else { world.much() };
            let diary = Diary::new();
            let server = scripted(&diary).on_data(move |transport, _| {
                if pull {
                    transport.register_pull_producer(PanicsInTheMiddle(transport.clone(), Cell::new(3)))?;
                    return Ok(());
                }
                transport.write_vec(vec![b'x'; much]);
                panic!("on purpose");
            });
            let end = world.until_lost(&diary, server, async |mut stream| {
                stream.write_all(b"x").await?;
                Ok(stream.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind()))
            });
            assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "in {world:?}");
            assert!(diary.reason().is::<HandlerPanicked>());
            let logged = support::logged::logged();
            assert!(logged.len() == 1 && logged[0].ends_with("panicked: on purpose"), "{logged:?}");
        }
    });
}

struct PanicsInTheMiddle(Transport, Cell<usize>);

impl twistor_net::Producer for PanicsInTheMiddle {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.1.set(self.1.get() - 1);
        assert!(self.1.get() > 0, "on purpose");
        self.0.write(&[b'x'; 1000]);
    }

    fn stop_producing(&self) {}
}

// P2
#[test]
fn the_queue_is_dropped_with_the_connection() {
    on_every_network(|world| {
        let much = world.much();
        let ends: [fn(&Transport); 2] = [Transport::abort_connection, |transport| {
            transport.fail_connection(std::io::Error::other("enough"))
        }];
        for end in ends {
            let diary = Diary::new();
            let server = scripted(&diary).on_data(move |transport, _| {
                transport.write_vec(vec![b'x'; much]);
                assert!(transport.buffered() > 0);
                end(transport);
                assert_eq!(transport.buffered(), 0);
                Ok(())
            });
            world.until_lost(&diary, server, async |mut stream| {
                stream.write_all(b"x").await?;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                Ok(())
            });
            assert_eq!(diary.losses(), 1);
        }
    });
}
