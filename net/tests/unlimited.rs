//! The largest value of every setting, in every crate, means that there is no limit. Statement P18.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::{Deferred, DeferredQueue, DeferredSemaphore, Failure, succeed, with_budget};
use twistor_net::framing::{FrameBuffer, FrameError, Framing, Lines, Netstrings, Prefixed};
use twistor_net::{
    Backoff, ClientEndpoint, IdleTimeout, IdleTimer, Limited, RateLimit, Reconnecting, ServerEndpoint,
    SimulatedNetwork, UdpEndpoint,
};
use twistor_reactor::{AddTimeout, Clock, Cooperator, Handle, LoopingCall, ManualClock, Reactor};

const FOREVER: Duration = Duration::MAX;

// P18
#[test]
fn deferreds() {
    let semaphore = DeferredSemaphore::new(usize::MAX).unwrap();
    let permit = semaphore.acquire();
    assert!(permit.is_fired());
    drop(permit);
    let queue = DeferredQueue::new().size(usize::MAX).backlog(usize::MAX);
    let waiting = queue.get();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(waiting.try_result().unwrap().unwrap(), 1);
    assert_eq!(with_budget(u32::MAX, || 3), 3);
}

/// Runs what a reactor is given, until it is over.
fn turns(reactor: &Reactor) {
    let handle = Handle::clone(reactor);
    reactor.call_later(Duration::from_millis(1), move || handle.stop());
    reactor.run().unwrap();
}

// P18
#[test]
fn timers() {
    for reactor in [Reactor::new().unwrap(), Reactor::simulated(1)] {
        let call = reactor.call_later(FOREVER, || panic!("it came"));
        let moved = reactor.call_later(Duration::from_secs(1), || panic!("it came"));
        moved.delay(FOREVER).unwrap();
        moved.delay(FOREVER).unwrap();
        let again = reactor.call_later(Duration::from_secs(1), || panic!("it came"));
        again.reset(FOREVER).unwrap();
        let ticks = Rc::new(Cell::new(0));
        let counted = ticks.clone();
        let looping = LoopingCall::new(&reactor, move || counted.set(counted.get() + 1));
        drop(looping.start(FOREVER).add_errback(|_| Ok(())));
        let later = LoopingCall::new(&reactor, || -> () { panic!("it came") });
        drop(later.start_later(FOREVER).add_errback(|_| Ok(())));
        let (never, trigger) = Deferred::<()>::new();
        let limited = never.add_timeout(FOREVER, &*reactor);
        trigger.callback(());
        assert!(limited.is_fired());
        let sleeping = reactor.sleep(FOREVER);
        let task = reactor.spawn(async move {
            let _ = sleeping.await;
            Ok::<(), Failure>(())
        });
        drop(task.add_errback(|_| Ok(())));
        assert!(reactor.next_deadline().is_some());
        turns(&reactor);
        assert_eq!(ticks.get(), 1);
        assert!(!call.active());
    }
    // In steps, since no clock holds them all.
    let clock = ManualClock::new();
    let called = Rc::new(Cell::new(0));
    for delay in [Duration::from_secs(1), FOREVER] {
        let count = called.clone();
        clock.call_later(delay, move || count.set(count.get() + 1));
    }
    clock.advance(FOREVER);
    clock.advance(FOREVER);
    assert!(called.get() >= 1);
}

// P18
#[test]
fn reactors() {
    let reactor = Reactor::builder().threads(usize::MAX).slow_callback(FOREVER).build().unwrap();
    let worked = reactor.defer_to_thread(|| Ok(7));
    assert_eq!(reactor.run_until(worked).unwrap(), 7);
    let cooperator = Cooperator::with_slice(&*reactor, FOREVER, usize::MAX);
    let mut left = 10;
    let task = cooperator.cooperate(std::iter::from_fn(move || {
        left -= 1;
        (left > 0).then(|| succeed(()))
    }));
    reactor.run_until(task.when_done()).unwrap();
    // Turned by a host.
    let handle = Handle::clone(&reactor);
    reactor.call_later(Duration::from_millis(1), move || handle.stop());
    while reactor.turn(Some(FOREVER)).unwrap() {}
    let reactor = Reactor::new().unwrap();
    let handle = Handle::clone(&reactor);
    reactor.call_later(Duration::ZERO, move || handle.stop());
    while reactor.turns(FOREVER).unwrap() {}
}

// P18
#[test]
fn framings() {
    fn frames<F: Framing>(framing: F, wire: &[u8]) -> Result<Vec<u8>, FrameError> {
        // Whole, and one byte at a time.
        let (mut whole, mut slow) = (FrameBuffer::new(framing), Vec::new());
        for byte in wire {
            whole.feed(&[*byte]);
            if let Some(frame) = whole.next_frame()? {
                slow.extend_from_slice(frame);
            }
        }
        Ok(slow)
    }
    assert_eq!(frames(Lines::new().max_length(usize::MAX), b"one\r\ntwo\r\n").unwrap(), b"onetwo");
    let netstrings = || Netstrings::new().max_length(usize::MAX);
    assert_eq!(frames(netstrings(), b"5:hello,").unwrap(), b"hello");
    // No input holds these.
    let longest = usize::MAX.to_string();
    for length in [longest.clone(), (usize::MAX - 1).to_string(), (usize::MAX - longest.len()).to_string()] {
        assert_eq!(frames(netstrings(), format!("{length}:x,").as_bytes()).unwrap(), b"", "{length}");
    }
    assert!(frames(netstrings(), format!("{longest}0:").as_bytes()).is_err());
    for framing in [Prefixed::int8(), Prefixed::int16(), Prefixed::int32()] {
        let framing = framing.max_length(usize::MAX);
        let mut wire = Vec::new();
        framing.encode(b"hello", &mut wire).unwrap();
        assert_eq!(frames(framing.clone(), &wire).unwrap(), b"hello");
        assert_eq!(frames(framing, &[0xff; 9]).unwrap(), b"");
    }
}

/// Sends a line from one end to the other and back, with everything set to the most, on this network.
fn connections(world: World) {
    world.run(|reactor| {
        if let Some(network) = SimulatedNetwork::of(reactor) {
            network.set_window(usize::MAX, usize::MAX);
            network.set_descriptor_limit(Some(usize::MAX));
        }
        let (handle, limit) = (Handle::clone(reactor), RateLimit::new(reactor, u64::MAX));
        let (clock, shared) = (handle.clone(), limit.clone());
        let server = move |_| {
            let (clock, shared) = (clock.clone(), shared.clone());
            scripted(&Diary::new())
                .on_made(move |transport| {
                    transport.set_high_water_mark(usize::MAX);
                    transport.limit_reading(&shared);
                    transport.limit_writing(&shared);
                    let timer = IdleTimer::new(&clock, transport, FOREVER);
                    timer.reset();
                    timer.set_limit(FOREVER);
                    std::mem::forget(timer);
                    Ok(())
                })
                .on_data(|transport, data| {
                    transport.write(data);
                    assert!(!transport.is_full());
                    Ok(())
                })
        };
        let (timed, server) = (Handle::clone(reactor), server);
        let factory = Limited::new(move |peer| IdleTimeout::new(&timed, FOREVER, server(peer)));
        let place: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let port = ServerEndpoint::tcp(place)
            .backlog(u32::MAX)
            .listen(reactor, factory.total(usize::MAX).per_peer(usize::MAX))
            .unwrap();
        let endpoint = ClientEndpoint::tcp("localhost", address(&port).port()).timeout(FOREVER);
        let (longest, again) =
            (Backoff { initial: FOREVER, longest: FOREVER, ..Backoff::default() }, endpoint.clone());
        reactor.spawn(async move {
            let peer = endpoint.converse(&handle).await?;
            peer.write(b"line\r\nthe rest");
            assert_eq!(peer.read_line(usize::MAX).await?, b"line");
            assert_eq!(peer.read_exact(8).await?, b"the rest");
            let all = peer.read_exact(usize::MAX);
            peer.transport().lose_write_connection();
            assert!(all.await.is_err());
            let peer = endpoint.converse(&handle).await?;
            peer.write(b"all of it");
            peer.transport().lose_write_connection();
            assert_eq!(peer.read_to_end(usize::MAX).await?, b"all of it");
            let service = Reconnecting::new(&handle, again, || Echo).backoff(longest).stop_grace(FOREVER);
            service.start();
            service.when_connected_within(u32::MAX).await?;
            service.stop().await?;
            Ok::<(), Failure>(())
        })
    });
}

// P18
#[test]
fn connections_of_the_system() {
    connections(World::Real);
}

// P18, P9
#[test]
fn connections_of_the_simulation() {
    for seed in seeds() {
        connections(World::Simulated(seed));
    }
}

// P18
#[test]
fn waits_before_connecting_again() {
    for (initial, longest, factor, jitter) in [
        (FOREVER, FOREVER, 1.5, 0.25),
        (Duration::ZERO, FOREVER, f64::MAX, 0.0),
        (Duration::from_secs(1), FOREVER, f64::INFINITY, 0.0),
        (Duration::from_secs(1), FOREVER, 1.5, f64::MAX),
        (Duration::from_secs(1), FOREVER, f64::NAN, f64::NAN),
    ] {
        let backoff = Backoff { initial, longest, factor, jitter };
        for failures in [0, 1, 2, u32::MAX] {
            for chance in [0.0, 0.5, 1.0] {
                assert!(backoff.delay(failures, chance) <= longest, "{backoff:?}");
            }
        }
    }
}

// P18
#[test]
fn a_latency_without_end_lets_nothing_arrive() {
    let reactor = Reactor::simulated(1);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    for least in [Duration::ZERO, FOREVER] {
        network.set_latency(least, FOREVER);
        let connecting =
            ClientEndpoint::tcp("localhost", 1).timeout(Duration::from_secs(1)).connect(&reactor, Echo);
        assert!(reactor.run_until(connecting).is_err());
    }
}

// P18
#[test]
fn datagrams() {
    struct Deaf;
    impl twistor_net::DatagramProtocol for Deaf {
        fn datagram_received(
            &mut self,
            _: &twistor_net::DatagramTransport,
            _: &[u8],
            _: SocketAddr,
        ) -> Result<(), Failure> {
            Ok(())
        }
    }
    let reactor = Reactor::new().unwrap();
    let port = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).listen(&reactor, Deaf).unwrap();
    port.set_receive_buffer(usize::MAX).unwrap();
    port.set_multicast_ttl(u32::MAX).unwrap();
}

#[cfg(feature = "tls")]
mod tls_support;

// P18
#[cfg(feature = "tls")]
#[test]
fn tls() {
    let authority = tls_support::Authority::new();
    run(|reactor| {
        let server = authority.signs("localhost").server().handshake_timeout(FOREVER);
        let place = "127.0.0.1:0".parse().unwrap();
        let port = ServerEndpoint::tls(place, server).listen(reactor, |_| Echo).unwrap();
        let client =
            ClientEndpoint::tls("localhost", address(&port).port(), authority.client()).timeout(FOREVER);
        client.connect(reactor, Echo).add_callback(|_| ())
    });
}

#[cfg(feature = "http")]
mod http_support;

#[cfg(feature = "http")]
mod http {
    use ::http::Method;
    use twistor_net::http::server::{Settings, Site, Timeouts};
    use twistor_net::http::{Agent, Limits, Request};

    use super::*;
    use crate::http_support::{requests, response};

    const UNLIMITED: Limits = Limits {
        head_size: usize::MAX,
        header_count: usize::MAX,
        target_size: usize::MAX,
        body_size: u64::MAX,
        chunk_line_size: usize::MAX,
        trailers_size: usize::MAX,
        interim_count: usize::MAX,
    };

    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nHello\r\n0\r\nA: b\r\nC: d\r\n\r\n";

    // P18
    #[test]
    fn messages() {
        let many: String = (0..120).map(|field| format!("F{field}: x\r\n")).collect();
        let told = requests(&UNLIMITED, format!("POST / HTTP/1.1\r\nHost: h\r\n{CHUNKED}").as_bytes());
        assert_eq!((told.body.as_slice(), told.ends, told.error), (&b"Hello"[..], 1, None));
        let told = requests(&UNLIMITED, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n").as_bytes());
        assert_eq!((told.ends, told.error), (1, None));
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(30);
        let told =
            response(&Method::GET, &UNLIMITED, format!("{interim}HTTP/1.1 200 OK\r\n{CHUNKED}").as_bytes());
        assert_eq!((told.interim, told.body.as_slice(), told.error), (30, &b"Hello"[..], None));
        let told =
            response(&Method::GET, &UNLIMITED, format!("HTTP/1.1 200 OK\r\n{many}\r\nrest").as_bytes());
        assert_eq!((told.body.as_slice(), told.error), (&b"rest"[..], None));
        // Lengths that no body has.
        for length in [u64::MAX, u64::MAX - 1] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nrest");
            assert_eq!(response(&Method::GET, &UNLIMITED, head.as_bytes()).body, b"rest");
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\nrest");
            let told = response(&Method::GET, &UNLIMITED, head.as_bytes());
            assert!(told.body == b"rest" || told.error.is_some(), "{told:?}");
        }
    }

    // P18
    #[test]
    fn client_and_server() {
        for world in [World::Real, World::Simulated(1)] {
            world.run(|reactor| {
                let timeouts = Timeouts {
                    head: FOREVER,
                    body: FOREVER,
                    idle: FOREVER,
                    write: FOREVER,
                    half_closed: FOREVER,
                    linger: FOREVER,
                };
                let settings =
                    Settings { limits: UNLIMITED, timeouts, max_connections: usize::MAX, grace: FOREVER };
                let site = Site::with_settings(
                    reactor,
                    |_: &mut twistor_net::http::server::Request<'_>| "hello",
                    settings,
                );
                let port = site.listen(ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())).unwrap();
                let url = format!("http://127.0.0.1:{}/", address(&port).port());
                let agent = Agent::new(reactor)
                    .max_connections(usize::MAX)
                    .max_idle(usize::MAX)
                    .keep_idle(FOREVER)
                    .max_age(FOREVER);
                reactor.spawn(async move {
                    for body in [Vec::new(), vec![b'x'; 100_000]] {
                        let request = Request::post(&url)
                            .body(body)
                            .connect_timeout(FOREVER)
                            .timeout(FOREVER)
                            .idle_timeout(FOREVER)
                            .limits(UNLIMITED)
                            .max_body(u64::MAX)
                            .max_redirects(usize::MAX);
                        let page = agent.get_page(request).await?;
                        assert_eq!(page.body(), b"hello");
                    }
                    agent.close_idle();
                    site.stop().await?;
                    Ok::<(), Failure>(())
                })
            });
        }
    }

    // P18
    #[cfg(feature = "compression")]
    #[test]
    fn compressed_pages() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"hello").unwrap();
        let packed = gzip.finish().unwrap();
        let page = World::Simulated(1).run(|reactor| {
            let server = scripted(&Diary::new()).on_data(move |transport, _| {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                    packed.len()
                );
                transport.write_slices(&[head.as_bytes(), &packed]);
                Ok(())
            });
            let port = listen_once(reactor, server);
            let url = format!("http://127.0.0.1:{}/", address(&port).port());
            Agent::new(reactor).get_page(Request::get(url).max_body(u64::MAX))
        });
        assert_eq!(page.body(), b"hello");
    }
}
