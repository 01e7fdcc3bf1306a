//! The largest value of every setting, in every crate, means that there is no limit. P18.

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

// P18.1
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

/// Runs the reactor until the result has fired.
fn turns(reactor: &Reactor) {
    let handle = Handle::clone(reactor);
    reactor.call_later(Duration::from_millis(1), move || handle.stop());
    reactor.run().unwrap();
}

// P18.1
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
    // In steps, because no clock can hold them all.
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

// P18.1
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
    // Turned by a host program.
    let handle = Handle::clone(&reactor);
    reactor.call_later(Duration::from_millis(1), move || handle.stop());
    while reactor.turn(Some(FOREVER)).unwrap() {}
    let reactor = Reactor::new().unwrap();
    let handle = Handle::clone(&reactor);
    reactor.call_later(Duration::ZERO, move || handle.stop());
    while reactor.turns(FOREVER).unwrap() {}
}

// P18.1
#[test]
fn framings() {
    fn frames<F: Framing>(framing: F, wire: &[u8]) -> Result<Vec<u8>, FrameError> {
        // As a whole, and one byte at a time.
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
    // No input has a frame of these lengths.
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

/// Sends a line from one end to the other and back on this network, with every setting at its largest value.
fn send_a_line(world: World<'_>) {
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

// P18.1, P9
#[test]
fn connections() {
    on_every_network(send_a_line);
}

// P18.1
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

// P18.1
#[test]
fn an_infinite_latency_lets_nothing_arrive() {
    let reactor = Reactor::simulated(1);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    for least in [Duration::ZERO, FOREVER] {
        network.set_latency(least, FOREVER);
        let connecting =
            ClientEndpoint::tcp("localhost", 1).timeout(Duration::from_secs(1)).connect(&reactor, Echo);
        assert!(reactor.run_until(connecting).is_err());
    }
}

// P18.1
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

// P18.1
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
