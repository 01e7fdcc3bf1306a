//! Idle timeouts, limits on connections and rates, and reconnecting clients. P14.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use log::LevelFilter;
use support::logged::{keep_log_from, logged};
use support::peers::free_port;
use support::*;
use twistor_deferred::Deferred;
use twistor_net::simulation::explore;
use twistor_net::{
    Address, Backoff, ClientEndpoint, ConnectRefused, ConnectionAborted, ConnectionDone,
    ConnectionIdleTimedOut, Conversation, Failure, IdleTimeout, IdleTimer, Limited, ListeningPort,
    NetworkEventKind, Protocol, RateLimit, Reconnecting, SimulatedNetwork, Transport, conversations,
};
use twistor_reactor::{Handle, Reactor};

// P14.11
#[test]
fn a_silent_connection_is_closed_with_idle_timed_out() {
    let diary = Diary::new();
    run(|reactor| {
        let server = IdleTimeout::new(reactor, Duration::from_millis(30), scripted(&diary));
        let port = listen_once(reactor, server);
        let peer = peer(reactor, address(&port), |mut stream| stream.read(&mut [0]));
        let lost = diary.when_lost();
        peer.add_callback(move |_| lost)
    });
    assert_eq!(diary.reason().trap::<ConnectionIdleTimedOut>().unwrap().after, Duration::from_millis(30));
}

// P14.11
#[test]
fn signs_of_life_delay_the_timeout() {
    let diary = Diary::new();
    // In simulated time, so that only the clock decides the order.
    let (first, last) = simulated(|reactor| {
        let limit = Duration::from_millis(60);
        let (handle, lifespan) = ((**reactor).clone(), Rc::new(Cell::new(None)));
        let made = lifespan.clone();
        let clock = handle.clone();
        let server = scripted(&diary).on_made(move |_| {
            made.set(Some(clock.now()));
            Ok(())
        });
        let port = listen_once(reactor, IdleTimeout::new(reactor, limit, server));
        let client = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let lost = diary.when_lost();
        client.connect(reactor, Echo).add_callback(move |transport| {
            // A byte every 10 ms, ten times.
            fn tick(handle: &Handle, transport: Transport, left: u32) {
                if left > 0 {
                    transport.write(b"x");
                    let again = handle.clone();
                    handle.call_later(Duration::from_millis(10), move || tick(&again, transport, left - 1));
                }
            }
            tick(&handle, transport, 10);
            lost.add_callback(move |()| Ok((lifespan.get().unwrap(), handle.now())))
        })
    });
    assert_eq!(diary.received().len(), 10);
    assert!(last - first >= Duration::from_millis(90 + 60));
    assert!(diary.reason().is::<ConnectionIdleTimedOut>());
}

// P14
#[test]
fn an_idle_timer_that_is_dropped_does_nothing() {
    let diary = Diary::new();
    run(|reactor| {
        let handle = (**reactor).clone();
        let kept = Rc::new(RefCell::new(None));
        let server = scripted(&diary).on_made(move |transport| {
            drop(IdleTimer::new(&handle, transport, Duration::ZERO));
            let timer = IdleTimer::new(&handle, transport, Duration::from_millis(1));
            timer.set_limit(Duration::from_secs(3600));
            kept.replace(Some(timer));
            Ok(())
        });
        let port = listen_once(reactor, server);
        let peer = peer(reactor, address(&port), |mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(50)))?;
            assert!(stream.read(&mut [0]).is_err(), "the connection was closed");
            Ok(())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |()| lost)
    });
    assert!(diary.reason().is::<ConnectionDone>());
}

/// Returns how many of `clients` are served while all stay connected.
fn served(port: &ListeningPort, handle: &Handle, clients: usize) -> Deferred<(usize, Vec<TcpStream>)> {
    let clients: Vec<TcpStream> = (0..clients).map(|_| TcpStream::connect(address(port)).unwrap()).collect();
    handle.defer_to_thread(move || {
        let mut served = 0;
        for mut client in &clients {
            client.set_read_timeout(Some(DEADLINE))?;
            let _ = client.write_all(b"x");
            served += usize::from(matches!(client.read(&mut [0]), Ok(1)));
        }
        Ok((served, clients))
    })
}

// P14.12
#[test]
fn connections_above_the_total_are_closed() {
    let (first, second) = run(|reactor| {
        let port = listen(reactor, Limited::new(|_| Echo).total(3));
        let handle = (**reactor).clone();
        served(&port, reactor, 5).add_callback(move |(first, clients)| {
            drop(clients);
            let (waited, trigger) = Deferred::new();
            handle.call_later(Duration::from_millis(20), move || trigger.callback(()));
            waited.add_callback(move |()| {
                served(&port, &handle, 5).add_callback(move |(second, _)| Ok((first, second)))
            })
        })
    });
    assert_eq!((first, second), (3, 3));
}

// P14.12
#[test]
fn connections_above_the_limit_per_peer_are_closed() {
    let got = run(|reactor| {
        let port = listen(reactor, Limited::new(|_| Echo).total(10).per_peer(2));
        let here = served(&port, reactor, 4);
        // Another address is another peer.
        let other = ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .bind_address("127.0.0.2".parse().unwrap())
            .converse(reactor)
            .add_callback(|peer| {
                peer.write(b"x");
                peer.read_exact(1).add_callback(move |_| drop(peer))
            });
        here.add_callback(move |(served, clients)| {
            other.add_callback(move |()| {
                drop(clients);
                Ok(served)
            })
        })
    });
    assert_eq!(got, 2);
}

// P14.17
#[test]
fn a_connection_above_a_limit_is_logged_with_its_peer() {
    let clients = |limited: Limited<fn(Address) -> Echo>| {
        keep_log_from(LevelFilter::Debug);
        let from = run(|reactor| {
            let port = listen(reactor, limited);
            let place = address(&port);
            peer(reactor, place, move |_first| {
                let mut second = TcpStream::connect(place)?;
                let from = second.local_addr()?;
                second.read_to_end(&mut Vec::new())?;
                Ok(from)
            })
        });
        (from, logged())
    };
    let (from, lines) = clients(Limited::new((|_| Echo) as fn(Address) -> Echo).total(1));
    let expected = format!("closed a connection from {from}: limit of 1 connections in total reached");
    assert!(lines.contains(&expected), "{lines:?}");
    let (from, lines) = clients(Limited::new((|_| Echo) as fn(Address) -> Echo).per_peer(1));
    let expected =
        format!("closed a connection from {from}: limit of 1 connections from one address reached");
    assert!(lines.contains(&expected), "{lines:?}");
}

const RATE: u64 = 1_000_000;
const TOTAL: usize = 300_000;
/// The bytes beyond the burst of a tenth of a second.
const LEAST: Duration = Duration::from_millis(199);

// P14.13
#[test]
fn reading_is_no_faster_than_its_limit() {
    let diary = Diary::new();
    let (start, end) = run(|reactor| {
        let (handle, limit) = ((**reactor).clone(), RateLimit::new(reactor, RATE));
        let server = scripted(&diary).on_made(move |transport| {
            transport.limit_reading(&limit);
            Ok(())
        });
        let port = listen_once(reactor, server);
        let start = handle.now();
        let peer = peer(reactor, address(&port), |mut stream| stream.write_all(&[b'x'; TOTAL]));
        let all = diary.when_received(TOTAL);
        peer.add_callback(move |()| all).add_callback(move |()| Ok((start, handle.now())))
    });
    assert!(end - start >= LEAST, "{:?}", end - start);
}

// P14.13: shared by two connections
#[test]
fn two_connections_share_a_write_limit() {
    let (start, end) = run(|reactor| {
        let (handle, limit) = ((**reactor).clone(), RateLimit::new(reactor, RATE));
        let port = listen(reactor, move |_| {
            let limit = limit.clone();
            scripted(&Diary::new()).on_made(move |transport| {
                transport.limit_writing(&limit);
                transport.write(&[b'x'; TOTAL / 2]);
                assert_eq!(transport.buffered(), TOTAL / 2);
                transport.lose_connection();
                Ok(())
            })
        });
        let start = handle.now();
        let read = |mut stream: TcpStream| stream.read_to_end(&mut Vec::new());
        let (first, second) = (peer(reactor, address(&port), read), peer(reactor, address(&port), read));
        first.add_callback(move |first| {
            second.add_callback(move |second| {
                assert_eq!(first + second, TOTAL);
                Ok((start, handle.now()))
            })
        })
    });
    assert!(end - start >= LEAST, "{:?}", end - start);
}

// P14.13, P2, P4
#[test]
fn a_limit_does_not_delay_an_end_that_drops_data() {
    let ends: [fn(&Transport); 2] =
        [Transport::abort_connection, |transport| transport.fail_connection(std::io::Error::other("enough"))];
    for end in ends {
        let diary = Diary::new();
        simulated(|reactor| {
            let (handle, limit) = (Handle::clone(reactor), RateLimit::new(reactor, 1));
            let server = scripted(&diary).on_made(move |transport| {
                transport.limit_reading(&limit);
                transport.limit_writing(&limit);
                transport.write(&[b'x'; 1000]);
                let transport = transport.clone();
                handle.call_later(Duration::from_secs(10), move || end(&transport));
                Ok(())
            });
            let port = listen_once(reactor, server);
            let client = scripted(&Diary::new()).on_made(|transport| {
                transport.write(&[b'x'; 1000]);
                Ok(())
            });
            let (lost, handle, start) = (diary.when_lost(), Handle::clone(reactor), reactor.now());
            ClientEndpoint::tcp("127.0.0.1", address(&port).port())
                .connect(reactor, client)
                .add_callback(move |_| lost)
                .add_callback(move |()| {
                    let taken = handle.now() - start;
                    assert!(taken < Duration::from_secs(11), "{taken:?}");
                })
        });
    }
}

// P14.13
#[test]
fn removing_a_limit_releases_all_data() {
    let got = run(|reactor| {
        let (handle, limit) = ((**reactor).clone(), RateLimit::new(reactor, 1));
        let server = scripted(&Diary::new()).on_made(move |transport| {
            transport.limit_writing(&limit);
            transport.write(&[b'x'; TOTAL]);
            let transport = transport.clone();
            handle.call_later(Duration::from_millis(5), move || {
                transport.lift_limits();
                transport.lose_connection();
            });
            Ok(())
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), |mut stream| stream.read_to_end(&mut Vec::new()))
    });
    assert_eq!(got, TOTAL);
}

// P14.14
#[test]
fn waits_grow_to_the_longest_with_jitter() {
    let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
    let waits: Vec<f64> =
        [1, 2, 3, 100, u32::MAX].iter().map(|n| backoff.delay(*n, 0.5).as_secs_f64()).collect();
    assert_eq!(waits, [1.0, 1.5, 2.25, 60.0, 60.0]);
    let backoff = Backoff { jitter: 0.5, ..backoff };
    assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(500));
    assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(1500));
}

// P14.18
#[test]
fn a_random_delay_stays_within_the_jitter() {
    let backoff = Backoff { factor: 1.0, jitter: 0.5, ..Backoff::default() };
    let delays = |reactor: &Handle| -> Vec<Duration> {
        (1..100).map(|failures| backoff.random_delay(reactor, failures)).collect()
    };
    let simulated = |seed| delays(&Reactor::simulated(seed));
    for mut delays in [delays(&Reactor::new().unwrap()), simulated(1)] {
        assert!(delays.iter().all(|delay| (0.5..=1.5).contains(&delay.as_secs_f64())), "{delays:?}");
        delays.dedup();
        assert!(delays.len() > 10, "{delays:?}");
    }
    assert_eq!(simulated(1), simulated(1));
    assert_ne!(simulated(1), simulated(2));
}

/// Returns when a client without a server tries to connect, within ten minutes.
fn attempts(reactor: &Reactor) -> Vec<Duration> {
    let times: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let seen = times.clone();
    SimulatedNetwork::of(reactor).unwrap().set_observer(move |event| {
        if event.kind == NetworkEventKind::Connecting {
            seen.borrow_mut().push(event.time);
        }
    });
    let service = Reconnecting::new(reactor, ClientEndpoint::tcp("192.0.2.80", 80), || Echo);
    service.start();
    let handle = reactor.handle();
    reactor.call_later(Duration::from_secs(600), move || handle.stop());
    reactor.run().unwrap();
    times.take()
}

// P14.14, P9
#[test]
fn in_a_simulation_the_jitter_is_drawn_from_the_seed() {
    explore(seeds(), |world| {
        let times = attempts(world);
        // Ten waits below a minute, then a minute with a quarter of jitter.
        assert!((15..30).contains(&times.len()), "{times:?}");
        assert_eq!(attempts(&Reactor::simulated(world.seed())), times);
        assert_ne!(attempts(&Reactor::simulated(world.seed() + 1)), times);
    });
}

fn soon() -> Backoff {
    Backoff { initial: Duration::from_millis(1), longest: Duration::from_millis(5), ..Backoff::default() }
}

// P14
#[test]
fn a_client_reconnects_after_failures_and_losses() {
    let made = Rc::new(Cell::new(0));
    run(|reactor| {
        // The port has no listener at first.
        let port = free_port();
        let count = made.clone();
        let (third, trigger) = Deferred::new();
        let trigger = Rc::new(Cell::new(Some(trigger)));
        let service = Reconnecting::new(reactor, ClientEndpoint::tcp("127.0.0.2", port), move || {
            let (count, trigger) = (count.clone(), trigger.clone());
            scripted(&Diary::new()).on_made(move |_| {
                count.set(count.get() + 1);
                if count.get() == 3 {
                    trigger.take().unwrap().callback(());
                }
                Ok(())
            })
        })
        .backoff(soon());
        service.start();
        service.start();
        let (handle, kept) = ((**reactor).clone(), service.clone());
        reactor.call_later(Duration::from_millis(20), move || {
            assert!(kept.failures() > 0);
            // The server closes every connection at once.
            let endpoint = twistor_net::ServerEndpoint::tcp(([127, 0, 0, 2], port).into());
            endpoint
                .listen(&handle, |_| {
                    scripted(&Diary::new()).on_made(|transport| {
                        transport.lose_connection();
                        Ok(())
                    })
                })
                .unwrap();
        });
        third.add_callback(move |()| service.stop())
    });
    assert!(made.get() >= 3);
}

// P14.15
#[test]
fn stopping_closes_and_does_not_reconnect() {
    let (diary, accepted) = (Diary::new(), Rc::new(Cell::new(0)));
    run(|reactor| {
        let count = accepted.clone();
        let port = listen(reactor, move |_| {
            count.set(count.get() + 1);
            Echo
        });
        let client = diary.clone();
        let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let service = Reconnecting::new(reactor, endpoint, move || scripted(&client)).backoff(soon());
        service.start();
        let (handle, ended) = ((**reactor).clone(), diary.clone());
        service.when_connected().add_callback(move |transport| {
            assert!(!transport.is_lost());
            assert!(service.when_connected().is_fired());
            let stopped = service.stop();
            assert!(!stopped.is_fired());
            stopped.add_callback(move |()| {
                assert_eq!(ended.losses(), 1);
                let (waited, trigger) = Deferred::new();
                handle.call_later(Duration::from_millis(30), move || {
                    drop(service);
                    trigger.callback(());
                });
                waited
            })
        })
    });
    assert_eq!(accepted.get(), 1);
}

// P14.16
#[test]
fn a_start_before_the_loss_connects_after_it() {
    let accepted = Rc::new(Cell::new(0));
    run(|reactor| {
        let count = accepted.clone();
        let port = listen(reactor, move |_| {
            count.set(count.get() + 1);
            Echo
        });
        let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let service = Reconnecting::new(reactor, endpoint, || Echo).backoff(soon());
        service.start();
        service.when_connected().add_callback(move |_| {
            let stopped = service.stop();
            service.start();
            let given_up = service.when_connected();
            let stopped_too = service.stop();
            assert!(given_up.is_fired());
            let given_up = given_up.add_both(|result| assert!(result.unwrap_err().is::<ConnectionAborted>()));
            service.start();
            let connected = service.when_connected();
            assert!(!stopped.is_fired() && !stopped_too.is_fired() && !connected.is_fired());
            let all = twistor_deferred::join((given_up, stopped, stopped_too, connected));
            all.add_callback(move |_| service.stop())
        })
    });
    assert_eq!(accepted.get(), 2);
}

// P14.15
#[test]
fn a_stop_fires_even_if_the_service_is_dropped() {
    let diary = Diary::new();
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        let client = diary.clone();
        let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let service = Reconnecting::new(reactor, endpoint, move || scripted(&client));
        service.start();
        let ended = diary.clone();
        service.when_connected().add_callback(move |transport| {
            transport.write(b"good bye");
            let stopped = service.stop();
            drop(service);
            assert!(!stopped.is_fired());
            stopped.add_callback(move |()| assert_eq!(ended.losses(), 1))
        })
    });
}

// P14.15
#[test]
fn stopping_in_the_builder_or_protocol_ends_connecting() {
    for from_protocol in [false, true] {
        let (diary, accepted) = (Diary::new(), Rc::new(Cell::new(0)));
        run(|reactor| {
            let count = accepted.clone();
            let port = listen(reactor, move |_| {
                count.set(count.get() + 1);
                Echo
            });
            let place = Rc::new(RefCell::new(None::<Reconnecting>));
            let (inside, client) = (place.clone(), diary.clone());
            let stop = move || {
                if let Some(service) = inside.take() {
                    drop(service.stop());
                }
            };
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            let service = Reconnecting::new(reactor, endpoint, move || {
                if !from_protocol {
                    stop();
                }
                let stop = stop.clone();
                scripted(&client).on_made(move |_| {
                    stop();
                    Ok(())
                })
            })
            .backoff(soon());
            service.start();
            place.replace(Some(service.clone()));
            let (waited, trigger) = Deferred::new();
            reactor.call_later(Duration::from_millis(30), move || {
                drop(service);
                trigger.callback(());
            });
            waited
        });
        assert_eq!(diary.losses(), usize::from(from_protocol), "from the protocol: {from_protocol}");
        assert!(accepted.get() <= 1);
    }
}

// P14.14
#[test]
fn each_failure_is_reported_with_the_next_wait() {
    let told = Rc::new(RefCell::new(Vec::new()));
    run(|reactor| {
        let (third, trigger) = Deferred::new();
        let (kept, mut trigger) = (told.clone(), Some(trigger));
        let steady = Backoff { jitter: 0.0, factor: 2.0, ..soon() };
        let service = Reconnecting::new(reactor, ClientEndpoint::tcp("127.0.0.1", closed_port()), || Echo)
            .backoff(steady)
            .on_failure(move |failure, wait| {
                assert!(failure.is::<ConnectRefused>());
                kept.borrow_mut().push(wait);
                if kept.borrow().len() == 3 {
                    trigger.take().unwrap().callback(());
                }
            });
        service.start();
        third.add_callback(move |()| service.stop())
    });
    let steady = Backoff { jitter: 0.0, factor: 2.0, ..soon() };
    assert_eq!(*told.borrow(), [1, 2, 3].map(|failures| steady.delay(failures, 0.5)));
}

// P14
#[test]
fn stopping_while_connecting_fails_the_waiters() {
    run(|reactor| {
        let endpoint = ClientEndpoint::tcp("127.0.0.1", closed_port());
        let service = Reconnecting::new(reactor, endpoint, || Echo);
        service.start();
        let waiting = service.when_connected();
        reactor.call_later(Duration::from_millis(10), move || assert!(service.stop().is_fired()));
        waiting.add_both(|result| assert!(result.unwrap_err().is::<ConnectionAborted>()))
    });
}

/// Returns how long a connection lived, in a world without chance.
fn lifespan(
    limit: Duration,
    made: impl FnMut(&Transport, &Handle) -> Result<(), Failure> + 'static,
) -> Duration {
    simulated(|reactor| {
        let handle = Handle::clone(reactor);
        let (begin, diary) = (Rc::new(Cell::new(None)), Diary::new());
        let (begun, clock) = (begin.clone(), handle.clone());
        let mut made = made;
        let server = scripted(&diary).on_made(move |transport| {
            begun.set(Some(clock.now()));
            made(transport, &clock)
        });
        let port = listen_once(reactor, IdleTimeout::new(reactor, limit, server));
        let lost = diary.when_lost();
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .connect(reactor, Echo)
            .add_callback(move |_| lost)
            .add_callback(move |()| Ok(handle.now() - begin.get().unwrap()))
    })
}

// P14.8
#[test]
fn a_peer_that_was_held_up_gets_the_full_time_again() {
    let lived = lifespan(Duration::from_millis(60), |transport, handle| {
        transport.pause_producing();
        let transport = transport.clone();
        handle.call_later(Duration::from_millis(50), move || transport.resume_producing());
        Ok(())
    });
    assert!(lived >= Duration::from_millis(110), "{lived:?}");
}

// P14.8
#[test]
fn a_paused_connection_is_not_idle() {
    let lived = lifespan(Duration::from_millis(60), |transport, handle| {
        transport.pause_producing();
        let transport = transport.clone();
        handle.call_later(Duration::from_secs(100), move || transport.resume_producing());
        Ok(())
    });
    assert_eq!(lived, Duration::from_millis(100_060));
}

// P14.9: a peer that sends nothing and reads slowly
#[test]
fn a_connection_whose_writes_make_progress_is_not_idle() {
    let (sent, lived) = simulated(|reactor| {
        SimulatedNetwork::of(reactor).unwrap().set_window(4096, 4096);
        let (diary, peer) = (Diary::new(), Diary::new());
        let server = scripted(&diary).on_made(|transport| {
            transport.write(&[b'x'; 100_000]);
            Ok(())
        });
        let limit = Duration::from_secs(1);
        let port = listen_once(reactor, IdleTimeout::new(reactor, limit, server));
        let slow = RateLimit::new(reactor, 5_000);
        let (handle, begin, lost) = (Handle::clone(reactor), reactor.now(), diary.when_lost());
        let received = peer.clone();
        let reader = scripted(&peer).on_made(move |transport| {
            transport.limit_reading(&slow);
            Ok(())
        });
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .connect(reactor, reader)
            .add_callback(move |_| lost)
            .add_callback(move |()| {
                assert!(diary.reason().is::<ConnectionIdleTimedOut>());
                Ok((received.received().len(), handle.now() - begin))
            })
    });
    assert!(sent > 95_000, "{sent} bytes were read");
    assert!((19.0..22.0).contains(&lived.as_secs_f64()), "{lived:?}");
}

// P14.9: data written in answer to received data is not another sign of life
#[test]
fn an_answer_does_not_double_the_idle_time() {
    let lived = simulated(|reactor| {
        let diary = Diary::new();
        let answers = scripted(&diary).on_data(|transport, _| {
            transport.write(b"an answer");
            Ok(())
        });
        let port = listen_once(reactor, IdleTimeout::new(reactor, Duration::from_secs(60), answers));
        let asks = scripted(&Diary::new()).on_made(|transport| {
            transport.write(b"a question");
            Ok(())
        });
        let (handle, begin, lost) = (Handle::clone(reactor), reactor.now(), diary.when_lost());
        drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, asks));
        lost.add_callback(move |()| Ok(handle.now() - begin))
    });
    assert!((60.0..60.1).contains(&lived.as_secs_f64()), "{lived:?}");
}

// P14.10
#[test]
fn a_hook_runs_before_the_timeout_closes() {
    simulated(|reactor| {
        let (diary, peer) = (Diary::new(), Diary::new());
        let server =
            IdleTimeout::new(reactor, Duration::from_secs(1), scripted(&diary)).on_timeout(|transport| {
                assert!(!transport.is_closing());
                transport.write(b"you were silent");
            });
        let port = listen_once(reactor, server);
        let lost = [diary.when_lost(), peer.when_lost()];
        drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, scripted(&peer)));
        twistor_deferred::gather_results(lost).add_callback(move |_| {
            assert!(diary.reason().is::<ConnectionIdleTimedOut>());
            assert_eq!(peer.received(), b"you were silent");
        })
    });
}

// P14.10
#[test]
fn a_hook_can_keep_the_connection_and_may_panic() {
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let keep: Rc<RefCell<Option<Rc<IdleTimer>>>> = Rc::default();
    let lived = lifespan(Duration::from_secs(3600), move |transport, handle| {
        let timer = Rc::new(IdleTimer::new(handle, transport, Duration::from_secs(1)));
        let (counted, kept) = (counted.clone(), keep.clone());
        timer.on_timeout(move |_| {
            counted.set(counted.get() + 1);
            match counted.get() {
                1 => kept.borrow().as_ref().unwrap().reset(),
                2 => kept.borrow().as_ref().unwrap().set_limit(Duration::from_secs(5)),
                _ => panic!("on purpose"),
            }
        });
        keep.replace(Some(timer));
        Ok(())
    });
    assert_eq!(calls.get(), 3);
    assert_eq!(lived, Duration::from_secs(7));
}

// P14.11
#[test]
fn a_shorter_limit_applies_at_once() {
    let keep = Rc::new(RefCell::new(None));
    let lived = lifespan(Duration::from_secs(3600), move |transport, handle| {
        let timer = IdleTimer::new(handle, transport, Duration::from_secs(3600));
        timer.set_limit(Duration::from_millis(60));
        keep.replace(Some(timer));
        Ok(())
    });
    assert!((60..70).contains(&lived.as_millis()), "{lived:?}");
}

// P14.12
#[test]
fn a_peer_stops_counting_when_its_connection_ends() {
    simulated(|reactor| {
        let port = listen(reactor, Limited::new(|_| Echo).per_peer(1));
        let (endpoint, handle) =
            (ClientEndpoint::tcp("127.0.0.1", address(&port).port()), Handle::clone(reactor));
        reactor.spawn(async move {
            for _ in 0..3 {
                let peer = endpoint.converse(&handle).await?;
                peer.write(b"x");
                assert_eq!(peer.read_exact(1).await?, b"x");
                // The limit of this peer is reached.
                let second = endpoint.converse(&handle).await?;
                assert_eq!(second.read_some().await?, b"");
                peer.transport().lose_write_connection();
                assert_eq!(peer.read_some().await?, b"");
            }
            Ok::<(), Failure>(())
        })
    });
}

/// Returns how many connections are requested if the service is ended in this way, while it waits or while it
/// connects.
fn asked_for(connecting: bool, end: fn(Reconnecting)) -> usize {
    let asked = Rc::new(Cell::new(0));
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let count = asked.clone();
        network.set_observer(move |event| match event.kind {
            NetworkEventKind::Connecting => count.set(count.get() + 1),
            NetworkEventKind::Arrived => panic!("the attempt was not cancelled"),
            _ => {}
        });
        let there = "192.0.2.9".parse().unwrap();
        if connecting {
            network.isolate(there);
        }
        let service = Reconnecting::new(reactor, ClientEndpoint::tcp("192.0.2.9", 7), || Echo);
        service.start();
        let (waited, trigger) = Deferred::new();
        let handle = Handle::clone(reactor);
        // The first wait is about a second.
        reactor.call_later(Duration::from_millis(100), move || {
            end(service);
            let healed = handle.clone();
            twistor_net::ServerEndpoint::tcp("192.0.2.9:7".parse().unwrap())
                .listen(&healed, |_| Echo)
                .unwrap();
            network.rejoin(there);
            handle.call_later(Duration::from_secs(200), move || trigger.callback(()));
        });
        waited
    });
    asked.get()
}

// P14
#[test]
fn a_stopped_or_dropped_service_does_not_connect() {
    for end in
        [|service| drop(service), |service: Reconnecting| drop(service.stop())] as [fn(Reconnecting); 2]
    {
        assert_eq!((asked_for(false, end), asked_for(true, end)), (1, 1));
    }
}

// P1, P14: each wrapper of the library passes every event on to its protocol
#[test]
fn wrappers_pass_every_event_on() {
    type Wrap = fn(&Handle, Scripted) -> ListeningPort;
    let servers: [Wrap; 3] = [
        |handle, protocol| listen(handle, Limited::new(Once(Some(protocol)))),
        |handle, protocol| listen_once(handle, IdleTimeout::new(handle, Duration::from_secs(60), protocol)),
        |handle, protocol| listen_once(handle, Box::new(protocol) as Box<dyn Protocol>),
    ];
    // The peer ends its half of the connection, and resets it when that has been noticed.
    async fn leave(peer: Conversation, seen: Diary) -> Result<(), Failure> {
        peer.write(b"x");
        peer.transport().lose_write_connection();
        peer.read_exact(1).await?;
        peer.transport().abort_connection();
        seen.when_lost().await
    }
    let events = |run: &dyn Fn(&Handle, Scripted, Diary) -> Deferred<()>| {
        let (diary, broken) = (Diary::new(), Rc::new(Cell::new(0)));
        simulated(|reactor| {
            let (handle, broken) = (reactor.handle(), broken.clone());
            let protocol = scripted(&diary)
                .on_made(move |transport| {
                    transport.pause_producing();
                    let transport = transport.clone();
                    handle.call_later(Duration::from_secs(1), move || transport.resume_producing());
                    Ok(())
                })
                .on_end(|transport| {
                    transport.write(b"y");
                    Ok(())
                })
                .on_write_lost(move |_| {
                    broken.set(broken.get() + 1);
                    Ok(())
                });
            run(reactor, protocol, diary.clone())
        });
        let entries = diary.entries();
        assert_eq!(entries[..4], ["made", "resumed", "data x", "end"]);
        assert!(entries.len() == 5 && entries[4].starts_with("lost "), "{entries:?}");
        assert_eq!(broken.get(), 1);
    };
    for wrap in servers {
        events(&|handle, protocol, diary| {
            let port = address(&wrap(handle, protocol)).port();
            let peer = ClientEndpoint::tcp("127.0.0.1", port).converse(handle);
            handle.spawn(async move { leave(peer.await?, diary).await })
        });
    }
    events(&|handle, protocol, diary| {
        let (done, trigger) = Deferred::new();
        let (spawner, trigger) = (handle.clone(), Cell::new(Some(trigger)));
        let factory = conversations(move |peer: Conversation| {
            let (diary, trigger) = (diary.clone(), trigger.take());
            spawner.spawn(async move {
                leave(peer, diary).await?;
                trigger.into_iter().for_each(|trigger| trigger.callback(()));
                Ok::<(), Failure>(())
            })
        });
        let port = address(&listen(handle, factory)).port();
        let protocol = Cell::new(Some(protocol));
        let service = Reconnecting::new(handle, ClientEndpoint::tcp("127.0.0.1", port), move || {
            protocol.take().unwrap()
        });
        service.start();
        done.add_callback(move |()| service.stop())
    });
}
