//! Listeners: bursts of connections, failing factories, and stopping. P4 and P7.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::{
    Address, CannotListen, ClientEndpoint, Factory, ListeningPort, ServerEndpoint, SimulatedNetwork,
    Transport,
};

fn echoed(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

/// Checks that the peer's connection was closed without a byte.
fn closed(mut stream: TcpStream) -> std::io::Result<usize> {
    stream.read(&mut [0])
}

// P7.5, A3: more connections at once than one turn accepts
#[test]
fn a_burst_of_connections_is_accepted_over_several_turns() {
    let (made, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    run(|reactor| {
        let (count, seen, handle) = (made.clone(), most.clone(), (**reactor).clone());
        let (mut turn, mut in_turn) = (0, 0);
        let port = listen(reactor, move |_| {
            let now = handle.stats().turns;
            in_turn = if turn == now { in_turn + 1 } else { 1 };
            turn = now;
            seen.set(seen.get().max(in_turn));
            count.set(count.get() + 1);
            Echo
        });
        let address = address(&port);
        // All of them wait in the queue before the loop runs.
        let clients: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
        reactor.defer_to_thread(move || {
            for client in clients {
                client.set_read_timeout(Some(DEADLINE))?;
                echoed(client)?;
            }
            Ok(())
        })
    });
    assert_eq!((made.get(), most.get()), (300, 64), "connections in total, and the most in one turn");
}

struct Fickle(u32);

impl Factory for Fickle {
    type Protocol = Echo;

    fn build_protocol(&mut self, _: Address) -> Option<Echo> {
        self.0 += 1;
        match self.0 {
            1 => None,
            2 => panic!("on purpose"),
            _ => Some(Echo),
        }
    }
}

// P6.5
#[test]
fn the_peer_is_known_after_a_reset() {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let diary = Diary::new();
        run(|reactor| {
            let (told, trigger) = Deferred::new();
            let trigger = Cell::new(Some(trigger));
            let (at_factory, seen) = (Rc::new(Cell::new(None)), diary.clone());
            let factory = at_factory.clone();
            let place = ServerEndpoint::tcp(ip.parse().unwrap());
            let port = match place.listen(reactor, move |peer: Address| {
                factory.set(Some(peer));
                let trigger = trigger.take().unwrap();
                let mut trigger = Some(trigger);
                scripted(&seen).on_made(move |transport| {
                    trigger.take().unwrap().callback(transport.peer());
                    Ok(())
                })
            }) {
                Ok(port) => port,
                Err(error) => {
                    println!("skipped: {error}");
                    return twistor_deferred::succeed(());
                }
            };
            // The peer resets before it is accepted.
            let mut stream = TcpStream::connect(address(&port)).unwrap();
            stream.write_all(b"hello").unwrap();
            reset(stream);
            told.add_callback(move |peer| {
                assert!(peer.is_some());
                assert_eq!(peer, at_factory.take());
            })
        });
    }
}

// P6.5
#[test]
fn the_peer_is_known_after_a_reset_in_the_simulation() {
    with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let (told, trigger) = Deferred::new();
        let mut trigger = Some(trigger);
        let port = listen_once(
            reactor,
            scripted(&Diary::new()).on_made(move |transport| {
                let before = transport.peer().unwrap();
                network.reset_connections(before.ip().unwrap().ip());
                assert_eq!(transport.peer(), Some(before));
                trigger.take().unwrap().callback(());
                Ok(())
            }),
        );
        drop(ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, Echo));
        told
    });
}

// P4.5, A5
#[test]
fn a_failing_factory_closes_that_connection_only() {
    run(|reactor| {
        let port = listen(reactor, Fickle(0));
        let (handle, at) = ((**reactor).clone(), address(&port));
        let (second, third) = (handle.clone(), handle.clone());
        peer(&handle, at, closed)
            .add_callback(move |count| {
                assert_eq!(count, 0);
                peer(&second, at, closed)
            })
            .add_callback(move |count| {
                assert_eq!(count, 0);
                peer(&third, at, echoed)
            })
    });
}

// P7.6, A4
#[test]
fn a_listener_stopped_by_its_factory_accepts_no_more() {
    let made = Rc::new(Cell::new(0));
    run(|reactor| {
        let (count, kept) = (made.clone(), Rc::new(RefCell::new(None::<ListeningPort>)));
        let own = kept.clone();
        let port = listen(reactor, move |_| {
            count.set(count.get() + 1);
            drop(own.borrow().as_ref().unwrap().stop_listening());
            Echo
        });
        let clients: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address(&port)).unwrap()).collect();
        kept.replace(Some(port.clone()));
        reactor.defer_to_thread(move || {
            let mut clients = clients.into_iter();
            let first = clients.next().unwrap();
            first.set_read_timeout(Some(DEADLINE))?;
            echoed(first)?;
            for client in clients {
                client.set_read_timeout(Some(DEADLINE))?;
                // Closed or reset, together with the listener.
                assert_eq!(closed(client).unwrap_or(0), 0);
            }
            Ok(())
        })
    });
    assert_eq!(made.get(), 1);
}

// P7.6
#[test]
fn stop_listening_frees_the_port_and_keeps_connections() {
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        let at = address(&port);
        let (handle, stopped) = ((**reactor).clone(), port.clone());
        peer(reactor, at, |mut stream| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0])?;
            Ok(stream)
        })
        .add_callback(move |stream| {
            assert!(stopped.is_listening());
            let done = stopped.stop_listening();
            assert!(done.is_fired() && !stopped.is_listening());
            assert!(stopped.stop_listening().is_fired());
            ServerEndpoint::tcp(at).listen(&handle, |_| Echo).unwrap();
            handle.defer_to_thread(move || Ok(echoed(stream)?))
        })
    });
}

// P7
#[test]
fn an_address_in_use_cannot_be_listened_on() {
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        let error: CannotListen = ServerEndpoint::tcp(address(&port)).listen(reactor, |_| Echo).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", port.address())));
        twistor_deferred::succeed(())
    });
}

// P7
#[cfg(target_os = "linux")]
#[test]
fn two_listeners_share_a_port_with_reuse_port() {
    run(|reactor| {
        let endpoint = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).reuse_port(true);
        let port = endpoint.listen(reactor, |_| Echo).unwrap();
        let same = ServerEndpoint::tcp(address(&port)).reuse_port(true);
        let second = same.listen(reactor, |_| Echo).unwrap();
        assert_eq!(port.address(), second.address());
        peer(reactor, address(&port), echoed)
    });
}

// P7.5, A2: connections that are gone before they are accepted
#[test]
fn peers_that_reset_before_accept_do_no_harm() {
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        for _ in 0..200 {
            reset(TcpStream::connect(address(&port)).unwrap());
        }
        peer(reactor, address(&port), echoed)
    });
}

// P5, B8: a flood does not delay other connections
#[test]
fn a_peer_that_floods_gets_a_bounded_share_of_each_turn() {
    let most = Rc::new(Cell::new(0));
    run(|reactor| {
        let (seen, turn, in_turn) = (most.clone(), Rc::new(Cell::new(0)), Rc::new(Cell::new(0_usize)));
        let handle = (**reactor).clone();
        let diary = Diary::new();
        let server = scripted(&diary).on_data(move |_: &Transport, data| {
            let now = handle.stats().turns;
            if turn.replace(now) != now {
                in_turn.set(0);
            }
            in_turn.set(in_turn.get() + data.len());
            seen.set(seen.get().max(in_turn.get()));
            Ok(())
        });
        let port = listen_once(reactor, server);
        let peer = peer(reactor, address(&port), |mut stream| stream.write_all(&vec![b'x'; 32 << 20]));
        let lost = diary.when_lost();
        peer.add_callback(move |()| lost)
    });
    assert!(most.get() > 0 && most.get() <= 256 * 1024, "{} bytes in one turn", most.get());
}

// P7.7
#[cfg(unix)]
#[test]
fn a_unix_listener_replaces_the_file_of_a_dead_one() {
    use twistor_net::ClientEndpoint;

    let folder = support::folder::Folder::new("listener");
    let path = folder.join("a:socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let diary = Diary::new();
    run(|reactor| {
        let endpoint = ServerEndpoint::unix(&path).mode(0o600);
        let port = endpoint.listen(reactor, |_| Echo).unwrap();
        assert_eq!(port.address().path(), Some(&*path));
        // The file of a live listener is not replaced.
        assert!(endpoint.listen(reactor, |_| Echo).is_err());
        let client: ClientEndpoint = ClientEndpoint::unix(&path).to_string().parse().unwrap();
        let client_side = scripted(&diary)
            .on_made(|transport| {
                assert!(transport.write(b"hello"));
                assert!(transport.peer().unwrap().path().is_some());
                Ok(())
            })
            .on_data(|transport, _| {
                transport.lose_connection();
                Ok(())
            });
        let (lost, file) = (diary.when_lost(), path.clone());
        client.connect(reactor, client_side).add_callback(move |_| lost).add_callback(move |()| {
            assert!(file.exists());
            port.stop_listening()
        })
    });
    assert_eq!(diary.entries(), ["made", "data hello", "lost connection was closed cleanly"]);
    assert!(!path.exists());
}

// P7.7: a file that another process has put in the place of the socket must stay
#[cfg(unix)]
#[test]
fn a_unix_listener_removes_only_its_own_socket() {
    use std::os::unix::fs::PermissionsExt;

    let folder = support::folder::Folder::new("others");
    let path = folder.join("socket");
    std::fs::write(&path, "a letter").unwrap();
    run(|reactor| {
        let endpoint = ServerEndpoint::unix(&path).mode(0o600);
        let error = endpoint.listen(reactor, |_| Echo).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");

        std::fs::remove_file(&path).unwrap();
        let port = endpoint.listen(reactor, |_| Echo).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another letter").unwrap();
        port.stop_listening()
    });
    assert_eq!(std::fs::read(&path).unwrap(), b"another letter");
}

// P7.1: a live listener whose queue is full
#[cfg(unix)]
#[test]
fn a_unix_listener_with_a_full_queue_is_alive() {
    use socket2::{Domain, SockAddr, Socket, Type};

    let folder = support::folder::Folder::new("full");
    let path = folder.join("socket");
    let address = SockAddr::unix(&path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut queued = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.connect(&address).is_err() {
            break;
        }
        queued.push(socket);
    }
    // A blocking probe would never return.
    let (told, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let reactor = twistor_reactor::Reactor::new().unwrap();
        let refused = ServerEndpoint::unix(&path).listen(&reactor, |_| Echo).unwrap_err();
        told.send(refused.source.kind()).unwrap();
    });
    assert_eq!(outcome.recv_timeout(DEADLINE).unwrap(), std::io::ErrorKind::AddrInUse);
    assert!(folder.join("socket").exists());
}

// P7.2, P16.4
#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_needs_no_file() {
    let name = format!("\0twistor:{}", std::process::id());
    let shown = name.replace('\0', "@");
    run(|reactor| {
        let port = ServerEndpoint::unix(&name).listen(reactor, |_| Echo).unwrap();
        assert_eq!(port.address().to_string(), shown);
        assert!(ServerEndpoint::unix(&name).listen(reactor, |_| Echo).is_err(), "it is taken");
        let endpoint = ClientEndpoint::unix(&name);
        let again: ClientEndpoint = endpoint.to_string().parse().unwrap();
        assert_eq!(again.to_string(), format!("unix:abstract={}", name[1..].replace(':', "\\:")));
        let (connecting, again) = (endpoint.connect(reactor, Echo), again.connect(reactor, Echo));
        connecting.add_callback(move |transport| {
            assert_eq!(transport.peer().unwrap().to_string(), shown);
            again.add_callback(move |_| port.stop_listening())
        })
    });
}

// P7.3, P16.4
#[test]
fn only_v6_leaves_the_ipv4_port_to_another_listener() {
    run(|reactor| {
        let only: ServerEndpoint = "tcp6:0:onlyV6=1".parse().unwrap();
        assert_eq!(only.to_string(), r"tcp:0:interface=\:\::onlyV6=1");
        let port = match only.listen(reactor, |_| Echo) {
            Ok(port) => address(&port).port(),
            Err(error) => {
                println!("skipped: {error}");
                return twistor_deferred::succeed(());
            }
        };
        let other = ServerEndpoint::tcp(format!("0.0.0.0:{port}").parse().unwrap());
        other.listen(reactor, |_| Echo).unwrap();
        // Both families at once: an IPv4 peer has an IPv6 address.
        let both = ServerEndpoint::tcp("[::]:0".parse().unwrap()).only_v6(false);
        let both = both.listen(reactor, |_| Echo).unwrap();
        ClientEndpoint::tcp("127.0.0.1", address(&both).port()).connect(reactor, Echo).add_callback(|_| ())
    });
}

// P17.2
#[cfg(unix)]
#[test]
fn descriptors_can_be_duplicated() {
    use socket2::SockRef;
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        let fd = port.try_clone_fd().unwrap();
        assert!(SockRef::from(&fd).is_listener().unwrap());
        assert_eq!(SockRef::from(&fd).local_addr().unwrap().as_socket(), Some(address(&port)));
        drop(port.stop_listening());
        assert_eq!(port.try_clone_fd().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
        let port = listen(reactor, |_| Echo);
        let connecting = ClientEndpoint::tcp("127.0.0.1", address(&port).port()).connect(reactor, Echo);
        connecting.add_callback(|transport| {
            let fd = transport.try_clone_fd().unwrap();
            assert_eq!(SockRef::from(&fd).peer_addr().unwrap().as_socket(), transport.peer().unwrap().ip());
            SockRef::from(&fd).set_tcp_nodelay(true).unwrap();
            let again = transport.try_clone_fd().unwrap();
            assert!(SockRef::from(&again).tcp_nodelay().unwrap(), "both descriptors are the same socket");
        })
    });
}
