//! Connecting, and its failures. P6.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use support::*;
use twistor_deferred::{Cancelled, Deferred, Failure, Panicked, fail, gather_results, succeed};
#[cfg(target_os = "linux")]
use twistor_net::ServerEndpoint;
use twistor_net::{
    ClientEndpoint, ConnectFailed, ConnectRefused, ConnectStage, ConnectTimedOut, DnsLookupError, Resolver,
    SimulatedNetwork, Transport,
};
use twistor_reactor::Handle;

/// Returns the failure of a connect whose protocol must not be called.
fn failure(connect: impl FnOnce(&Handle, Scripted) -> Deferred<Transport>) -> Failure {
    let diary = Diary::new();
    let failure = run(|reactor| {
        connect(reactor, scripted(&diary)).add_both(|result| match result {
            Ok(transport) => panic!("connected: {transport:?}"),
            Err(failure) => Ok(failure),
        })
    });
    assert!(diary.entries().is_empty());
    failure
}

/// A listener with a full queue, which answers no further client.
struct Mute {
    address: SocketAddr,
    _held: (socket2::Socket, Vec<socket2::Socket>),
}

fn mute() -> Mute {
    mute_at("127.0.0.1:0").unwrap()
}

fn mute_at(address: &str) -> std::io::Result<Mute> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
    let listener = socket()?;
    listener.bind(&address.into())?;
    listener.listen(0)?;
    let address = listener.local_addr()?.as_socket().unwrap();
    let fill = (0..4).map(|_| {
        let socket = socket()?;
        socket.set_nonblocking(true)?;
        let _ = socket.connect(&address.into());
        Ok(socket)
    });
    let fill = fill.collect::<std::io::Result<_>>()?;
    Ok(Mute { address, _held: (listener, fill) })
}

#[derive(Debug)]
struct Names(Vec<IpAddr>);

impl Resolver for Names {
    fn resolve(&self, _: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        assert_eq!(host, "some.name");
        succeed(self.0.iter().map(|host| SocketAddr::new(*host, port)).collect())
    }
}

fn named(addresses: &[&str], port: u16) -> ClientEndpoint {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    ClientEndpoint::tcp("some.name", port).resolver(Rc::new(Names(addresses)))
}

// P6.7
#[test]
fn a_closed_port_is_connect_refused() {
    let port = closed_port();
    let failure =
        failure(|handle, protocol| ClientEndpoint::tcp("127.0.0.1", port).connect(handle, protocol));
    assert!(failure.is::<ConnectRefused>());
    assert_eq!(failure.to_string(), format!("connection to 127.0.0.1:{port} refused"));
}

// P1, P6
#[test]
fn a_peer_that_closed_before_the_connect_event_is_heard() {
    for closes in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let diary = Diary::new();
        run(|reactor| {
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address.port());
            let connecting = endpoint.connect(reactor, scripted(&diary));
            // The loop has not turned yet, so one event reports everything.
            let mut peer = Some(listener.accept().unwrap().0);
            peer.as_mut().unwrap().write_all(b"hello").unwrap();
            if closes {
                peer = None;
            }
            let heard = diary.clone();
            connecting
                .add_callback(move |_| if closes { heard.when_lost() } else { heard.when_received(5) })
                .add_callback(move |()| drop(peer))
        });
        assert_eq!(diary.received(), b"hello", "closes: {closes}");
    }
}

// P6
#[test]
fn an_unhandled_connect_failure_names_the_caller() {
    for host in ["127.0.0.1", "localhost", "no-such-name.invalid"] {
        let line = line!() + 2;
        let failure =
            failure(|handle, protocol| ClientEndpoint::tcp(host, closed_port()).connect(handle, protocol));
        let place = failure.deferred_location().unwrap();
        assert_eq!((place.file(), place.line()), (file!(), line), "{host}");
    }
}

// P6.7, P6.8
#[test]
fn a_peer_that_never_answers_is_timed_out() {
    let mute = mute();
    let failure = failure(|handle, protocol| {
        ClientEndpoint::tcp("127.0.0.1", mute.address.port())
            .timeout(Duration::from_millis(20))
            .connect(handle, protocol)
    });
    let error = failure.downcast_ref::<ConnectTimedOut>().unwrap();
    assert_eq!((error.after, error.stage), (Some(Duration::from_millis(20)), ConnectStage::Answer));
    assert_eq!(
        error.to_string(),
        format!(
            "connecting to tcp:127.0.0.1:{} timed out after 20ms while waiting for an answer",
            mute.address.port()
        )
    );
}

// P6.9
#[test]
fn a_cancelled_connect_is_cancelled_at_every_stage() {
    let mute = mute();
    let failure_of = |endpoint: ClientEndpoint| {
        failure(|handle, protocol| {
            let connecting = endpoint.connect(handle, protocol);
            let canceller = connecting.canceller();
            handle.call_later(Duration::from_millis(1), move || {
                canceller.cancel();
                canceller.cancel();
            });
            connecting
        })
    };
    #[derive(Debug)]
    struct Never(Rc<Cell<bool>>);
    impl Resolver for Never {
        fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            let cancelled = self.0.clone();
            let (deferred, trigger) = Deferred::with_canceller(move |_| cancelled.set(true));
            std::mem::forget(trigger);
            deferred
        }
    }
    let told = Rc::new(Cell::new(false));
    let resolving = ClientEndpoint::tcp("some.name", 1).resolver(Rc::new(Never(told.clone())));
    assert!(failure_of(resolving).is::<Cancelled>());
    assert!(told.get());
    assert!(failure_of(ClientEndpoint::tcp("127.0.0.1", mute.address.port())).is::<Cancelled>());
    assert!(failure_of(named(&["127.0.0.1", "127.0.0.2"], mute.address.port())).is::<Cancelled>());
}

// P6.8, C6: the timeout includes the name lookup
#[test]
fn a_lookup_that_hangs_times_out() {
    #[derive(Debug)]
    struct Hangs(RefCell<Vec<twistor_deferred::Trigger<Vec<SocketAddr>>>>);
    impl Resolver for Hangs {
        fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            let (deferred, trigger) = Deferred::new();
            self.0.borrow_mut().push(trigger);
            deferred
        }
    }
    let resolver = Rc::new(Hangs(RefCell::default()));
    let endpoint =
        ClientEndpoint::tcp("some.name", 1).resolver(resolver.clone()).timeout(Duration::from_millis(5));
    let failure = failure(|handle, protocol| endpoint.connect(handle, protocol));
    assert_eq!(
        failure.to_string(),
        "connecting to tcp:some.name:1 timed out after 5ms while waiting for the name lookup"
    );
    assert_eq!(failure.trap::<ConnectTimedOut>().unwrap().stage, ConnectStage::Lookup);
    // An answer that arrives too late is ignored.
    for trigger in resolver.0.take() {
        trigger.callback(vec!["127.0.0.1:1".parse().unwrap()]);
    }
}

// P6.10, C6
#[test]
fn a_resolver_that_panics_is_a_failure_to_connect() {
    #[derive(Debug)]
    struct Panics(bool);
    impl Resolver for Panics {
        fn resolve(&self, handle: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            if self.0 {
                return handle.defer_to_thread(|| panic!("on a thread, on purpose"));
            }
            panic!("at once, on purpose")
        }
    }
    for (on_a_thread, message) in [(true, "on a thread, on purpose"), (false, "at once, on purpose")] {
        let endpoint = ClientEndpoint::tcp("some.name", 1).resolver(Rc::new(Panics(on_a_thread)));
        let failure = failure(|handle, protocol| endpoint.connect(handle, protocol));
        assert_eq!(failure.trap::<Panicked>().unwrap().message(), message);
    }
}

/// Blocks a lookup thread of the reactor for each name, until it is released.
#[derive(Debug, Default)]
struct Stuck {
    let_go: Arc<(Mutex<bool>, Condvar)>,
}

impl Stuck {
    fn let_go(&self) {
        let (gone, changed) = &*self.let_go;
        *gone.lock().unwrap() = true;
        changed.notify_all();
    }
}

impl Resolver for Stuck {
    fn resolve(&self, handle: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
        let let_go = self.let_go.clone();
        handle.defer_to_lookup_thread(move || {
            let (gone, changed) = &*let_go;
            let waited = changed.wait_timeout_while(gone.lock().unwrap(), DEADLINE, |gone| !*gone).unwrap();
            assert!(!waited.1.timed_out());
            Ok(Vec::new())
        })
    }
}

// P6, C6; R4.4 of the reactor
#[test]
fn lookups_that_hang_time_out_and_delay_nothing_else() {
    const NAMES: usize = 50;
    let stuck = Rc::new(Stuck::default());
    let failures = run(|reactor| {
        let connects = (0..NAMES).map(|index| {
            let endpoint = ClientEndpoint::tcp(format!("{index}.test"), 1).resolver(stuck.clone());
            let connecting = endpoint.timeout(Duration::from_millis(20)).connect(reactor, Echo);
            connecting.add_both(|result| Ok(result.err()))
        });
        let failures = gather_results(connects);
        // An IP address needs no lookup, and so no thread.
        let port = listen(reactor, |_| Echo);
        let literal = ClientEndpoint::tcp("127.0.0.1", address(&port).port()).resolver(stuck.clone());
        let connected = literal.connect(reactor, Echo);
        let work = reactor.defer_to_thread(|| Ok(()));
        failures.add_callback(|failures| connected.add_callback(|_| work.add_callback(|()| Ok(failures))))
    });
    // The run and the reactor have ended without waiting for the lookups.
    stuck.let_go();
    assert_eq!(failures.len(), NAMES);
    for failure in failures {
        assert!(failure.is_some_and(|failure| failure.is::<ConnectTimedOut>()));
    }
}

// P6.7
#[test]
fn a_name_without_addresses_is_a_dns_lookup_error() {
    let unresolved = failure(|handle, protocol| named(&[], 1).connect(handle, protocol));
    assert!(unresolved.is::<DnsLookupError>());
    assert_eq!(unresolved.to_string(), "cannot resolve \"some.name\": the name has no addresses");
    // RFC 6761 reserves this name: it never has an address.
    let nowhere = ClientEndpoint::tcp("nowhere.invalid", 1);
    let unresolved = failure(|handle, protocol| nowhere.connect(handle, protocol));
    assert!(unresolved.is::<DnsLookupError>(), "{unresolved:?}");
}

// P6.7
#[test]
fn the_error_of_a_failing_resolver_is_passed_on() {
    #[derive(Debug)]
    struct Fails;
    impl Resolver for Fails {
        fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            fail(std::io::Error::other("on strike"))
        }
    }
    let endpoint = ClientEndpoint::tcp("some.name", 1).resolver(Rc::new(Fails));
    let failure = failure(|handle, protocol| endpoint.connect(handle, protocol));
    assert_eq!(failure.to_string(), "on strike");
}

// P6.7
#[test]
fn an_error_without_a_type_is_connect_failed() {
    // This machine does not have this address.
    let endpoint = ClientEndpoint::tcp("127.0.0.1", 1).bind_address("192.0.2.1".parse().unwrap());
    let failure = failure(|handle, protocol| endpoint.connect(handle, protocol));
    assert!(failure.is::<ConnectFailed>(), "{failure:?}");
}

// P6
#[test]
fn the_peer_sees_the_bind_address() {
    let peer = run(|reactor| {
        let (deferred, trigger) = Deferred::new();
        let trigger = Cell::new(Some(trigger));
        let port = listen(reactor, move |peer: twistor_net::Address| {
            if let Some(trigger) = trigger.take() {
                trigger.callback(peer);
            }
            Echo
        });
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .bind_address("127.0.0.2".parse().unwrap())
            .connect(reactor, Echo)
            .add_callback(move |transport| {
                let host = transport.local_addr().unwrap();
                deferred.add_callback(move |peer| {
                    assert_eq!(peer, host);
                    Ok(peer)
                })
            })
    });
    assert_eq!(peer.ip().unwrap().ip(), "127.0.0.2".parse::<IpAddr>().unwrap());
}

/// Returns a link-local address of this machine, and its interface by name and number.
#[cfg(target_os = "linux")]
fn link_local() -> Option<(std::net::Ipv6Addr, String, u32)> {
    // ADDRESS NUMBER PREFIX SCOPE FLAGS NAME; all but the name are hexadecimal
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let found = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let number = u32::from_str_radix(fields.next()?, 16).ok()?;
        let address = std::net::Ipv6Addr::from(address);
        Some((address, fields.nth(3)?.to_owned(), number)).filter(|_| address.is_unicast_link_local())
    });
    if found.is_none() {
        println!("skipped: no interface here has a link-local address");
    }
    found
}

// P6.12
#[test]
#[cfg(target_os = "linux")]
fn the_zone_of_an_address_is_used_for_the_connection() {
    let Some((ip, name, number)) = link_local() else { return };
    let server: ServerEndpoint = format!("tcp:[{ip}%{name}]:0").parse().unwrap();
    assert!(server.to_string().ends_with(&format!("%{number}")), "{server}");
    for zone in [name, number.to_string()] {
        for bind in [None, Some(ip)] {
            let peer = run(|reactor| {
                let port = server.listen(reactor, |_| Echo).unwrap();
                let mut endpoint = ClientEndpoint::tcp(format!("{ip}%{zone}"), address(&port).port());
                if let Some(bind) = bind {
                    endpoint = endpoint.bind_address(bind.into());
                }
                let connecting = endpoint.connect(reactor, Echo);
                connecting.add_callback(|transport| Ok(transport.peer().unwrap().to_string()))
            });
            assert!(peer.starts_with(&format!("[{ip}%{number}]:")), "{peer}");
        }
    }
}

// P6.12
#[test]
fn an_unknown_zone_is_named_by_the_error() {
    let endpoint: ClientEndpoint = "tcp:[fe80::1%no-such-link]:80".parse().unwrap();
    let unknown = failure(|handle, protocol| endpoint.connect(handle, protocol));
    assert!(unknown.is::<DnsLookupError>());
    let told =
        "cannot resolve \"fe80::1%no-such-link\": this machine has no network interface \"no-such-link\"";
    assert_eq!(unknown.to_string(), told);
}

/// Returns the address at which a named endpoint arrives, with a listener at 127.0.0.1.
fn arrives(addresses: &'static [&'static str]) -> IpAddr {
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        named(addresses, address(&port).port())
            .connect(reactor, Echo)
            .add_callback(|transport| Ok(transport.peer().unwrap().ip().unwrap().ip()))
    })
}

// P6.11: all of a name's addresses are tried
#[test]
fn the_next_address_is_tried_when_one_refuses() {
    assert_eq!(arrives(&["127.0.0.9", "127.0.0.1"]).to_string(), "127.0.0.1");
    assert_eq!(arrives(&["127.0.0.9", "127.0.0.8", "::1", "127.0.0.1"]).to_string(), "127.0.0.1");
}

// P6.11: happy eyeballs
#[test]
fn the_next_address_is_tried_beside_a_silent_one() {
    // The first address accepts no connections and sends nothing. The second is a listener on the same port.
    let mute = mute();
    let arrived = run(|reactor| {
        let second: SocketAddr = SocketAddr::new("127.0.0.2".parse().unwrap(), mute.address.port());
        let port = twistor_net::ServerEndpoint::tcp(second).listen(reactor, |_| Echo).unwrap();
        named(&["127.0.0.1", "127.0.0.2"], address(&port).port())
            .timeout(Duration::from_secs(10))
            .connect(reactor, Echo)
            .add_callback(|transport| Ok(transport.peer().unwrap().ip().unwrap().ip()))
    });
    assert_eq!(arrived.to_string(), "127.0.0.2");
}

/// Returns a silent IPv6 address and a listener at an IPv4 address with the same port, or the reason why
/// there is none.
fn mute_beside_free() -> std::io::Result<(Mute, SocketAddr)> {
    loop {
        let mute = mute_at("[::1]:0")?;
        let beside = SocketAddr::new("127.0.0.1".parse().unwrap(), mute.address.port());
        if TcpListener::bind(beside).is_ok() {
            return Ok((mute, beside));
        }
    }
}

// P6.11, C7: happy eyeballs, with an IPv6 that drops everything
#[test]
fn ipv4_is_tried_beside_an_ipv6_that_is_dropped() {
    let (mute, beside) = match mute_beside_free() {
        Ok(found) => found,
        Err(error) => return println!("skipped: no IPv6 on the loopback: {error}"),
    };
    let port = mute.address.port();
    // Without the IPv4 address, the connect times out.
    let alone = failure(|handle, protocol| {
        named(&["::1"], port).timeout(Duration::from_millis(400)).connect(handle, protocol)
    });
    assert!(alone.is::<ConnectTimedOut>(), "{alone:?}");
    for addresses in [&["::1", "127.0.0.1"][..], &["::1", "::1", "::1", "127.0.0.1"]] {
        let (peer, waited) = run(|reactor| {
            let listening = twistor_net::ServerEndpoint::tcp(beside).listen(reactor, |_| Echo).unwrap();
            let (handle, start) = (Handle::clone(reactor), reactor.now());
            named(addresses, port).timeout(DEADLINE).connect(reactor, Echo).add_callback(move |transport| {
                drop(listening.stop_listening());
                Ok((transport.peer().unwrap(), handle.now() - start))
            })
        });
        assert_eq!(peer.ip(), Some(beside));
        // IPv6 was tried first, for its delay.
        assert!(waited >= Duration::from_millis(250), "{waited:?}");
    }
}

// P6.11, P9: the same in simulated time, where the delay is exact
#[test]
fn a_dropped_ipv6_costs_a_quarter_of_a_second() {
    let waits = with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let (dropped, working) = ("2001:db8::80".parse().unwrap(), "192.0.2.80".parse().unwrap());
        network.add_name("server.test", [dropped, working]);
        network.isolate(dropped);
        for address in [dropped, working] {
            let endpoint = twistor_net::ServerEndpoint::tcp(SocketAddr::new(address, 80));
            endpoint.listen(reactor, |_| Echo).unwrap();
        }
        let (handle, start) = (Handle::clone(reactor), reactor.now());
        let connecting = ClientEndpoint::tcp("server.test", 80).connect(reactor, Echo);
        connecting.add_callback(move |transport| {
            assert_eq!(transport.peer().unwrap().to_string(), "192.0.2.80:80");
            Ok(handle.now() - start)
        })
    });
    let expected = Duration::from_millis(250)..Duration::from_millis(350);
    assert!(waits.iter().all(|waited| expected.contains(waited)), "{waits:?}");
}

// P6.2
#[test]
fn the_most_telling_failure_of_all_addresses_is_returned() {
    let port = closed_port();
    let refused = failure(|handle, protocol| {
        named(&["127.0.0.3", "127.0.0.2", "127.0.0.1"], port).connect(handle, protocol)
    });
    assert!(refused.is::<ConnectRefused>(), "{refused:?}");
}

// P6.2
#[test]
fn when_all_addresses_fail_the_error_lists_them() {
    let port = closed_port();
    let bound = |addresses: &[&str]| {
        let endpoint = named(addresses, port).bind_address("127.0.0.1".parse().unwrap());
        failure(|handle, protocol| endpoint.connect(handle, protocol))
    };
    let refused = bound(&["::1", "127.0.0.2", "127.0.0.3"]);
    let told = refused.to_string();
    assert!(
        told.starts_with(&format!("connection to 127.0.0.2:{port} refused (also tried [::1]:{port}: ")),
        "{told}"
    );
    assert!(told.ends_with(&format!(", 127.0.0.3:{port}: refused)")), "{told}");
    let refused = refused.trap::<ConnectRefused>().unwrap();
    let others: Vec<_> = refused.others.iter().map(|other| other.address.to_string()).collect();
    assert_eq!(others, [format!("[::1]:{port}"), format!("127.0.0.3:{port}")]);
    // A single address has no others.
    assert_eq!(bound(&["127.0.0.2"]).to_string(), format!("connection to 127.0.0.2:{port} refused"));
}

// P6.1
#[test]
fn thousands_of_addresses_that_fail_at_once_are_tried() {
    const ADDRESSES: u32 = 10_000;
    // An IPv6 address cannot be the source for these.
    let hosts = (1..=ADDRESSES).map(|host| std::net::Ipv4Addr::from(0x7f00_0000 + host).into()).collect();
    let endpoint = ClientEndpoint::tcp("some.name", 9)
        .resolver(Rc::new(Names(hosts)))
        .bind_address("::1".parse().unwrap());
    let failed = failure(|handle, protocol| {
        let connecting = endpoint.connect(handle, protocol);
        // At most a turn's share fails in each turn.
        assert!(!connecting.is_fired());
        connecting
    });
    assert!(failed.to_string().ends_with(" and 9991 more)"), "{failed}");
    let failed = failed.trap::<ConnectFailed>().unwrap();
    assert_eq!(failed.others.len(), ADDRESSES as usize - 1);
}

// P6.4
#[test]
fn a_resolver_may_name_the_port() {
    #[derive(Debug)]
    struct Elsewhere(SocketAddr);
    impl Resolver for Elsewhere {
        fn resolve(&self, _: &Handle, _: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
            assert_eq!(port, 7);
            succeed(vec![self.0])
        }
    }
    run(|reactor| {
        let place = address(&listen(reactor, |_| Echo));
        let endpoint = ClientEndpoint::tcp("some.name", 7).resolver(Rc::new(Elsewhere(place)));
        let connecting = endpoint.connect(reactor, Echo);
        connecting.add_callback(move |transport| assert_eq!(transport.peer().unwrap().ip(), Some(place)))
    });
}

// P6.4
#[test]
#[cfg(target_os = "linux")]
fn the_scope_of_a_resolved_address_is_kept() {
    #[derive(Debug)]
    struct Scoped(SocketAddr);
    impl Resolver for Scoped {
        fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            succeed(vec![self.0])
        }
    }
    let Some((ip, _, number)) = link_local() else { return };
    run(|reactor| {
        let server = std::net::SocketAddrV6::new(ip, 0, 0, number);
        let port = ServerEndpoint::tcp(server.into()).listen(reactor, |_| Echo).unwrap();
        let place = SocketAddr::from(std::net::SocketAddrV6::new(ip, address(&port).port(), 0, number));
        let connecting =
            ClientEndpoint::tcp("some.name", 1).resolver(Rc::new(Scoped(place))).connect(reactor, Echo);
        connecting.add_callback(move |transport| assert_eq!(transport.peer().unwrap().ip(), Some(place)))
    });
}

// P6
#[test]
fn localhost_is_looked_up_on_a_thread() {
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        ClientEndpoint::tcp("localhost", address(&port).port()).connect(reactor, Echo)
    });
}

// P6: no event reports that a UNIX socket's queue has room again
#[cfg(unix)]
#[test]
fn a_full_queue_of_a_unix_socket_is_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};

    let folder = support::folder::Folder::new("queue");
    let path = folder.join("socket");
    let address = SockAddr::unix(&path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.connect(&address).is_err() {
            break;
        }
        waiting.push(socket);
    }
    let before = waiting.len();
    assert!(before > 0);
    run(|reactor| {
        let connecting = ClientEndpoint::unix(&path).connect(reactor, Echo);
        assert!(!connecting.is_fired());
        reactor.call_later(Duration::from_millis(15), move || {
            for _ in 0..before {
                drop(listener.accept().unwrap());
            }
            std::mem::forget(listener);
        });
        connecting
    });
}
