//! UDP. P15.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use support::*;
use twistor_deferred::{Deferred, Trigger, succeed};
use twistor_net::{
    ConnectionDone, ConnectionLost, DatagramProtocol, DatagramTransport, Failure, SimulatedNetwork,
    UdpEndpoint,
};
use twistor_reactor::Handle;

/// A waiter for a number of entries.
type Waiting = (usize, Trigger<()>);

/// Writes a diary, and behaves as scripted.
#[derive(Clone, Default)]
struct Log {
    entries: Rc<RefCell<Vec<String>>>,
    sizes: Rc<RefCell<Vec<usize>>>,
    reason: Rc<RefCell<Option<Failure>>>,
    waiting: Rc<RefCell<Option<Waiting>>>,
}

impl Log {
    fn write(&self, entry: impl Into<String>) {
        self.entries.borrow_mut().push(entry.into());
        let count = self.entries.borrow().len();
        let ripe = self.waiting.borrow_mut().take_if(|(wanted, _)| *wanted <= count);
        if let Some((_, trigger)) = ripe {
            trigger.callback(());
        }
    }

    /// Fires when there are this many entries.
    fn when(&self, entries: usize) -> Deferred<()> {
        if self.entries.borrow().len() >= entries {
            return succeed(());
        }
        let (deferred, trigger) = Deferred::new();
        self.waiting.replace(Some((entries, trigger)));
        deferred
    }
}

impl DatagramProtocol for Log {
    fn started(&mut self, _: &DatagramTransport) -> Result<(), Failure> {
        self.write("started");
        Ok(())
    }

    fn datagram_received(
        &mut self,
        transport: &DatagramTransport,
        data: &[u8],
        from: SocketAddr,
    ) -> Result<(), Failure> {
        self.sizes.borrow_mut().push(data.len());
        self.write(String::from_utf8_lossy(&data[..data.len().min(20)]));
        match data {
            b"panic" => panic!("on purpose"),
            b"error" => Err(std::io::Error::other("on purpose").into()),
            b"echo" => Ok(transport.send_to(b"echo", from)?),
            _ => Ok(()),
        }
    }

    fn connection_refused(&mut self, _: &DatagramTransport) -> Result<(), Failure> {
        self.write("refused");
        Ok(())
    }

    fn stopped(&mut self, reason: Failure) {
        self.write("stopped");
        self.reason.replace(Some(reason));
    }
}

fn open(handle: &Handle, log: &Log) -> DatagramTransport {
    UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).listen(handle, log.clone()).unwrap()
}

fn blocking_peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    peer
}

// P15.2, P15.5
#[test]
fn datagrams_arrive_whole_in_order_and_stop_once() {
    let log = Log::default();
    run(|reactor| {
        let transport = open(reactor, &log);
        let (peer, at) = (blocking_peer(), transport.address());
        for datagram in [&b"one"[..], b"", b"two"] {
            peer.send_to(datagram, at).unwrap();
        }
        log.when(4).add_callback(move |()| {
            let first = transport.stop_listening();
            assert!(!first.is_fired(), "stopped inside a call");
            let second = transport.stop_listening();
            first.add_callback(move |()| second).add_callback(move |()| {
                assert!(transport.stop_listening().is_fired());
                assert!(transport.send_to(b"x", at).is_err());
            })
        })
    });
    assert_eq!(*log.entries.borrow(), ["started", "one", "", "two", "stopped"]);
    assert!(log.reason.take().unwrap().is::<ConnectionDone>());
}

// P15.2, B12
#[test]
fn the_largest_datagram_is_sent_and_received() {
    struct Echo;
    impl DatagramProtocol for Echo {
        fn datagram_received(
            &mut self,
            transport: &DatagramTransport,
            data: &[u8],
            from: SocketAddr,
        ) -> Result<(), Failure> {
            Ok(transport.send_to(data, from)?)
        }
    }
    let count = run(|reactor| {
        let transport = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).listen(reactor, Echo).unwrap();
        let (peer, at) = (blocking_peer(), transport.address());
        reactor.defer_to_thread(move || {
            peer.send_to(&[b'x'; 65_507], at)?;
            Ok(peer.recv_from(&mut [0; 70_000])?.0)
        })
    });
    assert_eq!(count, 65_507);
}

// P15.3
#[test]
fn errors_and_panics_leave_the_port_open() {
    let log = Log::default();
    run(|reactor| {
        let transport = open(reactor, &log);
        let (peer, at) = (blocking_peer(), transport.address());
        reactor.defer_to_thread(move || {
            for datagram in [&b"panic"[..], b"error", b"echo"] {
                peer.send_to(datagram, at)?;
            }
            Ok(peer.recv_from(&mut [0; 10])?)
        })
    });
    assert_eq!(log.entries.borrow()[..4], ["started", "panic", "error", "echo"]);
    assert!(log.reason.take().unwrap().is::<ConnectionLost>());
}

// P15.4, B12
#[test]
fn a_connected_port_survives_a_refusal() {
    let log = Log::default();
    run(|reactor| {
        let peer = blocking_peer();
        let at = peer.local_addr().unwrap();
        let endpoint = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).peer(at);
        let transport = endpoint.listen(reactor, log.clone()).unwrap();
        drop(peer);
        transport.send(b"is anybody there?").unwrap();
        // The refusal of the first datagram has arrived. It is not an error of this one.
        transport.send(b"and now?").unwrap();
        let seen = log.clone();
        log.when(2).add_callback(move |()| {
            let peer = UdpSocket::bind(at).unwrap();
            peer.send_to(b"now", transport.address()).unwrap();
            // A datagram of a stranger is not received.
            blocking_peer().send_to(b"stranger", transport.address()).unwrap();
            let wanted = seen.entries.borrow().len() + 1;
            seen.when(wanted).add_callback(move |()| transport.stop_listening())
        })
    });
    let entries = log.entries.borrow();
    assert_eq!(entries[..2], ["started", "refused"]);
    assert!(entries.contains(&"now".to_owned()) && !entries.contains(&"stranger".to_owned()));
}

// P15.4: a refusal found while sending is reported like one found while receiving. The peer is back before
// anything is received
#[cfg(target_os = "linux")]
#[test]
fn a_refusal_found_by_sending_is_reported() {
    let log = Log::default();
    let heard = run(|reactor| {
        let peer = blocking_peer();
        let at = peer.local_addr().unwrap();
        let endpoint = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).peer(at);
        let transport = endpoint.listen(reactor, log.clone()).unwrap();
        drop(peer);
        log.when(1).add_callback({
            let log = log.clone();
            move |()| {
                transport.send(b"to nobody").unwrap();
                let peer = UdpSocket::bind(at).unwrap();
                peer.set_read_timeout(Some(DEADLINE)).unwrap();
                transport.send(b"to you").unwrap();
                log.when(2).add_callback(move |()| {
                    let mut heard = [0; 20];
                    let count = peer.recv(&mut heard)?;
                    Ok(heard[..count].to_vec())
                })
            }
        })
    });
    assert_eq!(heard, b"to you");
    assert_eq!(log.entries.borrow()[..2], ["started", "refused"]);
}

// P15.5: including datagrams that have already arrived
#[test]
fn only_the_stop_is_reported_after_stop_listening() {
    struct StopsAtFirst(Log);
    impl DatagramProtocol for StopsAtFirst {
        fn datagram_received(
            &mut self,
            transport: &DatagramTransport,
            data: &[u8],
            from: SocketAddr,
        ) -> Result<(), Failure> {
            drop(transport.stop_listening());
            self.0.datagram_received(transport, data, from)
        }

        fn connection_refused(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
            self.0.connection_refused(transport)
        }

        fn stopped(&mut self, reason: Failure) {
            self.0.stopped(reason);
        }
    }
    let (log, refused) = (Log::default(), Log::default());
    run(|reactor| {
        let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let transport = UdpEndpoint::new(nowhere).listen(reactor, StopsAtFirst(log.clone())).unwrap();
        let peer = blocking_peer();
        for datagram in [b"one", b"two"] {
            peer.send_to(datagram, transport.address()).unwrap();
        }
        let endpoint = UdpEndpoint::new(nowhere).peer(peer.local_addr().unwrap());
        let connected = endpoint.listen(reactor, StopsAtFirst(refused.clone())).unwrap();
        drop(peer);
        for datagram in [b"one", b"two"] {
            connected.send(datagram).unwrap(); // the second finds the first refused
        }
        let stopped = connected.stop_listening();
        log.when(2).add_callback(move |()| stopped)
    });
    assert_eq!(*log.entries.borrow(), ["one", "stopped"]);
    assert_eq!(*refused.entries.borrow(), ["stopped"]);
}

// P15.2: a flood
#[test]
fn a_burst_takes_several_turns() {
    let most = Rc::new(Cell::new(0));
    struct Count {
        handle: Handle,
        turn: u64,
        in_turn: usize,
        most: Rc<Cell<usize>>,
        left: usize,
        done: Option<Trigger<()>>,
    }
    impl DatagramProtocol for Count {
        fn datagram_received(
            &mut self,
            _: &DatagramTransport,
            _: &[u8],
            _: SocketAddr,
        ) -> Result<(), Failure> {
            let now = self.handle.stats().turns;
            if self.turn != now {
                (self.turn, self.in_turn) = (now, 0);
            }
            self.in_turn += 1;
            self.most.set(self.most.get().max(self.in_turn));
            self.left -= 1;
            if self.left == 0 {
                self.done.take().unwrap().callback(());
            }
            Ok(())
        }
    }
    run(|reactor| {
        let (deferred, trigger) = Deferred::new();
        let count = Count {
            handle: (**reactor).clone(),
            turn: 0,
            in_turn: 0,
            most: most.clone(),
            left: 100,
            done: Some(trigger),
        };
        let transport = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).listen(reactor, count).unwrap();
        let peer = blocking_peer();
        for _ in 0..100 {
            peer.send_to(b"x", transport.address()).unwrap();
        }
        deferred
    });
    assert_eq!(most.get(), 32);
}

// P15
#[test]
fn an_address_in_use_is_an_error() {
    let peer = blocking_peer();
    run(|reactor| {
        let endpoint = UdpEndpoint::new(peer.local_addr().unwrap());
        let error = endpoint.listen(reactor, Log::default()).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
        succeed(())
    });
}

// P15: on the loopback interface, which has a broadcast address on Linux only
#[cfg(target_os = "linux")]
#[test]
fn broadcasts_need_permission() {
    let log = Log::default();
    run(|reactor| {
        let all = UdpEndpoint::new("0.0.0.0:0".parse().unwrap()).listen(reactor, log.clone()).unwrap();
        let to = SocketAddr::from(([127, 255, 255, 255], all.address().port()));
        let shy = open(reactor, &Log::default());
        assert_eq!(shy.send_to(b"psst", to).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        let loud = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).broadcast(true);
        loud.listen(reactor, Log::default()).unwrap().send_to(b"to all", to).unwrap();
        log.when(2)
    });
    assert_eq!(log.entries.borrow()[..2], ["started", "to all"]);
}

// P15
#[cfg(unix)]
#[test]
fn two_sockets_share_a_port_with_reuse_port() {
    run(|reactor| {
        let endpoint = UdpEndpoint::new("127.0.0.1:0".parse().unwrap()).reuse_port(true);
        let first = endpoint.listen(reactor, Log::default()).unwrap();
        let same = UdpEndpoint::new(first.address());
        assert!(same.listen(reactor, Log::default()).is_err());
        let second = same.reuse_port(true).listen(reactor, Log::default()).unwrap();
        assert_eq!(first.address(), second.address());
        succeed(())
    });
}

// P15
#[test]
fn a_multicast_group_is_joined_received_and_left() {
    let log = Log::default();
    run(|reactor| {
        let group: std::net::IpAddr = "239.7.7.7".parse().unwrap();
        let port = UdpEndpoint::new("0.0.0.0:0".parse().unwrap()).listen(reactor, log.clone()).unwrap();
        let joined = port.join_group(group).and_then(|()| port.set_multicast_loop(true));
        let to = SocketAddr::new(group, port.address().port());
        if let Err(error) = joined.and_then(|()| port.send_to(b"to the group", to)) {
            println!("skipped: no route to a multicast group: {error}");
            return succeed(());
        }
        assert_eq!(port.join_group(group).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        let heard = log.clone();
        log.when(2).add_callback(move |()| {
            assert_eq!(heard.entries.borrow()[1], "to the group");
            port.leave_group(group).unwrap();
            assert!(port.leave_group(group).is_err());
        })
    });
}

// P17.3
#[cfg(target_os = "linux")]
#[test]
fn multicast_options_reach_the_socket() {
    use socket2::SockRef;
    run(|reactor| {
        let udp =
            |place: &str| UdpEndpoint::new(place.parse().unwrap()).listen(reactor, Log::default()).unwrap();
        let port = udp("0.0.0.0:0");
        let fd = port.try_clone_fd().unwrap();
        port.set_multicast_ttl(3).unwrap();
        assert_eq!(SockRef::from(&fd).multicast_ttl_v4().unwrap(), 3);
        port.set_multicast_ttl(u32::MAX).unwrap();
        assert_eq!(SockRef::from(&fd).multicast_ttl_v4().unwrap(), 255);
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        port.set_multicast_interface(loopback).unwrap();
        assert_eq!(SockRef::from(&fd).multicast_if_v4().unwrap(), loopback);
        assert_eq!(port.set_multicast_interface(1).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        let group = "239.255.0.9".parse().unwrap();
        port.join_group_on(group, loopback).unwrap();
        assert!(port.join_group_on(group, 1).is_err(), "joined already, on the same interface");
        port.leave_group_on(group, 1).unwrap();

        let only = UdpEndpoint::new("[::]:0".parse().unwrap()).only_v6(true);
        let Ok(port) = only.listen(reactor, Log::default()) else {
            println!("skipped: no IPv6 here");
            return succeed(());
        };
        let fd = port.try_clone_fd().unwrap();
        assert!(SockRef::from(&fd).only_v6().unwrap());
        port.set_multicast_ttl(3).unwrap();
        assert_eq!(SockRef::from(&fd).multicast_hops_v6().unwrap(), 3);
        port.set_multicast_interface(1).unwrap();
        assert_eq!(SockRef::from(&fd).multicast_if_v6().unwrap(), 1);
        let group = "ff02::9999".parse().unwrap();
        port.join_group_on(group, 1).unwrap();
        port.leave_group_on(group, 1).unwrap();
        let wrong = port.join_group_on(group, loopback).unwrap_err();
        assert_eq!(wrong.kind(), std::io::ErrorKind::InvalidInput);
        succeed(())
    });
}

// P17.3
#[cfg(target_os = "linux")]
#[test]
fn a_group_is_received_on_the_joined_interface() {
    let log = Log::default();
    run(|reactor| {
        let group = "239.255.0.10".parse().unwrap();
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        let port = open_at(reactor, "0.0.0.0:0", &log);
        port.join_group_on(group, loopback).unwrap();
        let sender = open_at(reactor, "127.0.0.1:0", &Log::default());
        sender.set_multicast_interface(loopback).unwrap();
        sender.send_to(b"hello", SocketAddr::new(group, port.address().port())).unwrap();
        log.when(2)
    });
    assert_eq!(log.entries.borrow()[..2], ["started", "hello"]);
}

#[cfg(target_os = "linux")]
fn open_at(handle: &Handle, place: &str, log: &Log) -> DatagramTransport {
    UdpEndpoint::new(place.parse().unwrap()).listen(handle, log.clone()).unwrap()
}

// P15.1
#[test]
fn a_datagram_without_memory_would_block() {
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let log = Log::default();
        let at = "192.0.2.1:7".parse().unwrap();
        let transport = UdpEndpoint::new(at).listen(reactor, log.clone()).unwrap();
        network.set_send_failures(1.0);
        assert_eq!(transport.send_to(b"x", at).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        network.set_send_failures(0.0);
        transport.send_to(b"x", at).unwrap();
        log.when(2)
    });
}
