//! The simulated network: its behaviour, and its reproducibility. P9.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod crashes;
mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::simulation::{Fault, explore, try_explore};
use twistor_net::{
    ClientEndpoint, ConnectFailed, ConnectRefused, ConnectTimedOut, ConnectionLost, DatagramProtocol,
    DatagramTransport, DnsLookupError, Factory, Failure, ListeningPort, NetworkEventKind, NoRoute, Protocol,
    RateLimit, ServerEndpoint, SimulatedNetwork, Transport, UdpEndpoint,
};
use twistor_reactor::{Clock, Handle, Reactor, defer_later};

const SERVER: &str = "192.0.2.80";
const CLIENT: &str = "192.0.2.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(handle: &Handle) -> SimulatedNetwork {
    SimulatedNetwork::of(handle).unwrap()
}

fn serve<F: Factory>(handle: &Handle, factory: F) -> ListeningPort {
    ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap()).listen(handle, factory).unwrap()
}

fn server() -> ClientEndpoint {
    ClientEndpoint::tcp(SERVER, 80)
}

/// Runs `test` with many seeds, with both endpoints of a server secured by TLS.
#[cfg(feature = "tls")]
fn with_tls<T: 'static>(test: impl Fn(&Reactor, ServerEndpoint, ClientEndpoint) -> Deferred<T>) -> Vec<T> {
    let authority = tls_support::Authority::new();
    let identity = authority.signs("server.test");
    with_seeds(|reactor| {
        network(reactor).add_name("server.test", [ip(SERVER)]);
        let endpoint = ServerEndpoint::tls("192.0.2.80:443".parse().unwrap(), identity.server());
        test(reactor, endpoint, ClientEndpoint::tls("server.test", 443, authority.client()))
    })
}

fn failure_of<T: 'static>(deferred: Deferred<T>) -> Deferred<Failure> {
    deferred.add_both(|result| match result {
        Ok(_) => panic!("the connect did not fail"),
        Err(failure) => Ok(failure),
    })
}

fn after(handle: &Handle, delay: Duration) -> Deferred<()> {
    let (deferred, trigger) = Deferred::new();
    handle.call_later(delay, move || trigger.callback(()));
    deferred
}

/// Runs a busy program with every fault. Returns its trace and its diaries.
fn trace(seed: u64) -> Vec<String> {
    let lines: Rc<RefCell<Vec<String>>> = Rc::default();
    let diaries: Vec<Diary> = (0..10).map(|_| Diary::new()).collect();
    let reactor = Reactor::simulated(seed);
    let network = network(&reactor);
    network.set_resets(0.3);
    network.set_silences(0.2);
    network.add_name("server.test", [ip(SERVER)]);
    let trace = lines.clone();
    network.set_observer(move |event| trace.borrow_mut().push(event.to_string()));
    let _port = serve(&reactor, |_| Echo);
    for (index, diary) in diaries.iter().enumerate() {
        let client = scripted(diary).on_made(move |transport| {
            transport.write(&noise(1000 * index));
            Ok(())
        });
        let connecting = ClientEndpoint::tcp("server.test", 80).connect(&reactor, client);
        drop(connecting.add_both(|_| Ok(())));
    }
    let handle = reactor.clone();
    reactor.call_later(Duration::from_secs(10), move || handle.stop());
    reactor.run().unwrap();
    let mut lines = lines.take();
    lines.extend(diaries.iter().flat_map(|diary| diary.entries()));
    lines
}

// P9.1, P9.2
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        let first = trace(seed);
        assert!(first.len() > 50, "only {} events", first.len());
        assert_eq!(first, trace(seed));
        assert_ne!(first, trace(seed + 1));
    }
}

// P9
#[test]
fn a_real_reactor_has_no_simulated_network() {
    assert!(SimulatedNetwork::of(&Reactor::new().unwrap()).is_none());
}

// P9.3
#[test]
fn data_may_be_split_unless_splitting_is_off() {
    let parts = |splitting| {
        let parts = with_seeds(|reactor| {
            let diary = Diary::new();
            network(reactor).set_splitting(splitting);
            let received = diary.when_received(50);
            let _port = serve(reactor, |_| Echo);
            server().connect(reactor, scripted(&diary)).add_callback(move |transport| {
                transport.write(&[b'x'; 50]);
                received.add_callback(move |()| Ok(diary.entries().len() - 1))
            })
        });
        (parts.iter().sum::<usize>(), parts.len())
    };
    let (whole, runs) = parts(false);
    assert_eq!(whole, runs);
    let (split, runs) = parts(true);
    assert!(split > runs, "{split} parts in {runs} runs");
}

// P9, P6.7
#[test]
fn connecting_fails_as_it_does_on_a_real_network() {
    with_seeds(|reactor| {
        network(reactor).set_reachable(ip("192.0.2.99"), false);
        let refused = failure_of(server().connect(reactor, Echo));
        let unknown = failure_of(ClientEndpoint::tcp("nobody.test", 80).connect(reactor, Echo));
        let no_route = failure_of(ClientEndpoint::tcp("192.0.2.99", 80).connect(reactor, Echo));
        refused
            .add_callback(|failure| assert!(failure.is::<ConnectRefused>(), "{failure}"))
            .add_callback(|()| unknown)
            .add_callback(|failure| assert!(failure.is::<DnsLookupError>(), "{failure}"))
            .add_callback(|()| no_route)
            .add_callback(|failure| assert!(failure.is::<NoRoute>(), "{failure}"))
    });
}

// P9, P6.8: without real time
#[test]
fn connecting_to_an_isolated_host_times_out() {
    with_seeds(|reactor| {
        let _port = serve(reactor, |_| Echo);
        network(reactor).isolate(ip(SERVER));
        let (start, handle) = (reactor.now(), (**reactor).clone());
        let patient = server().timeout(Duration::from_secs(1000)).connect(reactor, Echo);
        failure_of(server().connect(reactor, Echo)).add_callback(move |failure| {
            assert!(failure.is::<ConnectTimedOut>(), "{failure}");
            assert_eq!(handle.now() - start, Duration::from_secs(30));
            failure_of(patient).add_callback(move |failure| {
                // The operating system gives up first.
                assert!(failure.is::<ConnectTimedOut>(), "{failure}");
                assert_eq!(handle.now() - start, Duration::from_secs(127));
            })
        })
    });
}

// P6.11: RFC 8305
#[test]
fn a_host_with_a_dead_first_address_is_reached() {
    with_seeds(|reactor| {
        let network = network(reactor);
        let dead: IpAddr = "2001:db8::80".parse().unwrap();
        network.add_name("both.test", [dead, ip(SERVER)]);
        network.isolate(dead);
        let _port = serve(reactor, |_| Echo);
        let (start, handle) = (reactor.now(), (**reactor).clone());
        ClientEndpoint::tcp("both.test", 80).connect(reactor, Echo).add_callback(move |transport| {
            assert_eq!(transport.peer().unwrap().to_string(), "192.0.2.80:80");
            let took = handle.now() - start;
            assert!(took >= Duration::from_millis(250) && took < Duration::from_millis(300), "{took:?}");
        })
    });
}

// P9.4
#[test]
fn a_partition_holds_data_up_until_it_is_healed() {
    let diary = Diary::new();
    with_seeds(|reactor| {
        let diary = diary.clone();
        let network = network(reactor);
        let _port = serve(reactor, |_| Echo);
        let handle = (**reactor).clone();
        let before = diary.received().len();
        let received = diary.when_received(before + 4);
        let seen = diary.clone();
        server().connect(reactor, scripted(&diary)).add_callback(move |transport| {
            network.partition(ip(CLIENT), ip(SERVER));
            transport.write(b"ping");
            after(&handle, Duration::from_secs(600)).add_callback(move |()| {
                assert_eq!(seen.received().len(), before);
                network.heal(ip(SERVER), ip(CLIENT));
                received.add_callback(move |()| assert!(!transport.is_lost()))
            })
        })
    });
}

// P9
#[test]
fn connecting_continues_when_a_partition_is_healed() {
    with_seeds(|reactor| {
        let network = network(reactor);
        let _port = serve(reactor, |_| Echo);
        network.isolate(ip(SERVER));
        reactor.call_later(Duration::from_secs(20), move || network.rejoin(ip(SERVER)));
        server().connect(reactor, Echo).add_callback(|_| ())
    });
}

// P9, P1
#[test]
fn a_reset_is_reported_to_both_sides_once() {
    with_seeds(|reactor| {
        let (here, there) = (Diary::new(), Diary::new());
        let _port = serve(reactor, Once(Some(scripted(&there))));
        let network = network(reactor);
        let (lost, both_lost) = (here.when_lost(), there.when_lost());
        let (handle, seen) = ((**reactor).clone(), (here.clone(), there.clone()));
        server().connect(reactor, scripted(&here)).add_callback(move |_| {
            assert_eq!(network.reset_connections(ip(SERVER)), 1);
            lost.add_callback(move |()| both_lost)
                .add_callback(move |()| after(&handle, DEADLINE))
                .add_callback(move |()| {
                    for diary in [seen.0, seen.1] {
                        assert_eq!(diary.losses(), 1);
                        let reason = diary.reason();
                        let lost = reason.downcast_ref::<ConnectionLost>().unwrap();
                        assert_eq!(lost.kind(), io::ErrorKind::ConnectionReset);
                    }
                })
        })
    });
}

// P9: the server is connected when the reset comes, and the client's confirmation is in flight
#[test]
fn a_reset_during_the_connect_reaches_the_client() {
    with_seeds(|reactor| {
        let here = Diary::new();
        let _port = serve(reactor, |_| Echo);
        let (network, handle) = (network(reactor), (**reactor).clone());
        let resetting = network.clone();
        network.set_observer(move |event| {
            if event.kind == NetworkEventKind::Arrived {
                let network = resetting.clone();
                handle.call_later(Duration::ZERO, move || {
                    assert_eq!(network.reset_connections(ip(SERVER)), 1);
                });
            }
        });
        let lost = here.when_lost();
        server().connect(reactor, scripted(&here)).add_both(move |made| match made {
            Ok(_) => lost,
            Err(failure) => {
                assert!(failure.is::<ConnectFailed>(), "{failure:?}");
                twistor_deferred::succeed(())
            }
        })
    });
}

// P9.4
#[test]
fn a_silent_connection_is_reported_to_neither_side() {
    with_seeds(|reactor| {
        let (here, there) = (Diary::new(), Diary::new());
        let _port = serve(reactor, Once(Some(scripted(&there))));
        let network = network(reactor);
        let (handle, seen) = ((**reactor).clone(), (here.clone(), there.clone()));
        server().connect(reactor, scripted(&here)).add_callback(move |transport| {
            let made = after(&handle, Duration::from_secs(1));
            made.add_callback(move |()| {
                assert_eq!(network.silence_connections(ip(CLIENT)), 1);
                assert!(transport.write(&[b'x'; 1 << 20]));
                after(&handle, Duration::from_secs(3600)).add_callback(move |()| {
                    assert!(transport.buffered() > 0);
                    assert_eq!(
                        (seen.0.entries(), seen.1.entries()),
                        (vec!["made".into()], vec!["made".into()])
                    );
                    transport.abort_connection();
                })
            })
        })
    });
}

// P9.4: each fault occurs with some of many seeds
#[test]
fn resets_and_silences_are_as_frequent_as_configured() {
    let faults = |setting: fn(&SimulatedNetwork, f64), probability| {
        let lost = Rc::new(Cell::new(0));
        explore(0..200, |reactor| {
            setting(reactor.network(), probability);
            let diary = Diary::new();
            let _port = serve(reactor, |_| Echo);
            let lost = lost.clone();
            let (handle, seen) = (reactor.handle(), diary.clone());
            let connecting = server().connect(reactor, scripted(&diary));
            let done = connecting.add_both(move |connected| {
                after(&handle, Duration::from_secs(2)).add_callback(move |()| {
                    // A silence may begin before the client is connected.
                    if let Ok(transport) = connected {
                        transport.write(b"x");
                    }
                    after(&handle, Duration::from_secs(2)).add_callback(move |()| {
                        if seen.received().is_empty() {
                            lost.set(lost.get() + 1);
                        }
                    })
                })
            });
            reactor.run_until(done)
        });
        lost.get()
    };
    for setting in [SimulatedNetwork::set_resets, SimulatedNetwork::set_silences] {
        assert_eq!(faults(setting, 0.0), 0);
        assert_eq!(faults(setting, 1.0), 200);
        let some = faults(setting, 0.5);
        assert!((60..140).contains(&some), "{some} of 200");
    }
}

// P7.4
#[test]
fn a_simulated_listener_recovers_from_a_lack_of_descriptors() {
    with_seeds(|reactor| {
        let network = network(reactor);
        let _port = serve(reactor, |_| Echo);
        let diary = Diary::new();
        // One descriptor for the first client, and none to accept it.
        network.set_descriptor_limit(Some(1));
        let received = diary.when_received(1);
        let (handle, seen) = ((**reactor).clone(), diary.clone());
        server().connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.write(b"x");
            let starved = failure_of(server().connect(&handle, Echo));
            starved.add_callback(move |_| after(&handle, Duration::from_secs(60))).add_callback(move |()| {
                assert_eq!(seen.received(), b"");
                network.set_descriptor_limit(None);
                received
            })
        })
    });
}

// P7.4, A1: each new client finds the listener waiting, and does not add another wait
#[test]
fn new_clients_do_not_make_a_starved_listener_retry_more() {
    with_seeds(|reactor| {
        let _port = serve(reactor, |_| Echo);
        let handle = (**reactor).clone();
        for number in 0..30 {
            let connecting = handle.clone();
            handle.call_later(Duration::from_micros(7300 * number), move || {
                // One more descriptor for this client, and none to accept it.
                network(&connecting).set_descriptor_limit(Some(number as usize + 1));
                drop(server().connect(&connecting, Echo));
            });
        }
        after(&handle, Duration::from_secs(1)).add_callback(move |()| {
            let before = handle.stats().timers;
            after(&handle, Duration::from_secs(10)).add_callback(move |()| {
                let timers = handle.stats().timers - before;
                assert!((90..=110).contains(&timers), "it retried {timers} times in 10 seconds");
            })
        })
    });
}

// P9
#[test]
fn clients_of_a_full_queue_try_again() {
    with_seeds(|reactor| {
        let endpoint = ServerEndpoint::tcp("0.0.0.0:80".parse().unwrap()).backlog(1);
        let _port = endpoint.listen(reactor, |_| Echo).unwrap();
        network(reactor).set_descriptor_limit(Some(30));
        let clients: Vec<Deferred<Transport>> = (0..30).map(|_| server().connect(reactor, Echo)).collect();
        let (network, handle) = (network(reactor), (**reactor).clone());
        drop(
            after(&handle, Duration::from_secs(3)).add_callback(move |()| network.set_descriptor_limit(None)),
        );
        clients.into_iter().fold(twistor_deferred::succeed(()), |all, client| {
            all.add_callback(move |()| client.add_callback(|_| ()))
        })
    });
}

// P9
#[test]
fn a_stopped_listener_frees_its_address() {
    with_seeds(|reactor| {
        let port = serve(reactor, |_| Echo);
        let again = || ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap()).listen(reactor, |_| Echo);
        assert_eq!(again().unwrap_err().source.kind(), io::ErrorKind::AddrInUse);
        drop(port.stop_listening());
        again().unwrap();
        let any = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap());
        let one = any.listen(reactor, |_| Echo).unwrap();
        assert_ne!(one.address(), any.listen(reactor, |_| Echo).unwrap().address());
        ClientEndpoint::tcp("localhost", one.address().port().unwrap())
            .connect(reactor, Echo)
            .add_callback(|_| ())
    });
}

// P9
#[test]
fn hosts_are_distinguished_by_their_bind_address() {
    let peers: Rc<RefCell<Vec<String>>> = Rc::default();
    with_seeds(|reactor| {
        let seen = peers.clone();
        let _port = serve(reactor, move |peer: twistor_net::Address| {
            seen.borrow_mut().push(peer.ip().unwrap().ip().to_string());
            Echo
        });
        let diary = Diary::new();
        let received = diary.when_received(1);
        server().bind_address(ip("192.0.2.33")).connect(reactor, scripted(&diary)).add_callback(
            move |transport| {
                transport.write(b"x");
                received
            },
        )
    });
    assert!(peers.borrow().iter().all(|peer| peer == "192.0.2.33"));
}

// P9
#[cfg(unix)]
#[test]
fn unix_sockets_are_simulated_without_a_file() {
    with_seeds(|reactor| {
        let path = "/nowhere/at/all.sock";
        let _port = ServerEndpoint::unix(path).listen(reactor, |_| Echo).unwrap();
        let diary = Diary::new();
        let received = diary.when_received(5);
        ClientEndpoint::unix(path).connect(reactor, scripted(&diary)).add_callback(move |transport| {
            assert_eq!(transport.peer().unwrap().to_string(), path);
            transport.write(b"hello");
            received
        })
    });
}

// P9: a peer that never reads holds up a writer, in memory too
#[test]
fn a_peer_that_does_not_read_holds_the_writer_up() {
    with_seeds(|reactor| {
        network(reactor).set_window(10_000, 20_000);
        let diary = Diary::new();
        let deaf = scripted(&diary).on_made(|transport| {
            transport.pause_producing();
            Ok(())
        });
        let _port = serve(reactor, Once(Some(deaf)));
        let handle = (**reactor).clone();
        server().connect(reactor, Echo).add_callback(move |transport| {
            transport.write(&[b'x'; 100_000]);
            after(&handle, Duration::from_secs(10)).add_callback(move |()| {
                assert!((80_000..90_001).contains(&transport.buffered()), "{}", transport.buffered());
            })
        })
    });
}

// P10, P11: TLS uses the same network, and its wait for close_notify ends
#[cfg(feature = "tls")]
#[test]
fn tls_runs_in_the_simulation() {
    with_tls(|reactor, endpoint, client| {
        let never_closes = Diary::new();
        // It reads the end of the stream, and keeps its side open.
        let stubborn = scripted(&never_closes).on_end(|_| Ok(()));
        let _port = endpoint.listen(reactor, Once(Some(stubborn))).unwrap();
        let diary = Diary::new();
        let lost = diary.when_lost();
        let (handle, start) = ((**reactor).clone(), Cell::new(None));
        client.connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.write(&[b'x'; 100_000]);
            transport.lose_connection();
            start.set(Some(handle.now()));
            lost.add_callback(move |()| {
                let waited = handle.now() - start.get().unwrap();
                assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(7), "{waited:?}");
                assert_eq!(never_closes.received().len(), 100_000);
                assert!(diary.reason().is::<twistor_net::ConnectionDone>());
            })
        })
    });
}

// P11: after a reset, close_notify cannot arrive any more
#[cfg(feature = "tls")]
#[test]
fn a_reset_ends_the_wait_for_close_notify() {
    with_tls(|reactor, endpoint, client| {
        let stubborn = scripted(&Diary::new()).on_end(|_| Ok(()));
        endpoint.listen(reactor, Once(Some(stubborn))).unwrap();
        let diary = Diary::new();
        let (lost, handle) = (diary.when_lost(), Handle::clone(reactor));
        client.connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.lose_connection();
            let (start, later) = (handle.now(), handle.clone());
            handle.call_later(Duration::from_secs(1), move || {
                assert!(!transport.is_lost());
                assert_eq!(network(&later).reset_connections(ip(SERVER)), 1);
            });
            lost.add_callback(move |()| {
                assert_eq!(handle.now() - start, Duration::from_secs(1));
                assert!(diary.reason().is::<twistor_net::ConnectionDone>());
            })
        })
    });
}

// P2.5: data to be discarded and the end that is waited for may arrive together
#[test]
fn the_wait_for_a_sending_peer_ends_with_its_end() {
    with_seeds(|reactor| {
        network(reactor).set_splitting(false);
        let (served, handle) = (Diary::new(), Handle::clone(reactor));
        let lost = served.when_lost();
        let closes = scripted(&served).on_data(|transport, _| {
            transport.lose_connection_lingering();
            Ok(())
        });
        serve(reactor, Once(Some(closes)));
        let client = scripted(&Diary::new()).on_end(|_| Ok(()));
        server().connect(reactor, client).add_callback(move |transport| {
            transport.write(b"first");
            let (start, later) = (handle.now(), handle.clone());
            later.call_later(Duration::from_secs(1), move || {
                transport.write(b"more");
                transport.lose_connection();
            });
            lost.add_callback(move |()| {
                let waited = handle.now() - start;
                assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(2), "{waited:?}");
                assert!(served.reason().is::<twistor_net::ConnectionDone>());
            })
        })
    });
}

/// Pauses reading again and again, as the consumer of a producer may.
#[cfg(feature = "tls")]
fn keep_pausing(handle: &Handle, transport: Transport) {
    if !transport.is_lost() {
        transport.pause_producing();
        let again = handle.clone();
        handle.call_later(Duration::from_millis(1), move || keep_pausing(&again, transport));
    }
}

// P11.2
#[cfg(feature = "tls")]
#[test]
fn the_wait_for_close_notify_cannot_be_paused() {
    with_tls(|reactor, endpoint, client| {
        endpoint.listen(reactor, |_| Echo).unwrap();
        let diary = Diary::new();
        let lost = diary.when_lost();
        let handle = (**reactor).clone();
        client.connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.lose_connection();
            let start = handle.now();
            keep_pausing(&handle, transport);
            lost.add_callback(move |()| {
                assert!(handle.now() - start < Duration::from_secs(1), "{:?}", handle.now() - start);
            })
        })
    });
}

// P11.2: the last data, close_notify and the end of the stream may arrive together
#[cfg(feature = "tls")]
#[test]
fn the_wait_for_close_notify_ends_after_late_data() {
    with_tls(|reactor, endpoint, client| {
        let polite = scripted(&Diary::new()).on_end(|transport| {
            transport.write(b"so long");
            transport.lose_connection();
            Ok(())
        });
        endpoint.listen(reactor, Once(Some(polite))).unwrap();
        let diary = Diary::new();
        let lost = diary.when_lost();
        let handle = (**reactor).clone();
        client.connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.lose_connection();
            let start = handle.now();
            lost.add_callback(move |()| {
                assert!(handle.now() - start < Duration::from_secs(2), "{:?}", handle.now() - start);
            })
        })
    });
}

// P12: whatever the order of the settings
#[cfg(feature = "tls")]
#[test]
fn requiring_certificates_keeps_the_timeout_and_observer() {
    let authority = tls_support::Authority::new();
    let identity = authority.signs("server.test");
    with_seeds(|reactor| {
        let (failed, trigger) = Deferred::new();
        let trigger = Cell::new(Some(trigger));
        let tls =
            identity.server().handshake_timeout(Duration::from_secs(3)).on_failed_handshake(move |failure| {
                if let Some(trigger) = trigger.take() {
                    trigger.callback(failure.kind());
                }
            });
        let tls = tls.require_client_certificates(authority.pem.as_bytes()).unwrap();
        ServerEndpoint::tls("192.0.2.80:80".parse().unwrap(), tls).listen(reactor, |_| Echo).unwrap();
        let (handle, start) = (Handle::clone(reactor), reactor.now());
        server().connect(reactor, scripted(&Diary::new())).add_callback(move |_| failed).add_callback(
            move |kind| {
                assert_eq!(kind, twistor_net::tls::HandshakeFailure::TimedOut);
                let waited = handle.now() - start;
                assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
            },
        )
    });
}

// P11.2: neither a timer nor anything else remains of the wait
#[cfg(feature = "tls")]
#[test]
fn the_wait_for_close_notify_ends_with_the_connection() {
    with_tls(|reactor, endpoint, client| {
        let (served, diary) = (Diary::new(), Diary::new());
        endpoint.listen(reactor, Once(Some(scripted(&served)))).unwrap();
        let (lost, both, handle) = (diary.when_lost(), served.when_lost(), Handle::clone(reactor));
        client.connect(reactor, scripted(&diary)).add_callback(move |transport| {
            transport.lose_connection();
            let (network, counter) = (handle.clone(), handle.clone());
            lost.add_callback(move |()| both)
                .add_callback(move |()| after(&network, Duration::from_secs(1))) // what is still under way
                .add_callback(move |()| {
                    let before = counter.stats().timers;
                    after(&handle, Duration::from_secs(10))
                        .add_callback(move |()| assert_eq!(counter.stats().timers, before + 1))
                })
        })
    });
}

// P11, P3: after a half-close, no close_notify is waited for
#[cfg(feature = "tls")]
#[test]
fn an_answer_after_a_half_close_may_take_its_time() {
    with_tls(|reactor, endpoint, client| {
        let handle = Handle::clone(reactor);
        let server_side = scripted(&Diary::new()).on_end(move |transport| {
            let transport = transport.clone();
            handle.call_later(Duration::from_secs(60), move || {
                assert!(transport.write(b"answer"));
                transport.lose_connection();
            });
            Ok(())
        });
        endpoint.listen(reactor, Once(Some(server_side))).unwrap();
        let diary = Diary::new();
        let (lost, client_side) = (diary.when_lost(), scripted(&diary).on_end(|_| Ok(())));
        client.connect(reactor, client_side).add_callback(move |transport| {
            transport.lose_write_connection();
            lost.add_callback(move |()| {
                assert_eq!(diary.received(), b"answer");
                assert!(diary.reason().is::<twistor_net::ConnectionDone>());
            })
        })
    });
}

// P11.5, P2: less than the socket refuses, so that only TLS holds data
#[cfg(feature = "tls")]
#[test]
fn data_held_by_tls_is_not_drained() {
    with_tls(|reactor, endpoint, client| {
        endpoint.listen(reactor, |_| scripted(&Diary::new())).unwrap();
        client.connect(reactor, scripted(&Diary::new())).add_callback(|transport| {
            // The window fills up in the middle of a record.
            loop {
                transport.write(&[b'x'; 1000]);
                assert_eq!(transport.buffered(), 0, "more was accepted than the window holds");
                let drained = transport.drained();
                if !drained.is_fired() {
                    break drained;
                }
            }
        })
    });
}

/// Records the received datagrams.
#[derive(Clone, Default)]
struct Mail(Rc<RefCell<Vec<String>>>);

impl Mail {
    fn open(&self, reactor: &Reactor, endpoint: UdpEndpoint) -> DatagramTransport {
        endpoint.listen(reactor, self.clone()).unwrap()
    }
}

impl DatagramProtocol for Mail {
    fn datagram_received(
        &mut self,
        _: &DatagramTransport,
        data: &[u8],
        from: SocketAddr,
    ) -> Result<(), Failure> {
        self.0.borrow_mut().push(format!("{} from {}", String::from_utf8_lossy(data), from.ip()));
        Ok(())
    }

    fn connection_refused(&mut self, _: &DatagramTransport) -> Result<(), Failure> {
        self.0.borrow_mut().push("refused".to_owned());
        Ok(())
    }
}

fn place(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends a hundred datagrams, and returns the received ones.
fn post(seed: u64, lost: f64, repeated: f64) -> Vec<String> {
    let mail = Mail::default();
    run_on(Reactor::simulated(seed), SIMULATED_DEADLINE, |reactor| {
        network(reactor).set_datagram_faults(lost, repeated);
        let _ = mail.open(reactor, UdpEndpoint::new(place("192.0.2.80:53")));
        let sender = Mail::default().open(reactor, UdpEndpoint::new(place("192.0.2.33:0")));
        for number in 0..100 {
            sender.send_to(number.to_string().as_bytes(), place("192.0.2.80:53")).unwrap();
        }
        after(reactor, Duration::from_secs(1))
    });
    mail.0.take()
}

// P9.4, P15
#[test]
fn datagrams_are_lost_repeated_and_reordered_as_configured() {
    for seed in 0..5 {
        let all = post(seed, 0.0, 0.0);
        assert_eq!(all.len(), 100);
        let in_order: Vec<String> = (0..100).map(|number| format!("{number} from 192.0.2.33")).collect();
        assert_ne!(all, in_order);
        assert_eq!(all, post(seed, 0.0, 0.0));
        assert!((20..80).contains(&post(seed, 0.5, 0.0).len()));
        assert!((120..180).contains(&post(seed, 0.0, 0.5).len()));
        assert_eq!(post(seed, 1.0, 0.0).len(), 0);
    }
}

// P9, P15
#[test]
fn a_connected_udp_port_is_notified_of_refusals() {
    with_seeds(|reactor| {
        let (mail, peer) = (Mail::default(), place("192.0.2.80:53"));
        let endpoint = UdpEndpoint::new(place("0.0.0.0:5353")).peer(peer);
        let transport = mail.open(reactor, endpoint);
        transport.send(b"anybody there?").unwrap();
        let stranger = Mail::default().open(reactor, UdpEndpoint::new(place("192.0.2.66:53")));
        stranger.send_to(b"me", place("192.0.2.1:5353")).unwrap();
        assert!(transport.send(&[0; 65_508]).is_err());
        let handle = (**reactor).clone();
        after(&handle, Duration::from_secs(1)).add_callback(move |()| {
            assert_eq!(*mail.0.borrow(), ["refused"]);
            let server = UdpEndpoint::new(peer).listen(&handle, Mail::default()).unwrap();
            server.send_to(&[b'x'; 65_507], place("192.0.2.1:5353")).unwrap();
            server.send_to(b"", place("192.0.2.1:5353")).unwrap();
            after(&handle, Duration::from_secs(1)).add_callback(move |()| {
                let mut lengths: Vec<usize> = mail.0.borrow().iter().map(String::len).collect();
                lengths.sort();
                assert_eq!(lengths, [7, 16, 65_507 + 16]);
            })
        })
    });
}

// P9, P15
#[test]
fn datagrams_across_a_partition_are_lost() {
    with_seeds(|reactor| {
        let (mail, network) = (Mail::default(), network(reactor));
        let _ = mail.open(reactor, UdpEndpoint::new(place("192.0.2.80:53")));
        let sender = Mail::default().open(reactor, UdpEndpoint::new(place("192.0.2.33:0")));
        network.partition(ip("192.0.2.33"), ip(SERVER));
        sender.send_to(b"before", place("192.0.2.80:53")).unwrap();
        let handle = (**reactor).clone();
        after(&handle, Duration::from_secs(1)).add_callback(move |()| {
            network.heal(ip("192.0.2.33"), ip(SERVER));
            sender.send_to(b"after", place("192.0.2.80:53")).unwrap();
            after(&handle, Duration::from_secs(1))
                .add_callback(move |()| assert_eq!(*mail.0.borrow(), ["after from 192.0.2.33"]))
        })
    });
}

/// Runs in a simulated world. The test below traces it from outside.
#[test]
#[ignore = "the test below runs it under strace"]
fn a_simulated_run_alone() {
    assert!(trace(1).len() > 50);
}

// P9.2
#[cfg(target_os = "linux")]
#[test]
fn a_simulation_makes_no_system_call_for_time_or_sockets() {
    use std::process::Command;
    let folder = support::folder::Folder::new("strace");
    let log = folder.join("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&log).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "--ignored", "a_simulated_run_alone"]);
    match support::child::output(&mut strace) {
        Ok(output) if output.status.success() => {}
        outcome => return println!("skipped: strace is missing or may not trace ({outcome:?})"),
    }
    let calls = std::fs::read_to_string(&log).unwrap();
    assert!(calls.contains("execve("), "nothing was traced");
    for call in [
        "epoll_",
        "timerfd",
        "eventfd",
        "socket(",
        "connect(",
        "accept",
        "bind(",
        "recv",
        "send",
        "nanosleep",
        "clock_",
    ] {
        let made = calls.lines().find(|line| line.contains(call));
        assert!(made.is_none(), "{made:?}");
    }
}

// P6.9, P9: a socket that stays open would hold one of the descriptors
#[test]
fn failed_and_cancelled_connects_free_their_descriptors() {
    with_seeds(|reactor| {
        let network = network(reactor);
        serve(reactor, |_| Echo);
        let (dead, handle) = (ip("198.51.100.1"), Handle::clone(reactor));
        network.isolate(dead);
        network.add_name("both.test", [dead, ip(SERVER)]);
        reactor.spawn(async move {
            network.set_descriptor_limit(Some(1));
            for _ in 0..3 {
                let connecting = ClientEndpoint::tcp("198.51.100.1", 80).converse(&handle);
                let canceller = connecting.canceller();
                handle.call_later(Duration::from_millis(20), move || canceller.cancel());
                assert!(connecting.await.unwrap_err().is::<twistor_deferred::Cancelled>());
            }
            // One for each end, and one for the parallel attempt.
            network.set_descriptor_limit(Some(3));
            for _ in 0..3 {
                let peer = ClientEndpoint::tcp("both.test", 80).converse(&handle).await?;
                peer.write(b"x");
                assert_eq!(peer.read_exact(1).await?, b"x");
                peer.transport().lose_write_connection();
                assert_eq!(peer.read_some().await?, b"");
            }
            Ok::<(), Failure>(())
        })
    });
}

/// Returns how long connecting to a name takes if every latency is 10 ms.
fn takes(addresses: &'static [&'static str], prepare: impl FnOnce(&SimulatedNetwork)) -> Duration {
    simulated(|reactor| {
        let network = network(reactor);
        network.set_latency(Duration::from_millis(10), Duration::from_millis(10));
        network.add_name("some.test", addresses.iter().map(|address| ip(address)).collect::<Vec<_>>());
        prepare(&network);
        serve(reactor, |_| Echo);
        let (handle, start) = (Handle::clone(reactor), reactor.now());
        ClientEndpoint::tcp("some.test", 80)
            .connect(reactor, Echo)
            .add_callback(move |_| Ok(handle.now() - start))
    })
}

// P6.11: RFC 8305
#[test]
fn a_failure_does_not_shorten_the_next_attempts_delay() {
    let cut_off = |network: &SimulatedNetwork| {
        network.isolate(ip("2001:db8::8"));
        network.isolate(ip("2001:db8::9"));
    };
    // The lookup, the delay of the first attempt, and one round trip.
    assert_eq!(takes(&["2001:db8::8", "2001:db8::9", SERVER], cut_off), Duration::from_millis(280));
    // The first address refuses after 20 ms. The second one has a quarter of a second from then on.
    let took =
        takes(&["198.51.100.7", "198.51.100.8", SERVER], |network| network.isolate(ip("198.51.100.8")));
    assert_eq!(took, Duration::from_millis(300));
}

// P6.2: whichever failed last
#[test]
fn a_refusal_tells_more_than_a_missing_route() {
    let (refusing, unreachable) = ("198.51.100.7", "198.51.100.8");
    for addresses in [[refusing, unreachable], [unreachable, refusing]] {
        with_seeds(|reactor| {
            let network = network(reactor);
            network.add_name("some.test", addresses.map(ip));
            network.set_reachable(ip(unreachable), false);
            failure_of(ClientEndpoint::tcp("some.test", 80).connect(reactor, Echo))
                .add_callback(|failure| assert!(failure.is::<ConnectRefused>(), "{failure}"))
        });
    }
}

// P6.11: whatever the resolver returns
#[test]
fn an_address_listed_twice_is_tried_once() {
    with_seeds(|reactor| {
        let (network, tried) = (network(reactor), Rc::new(Cell::new(0)));
        let (first, second) = (ip("198.51.100.7"), ip("2001:db8::7"));
        network.add_name("some.test", [first, first, second, first, second]);
        let counter = tried.clone();
        network.set_observer(move |event| {
            if event.kind == NetworkEventKind::Connecting {
                counter.set(counter.get() + 1);
            }
        });
        failure_of(ClientEndpoint::tcp("some.test", 80).connect(reactor, Echo))
            .add_callback(move |_| assert_eq!(tried.get(), 2))
    });
}

// P14.13: the remaining wait of the earlier limit is dropped
#[test]
fn a_limit_that_is_set_again_applies_at_once() {
    const SIZE: usize = 50_000;
    for reads in [true, false] {
        with_seeds(|reactor| {
            let diary = Diary::new();
            let handle = Handle::clone(reactor);
            let (slow, fast) = (RateLimit::new(reactor, 1), RateLimit::new(reactor, 200_000));
            let start = reactor.now();
            let limited = move |transport: &Transport| {
                let set = if reads { Transport::limit_reading } else { Transport::limit_writing };
                set(transport, &slow);
                let (transport, fast) = (transport.clone(), fast.clone());
                handle.call_later(Duration::from_millis(200), move || set(&transport, &fast));
                Ok(())
            };
            let plain = |transport: &Transport| {
                transport.write(&[b'x'; SIZE]);
                Ok(())
            };
            let (writer, reader) = (scripted(&Diary::new()), scripted(&diary));
            let all = diary.when_received(SIZE);
            if reads {
                serve(reactor, Once(Some(writer.on_made(plain))));
                drop(server().connect(reactor, reader.on_made(limited)));
            } else {
                let writer = writer.on_made(move |transport| limited(transport).and(plain(transport)));
                serve(reactor, Once(Some(writer)));
                drop(server().connect(reactor, reader));
            }
            let handle = Handle::clone(reactor);
            all.add_callback(move |()| {
                let took = handle.now() - start;
                assert!(took < Duration::from_millis(900), "{took:?}");
            })
        });
    }
}

// P1.9: the run ends with the turn. Every connection is lost once, and its transport accepts nothing more
#[test]
fn transports_outlive_a_run_stopped_in_any_handler() {
    struct Stops(&'static str, Handle, Scripted);
    impl Stops {
        fn at(&self, method: &str) {
            if self.0 == method {
                self.1.stop();
            }
        }
    }
    impl Protocol for Stops {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            self.at("connection_made");
            self.2.connection_made(transport)
        }
        fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
            self.at("data_received");
            self.2.data_received(transport, data)
        }
        fn connection_lost(&mut self, reason: Failure) {
            self.at("connection_lost");
            self.2.connection_lost(reason);
        }
    }
    for method in ["factory", "connection_made", "data_received", "connection_lost"] {
        explore(seeds(), |world| {
            let (diary, kept) = (Diary::new(), Rc::new(RefCell::new(None)));
            let (handle, served, keep) = (world.handle(), diary.clone(), kept.clone());
            serve(world, move |_| {
                if method == "factory" {
                    handle.stop();
                }
                let keep = keep.clone();
                let protocol = scripted(&served).on_made(move |transport| {
                    keep.replace(Some(transport.clone()));
                    Ok(())
                });
                Stops(method, handle.clone(), protocol)
            });
            let client = scripted(&Diary::new()).on_made(|transport| {
                transport.write(b"x");
                transport.lose_connection();
                Ok(())
            });
            drop(server().connect(world, client).add_both(|_| Ok(())));
            world.run().unwrap();
            let made = usize::from(kept.borrow().is_some());
            assert_eq!(diary.losses(), made, "{method}");
            if let Some(transport) = kept.take() {
                assert!(transport.is_lost() && !transport.write(b"x") && transport.peer().is_none());
                assert!(transport.drained().add_both(|result| Ok(result.is_err())).is_fired());
                transport.set_high_water_mark(1);
                transport.pause_producing();
                transport.resume_producing();
                transport.lose_connection();
                transport.abort_connection();
            }
            assert_eq!(diary.losses(), made);
        });
    }
}

// P9: as TCP does
#[test]
fn closing_unread_data_and_writing_to_a_closed_peer_reset() {
    for unread in [true, false] {
        with_seeds(|reactor| {
            let handle = Handle::clone(reactor);
            let server_side = scripted(&Diary::new()).on_made(move |transport| {
                let (transport, closes) = (transport.clone(), if unread { 2 } else { 0 });
                transport.pause_producing();
                // Aborts, because lose_connection would read the data first.
                let close = move || transport.fail_connection(std::io::Error::other("enough"));
                handle.call_later(Duration::from_secs(closes), close);
                Ok(())
            });
            serve(reactor, Once(Some(server_side)));
            let (diary, handle) = (Diary::new(), Handle::clone(reactor));
            let lost = diary.when_lost();
            // It reads the end of the stream, and continues to write.
            let client = scripted(&diary).on_end(|_| Ok(()));
            server().connect(reactor, client).add_callback(move |transport| {
                handle.call_later(Duration::from_secs(1), move || assert!(transport.write(b"hello?")));
                lost.add_callback(move |()| assert!(diary.reason().is::<ConnectionLost>()))
            })
        });
    }
}

// P9
#[test]
fn a_partition_cuts_both_ways_and_never_a_host_from_itself() {
    for (one, other) in [(SERVER, CLIENT), (CLIENT, SERVER)] {
        with_seeds(|reactor| {
            let network = network(reactor);
            network.partition(ip(one), ip(other));
            serve(reactor, |_| Echo);
            let endpoint = server().timeout(Duration::from_secs(5));
            failure_of(endpoint.connect(reactor, Echo)).add_callback(|failure| {
                assert!(failure.is::<ConnectTimedOut>(), "{failure:?}");
            })
        });
    }
    with_seeds(|reactor| {
        network(reactor).isolate(ip(SERVER));
        serve(reactor, |_| Echo);
        server().bind_address(ip(SERVER)).timeout(Duration::from_secs(5)).connect(reactor, Echo)
    });
}

// P9.4
#[test]
fn routes_are_restored_and_names_removed() {
    with_seeds(|reactor| {
        let (network, handle) = (network(reactor), Handle::clone(reactor));
        serve(reactor, |_| Echo);
        network.add_name("server.test", [ip(SERVER)]);
        reactor.spawn(async move {
            let endpoint = ClientEndpoint::tcp("server.test", 80);
            network.set_reachable(ip(SERVER), false);
            assert!(endpoint.converse(&handle).await.unwrap_err().is::<NoRoute>());
            network.set_reachable(ip(SERVER), true);
            endpoint.converse(&handle).await?;
            network.remove_name("server.test");
            assert!(endpoint.converse(&handle).await.unwrap_err().is::<DnsLookupError>());
            Ok::<(), Failure>(())
        })
    });
}

// P9, P7: clients in a listener's queue do not hang
#[test]
fn unaccepted_clients_are_reset_when_the_listener_stops() {
    with_seeds(|reactor| {
        let port = Rc::new(Cell::new(None::<ListeningPort>));
        let stopping = port.clone();
        // It stops at the first client, while the second one waits.
        port.set(Some(serve(reactor, move |_| {
            if let Some(port) = stopping.take() {
                drop(port.stop_listening());
            }
            Echo
        })));
        let network = network(reactor);
        network.set_latency(Duration::from_millis(1), Duration::from_millis(1));
        let (first, second) = (Diary::new(), Diary::new());
        let second_lost = second.when_lost();
        let both = [first, second.clone()].map(|diary| server().connect(reactor, scripted(&diary)));
        let ended = both.map(|connecting| connecting.add_both(|result| Ok(result.is_ok())));
        let [one, other] = ended;
        one.add_callback(move |_| other).add_callback(move |connected| {
            // Connected, as far as it could observe, or already refused.
            if connected { second_lost } else { twistor_deferred::succeed(()) }
        })
    });
}

// P9, P15
#[test]
fn a_port_of_all_hosts_receives_for_each_and_is_bounded() {
    let counted = with_seeds(|reactor| {
        let (network, mail, handle) = (network(reactor), Mail::default(), Handle::clone(reactor));
        network.set_latency(Duration::from_millis(1), Duration::from_millis(1));
        let lost = Rc::new(Cell::new(0));
        let count = lost.clone();
        network.set_observer(move |event| {
            if matches!(event.kind, NetworkEventKind::Lost(_)) {
                count.set(count.get() + 1);
            }
        });
        mail.open(reactor, UdpEndpoint::new(place("0.0.0.0:53")));
        let sender = Mail::default().open(reactor, UdpEndpoint::new(place("192.0.2.1:0")));
        // They arrive together, before the port can read.
        for _ in 0..10 {
            sender.send_to(&[b'x'; 40_000], place("192.0.2.80:53")).unwrap();
        }
        after(&handle, Duration::from_secs(1)).add_callback(move |()| Ok((mail.0.borrow().len(), lost.get())))
    });
    assert!(counted.iter().all(|(heard, lost)| *heard == 5 && *lost == 5), "{counted:?}");
}

// P26.1
#[test]
fn an_exploration_counts_its_seeds_and_faults() {
    if std::env::var_os("TWISTOR_SEED").is_some() {
        return;
    }
    let seen = RefCell::new(Vec::new());
    let explored = try_explore(0..60, |world| {
        seen.borrow_mut().push(world.seed());
        world.faults().resets(0.5).silences(0.3).partitions(0.5).slow_names(0.5).missing_descriptors(0.1);
        world.network().add_name("server.test", [ip(SERVER)]);
        let _port = serve(world, |_| Echo);
        let client = ClientEndpoint::tcp("server.test", 80).timeout(Duration::from_secs(60));
        let connecting = client.connect(world, scripted(&Diary::new())).add_both(|_| ());
        let handle = world.handle();
        world.run_until(connecting.add_callback(move |()| after(&handle, Duration::from_secs(120))))
    });
    let explored = explored.unwrap();
    assert_eq!((explored.seeds(), seen.into_inner()), (60, (0..60).collect()));
    for fault in [Fault::Reset, Fault::Silence, Fault::Partition, Fault::SlowName, Fault::NoDescriptor] {
        assert!(explored.faults().get(fault) > 0, "no {fault} in {explored}");
    }
    assert_eq!(explored.faults().get(Fault::LostDatagram), 0);
    assert!(explored.to_string().starts_with("60 seeds in ") && explored.seeds_per_second() > 0.0);
}

// P26.5
#[test]
fn a_world_is_the_clock_of_its_reactor() {
    explore(0..1, |world| {
        let start = world.now();
        let world_clock: &dyn Clock = world;
        world.run_until(defer_later(world_clock, Duration::from_secs(5), || ()))?;
        assert_eq!(world_clock.now() - start, Duration::from_secs(5));
        assert_eq!(world_clock.shared().now(), world.handle().now());
        Ok::<(), Failure>(())
    });
}

/// Returns the report of an exploration about the first seed that fails.
fn counterexample<V: twistor_net::simulation::Verdict>(
    body: impl Fn(&twistor_net::simulation::World) -> V,
) -> String {
    let found = try_explore(0..100, body).unwrap_err();
    assert_eq!(found.seed(), 5, "{found}");
    found.to_string()
}

// P26.2
#[test]
fn the_first_seed_that_fails_is_named_with_the_command_for_it() {
    if std::env::var_os("TWISTOR_SEED").is_some() {
        return;
    }
    let failed = counterexample(|world| match world.seed() {
        5.. => Err(Failure::new("out of bread")),
        _ => Ok(()),
    });
    assert!(failed.starts_with("seed 5 failed, the 6th of those that ran: out of bread"), "{failed}");
    let command = "\n  in its world: no faults\n  run it again: TWISTOR_SEED=5 cargo test -p twistor-net --test simulation \
                   the_first_seed_that_fails_is_named_with_the_command_for_it -- --exact --nocapture";
    assert!(failed.contains(command), "{failed}");
    let alone = try_explore(5..6, |_| Err(Failure::new("out of bread"))).unwrap_err().to_string();
    assert!(alone.starts_with("seed 5 failed: out of bread"), "{alone}");
    // A panic that the loop catches is a failure, too.
    let failed = counterexample(|world| {
        let seed = world.seed();
        world.expect_panic("on purpose");
        world.call_later(Duration::from_secs(1), || panic!("this one is on purpose"));
        world.call_later(Duration::from_secs(2), move || assert!(seed < 5, "there is no seed {seed}"));
        let handle = world.handle();
        world.run_until(after(&handle, Duration::from_secs(3)))
    });
    assert!(failed.contains("there is no seed 5") && failed.contains("simulation.rs:"), "{failed}");
    let failed = counterexample(|world| {
        if world.seed() == 5 {
            world.set_time_limit(Duration::from_secs(60));
            let (never, _trigger) = Deferred::<()>::new();
            drop(world.run_until(never));
        }
    });
    assert!(failed.contains("not done after 60s of simulated time; it waits for nothing"), "{failed}");
    // A panic that comes too late, and one that no hook sees.
    let failed = counterexample(|world| {
        if world.seed() == 5 {
            world.set_time_limit(Duration::from_secs(60));
            let (never, _trigger) = Deferred::<()>::new();
            world.run_until(never).unwrap();
        }
    });
    assert!(failed.contains("5 failed, the 6th of those that ran: not done after 60s"), "{failed}");
    let failed = counterexample(|world| {
        if world.seed() == 5 {
            std::panic::resume_unwind(Box::new("no hook saw it"));
        }
    });
    assert!(failed.contains("no hook saw it"), "{failed}");
    let runs = Cell::new(0);
    let failed = counterexample(|world| {
        runs.set(runs.get() + 1);
        if world.seed() == 5 { Err(Failure::new(format!("run {}", runs.get()))) } else { Ok(()) }
    });
    assert_eq!(failed.contains("the second run went differently"), cfg!(feature = "trace"), "{failed}");
    assert_eq!(failed.contains("\n  see it: "), cfg!(feature = "trace"), "{failed}");
}

// P26.4
#[cfg(feature = "trace")]
#[test]
fn the_failed_seed_is_recorded_as_a_page() {
    if std::env::var_os("TWISTOR_SEED").is_some() {
        return;
    }
    let runs = Cell::new(0);
    let found = try_explore(0..100, |world| {
        runs.set(runs.get() + 1);
        let handle = world.handle();
        world.run_until(after(&handle, Duration::from_secs(world.seed())))?;
        if world.seed() == 5 { Err(Failure::new("out of bread")) } else { Ok(()) }
    });
    let found = found.unwrap_err();
    assert_eq!((found.seed(), runs.get()), (5, 7), "the failed seed runs twice");
    let page = std::fs::read_to_string(found.page().unwrap()).unwrap();
    std::fs::remove_file(found.page().unwrap()).unwrap();
    assert!(page.starts_with("<!") && page.contains("the_failed_seed_is_recorded_as_a_page, seed 5"));
    assert!(!found.to_string().contains("the second run went differently"), "{found}");
}

// P26.3
#[test]
fn requested_faults_of_each_kind_occur() {
    if std::env::var_os("TWISTOR_SEED").is_some() {
        return;
    }
    struct Chatter;
    impl DatagramProtocol for Chatter {
        fn started(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
            for _ in 0..20 {
                let _ = transport.send_to(b"hello", "192.0.2.80:9".parse().unwrap());
            }
            Ok(())
        }
        fn datagram_received(
            &mut self,
            _: &DatagramTransport,
            _: &[u8],
            _: SocketAddr,
        ) -> Result<(), Failure> {
            Ok(())
        }
    }
    let explored = explore(0..80, |world| {
        world.faults().all().missing_descriptors(0.2);
        let _port = UdpEndpoint::new("192.0.2.80:0".parse().unwrap()).listen(world, Chatter);
        let handle = world.handle();
        world.run_until(after(&handle, Duration::from_secs(1)))
    });
    for fault in [Fault::LostDatagram, Fault::RepeatedDatagram, Fault::NoMemory, Fault::NoDescriptor] {
        assert!(explored.faults().get(fault) > 0, "no {fault} in {explored}");
    }
}
