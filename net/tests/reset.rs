//! What a peer has sent before it resets is delivered first, in the reader's own time: P1.1 and P1.2, on all kinds of
//! sockets, real and simulated, and of HTTP bodies.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::{
    ClientEndpoint, ConnectionLost, Protocol, RateLimit, ServerEndpoint, SimulatedNetwork, Transport,
};
use twistor_reactor::{Handle, Reactor};

/// As much as any socket takes at once.
const SENT: usize = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    #[cfg(unix)]
    Unix,
    #[cfg(feature = "tls")]
    Tls,
}

impl Kind {
    fn all(world: World) -> Vec<Kind> {
        vec![
            Kind::Tcp,
            #[cfg(unix)]
            Kind::Unix,
            #[cfg(feature = "tls")]
            Kind::Tls,
        ]
        .into_iter()
        .filter(|kind| world == World::Real || !format!("{kind:?}").contains("Unix"))
        .collect()
    }

    /// Connects two protocols. What is returned lives as long as the test.
    fn connect(
        self,
        reactor: &Reactor,
        world: World,
        client: impl Protocol,
        server: impl Protocol,
    ) -> Box<dyn std::any::Any> {
        if let Some(network) = SimulatedNetwork::of(reactor) {
            network.set_window(4 * SENT, 4 * SENT);
            network.add_name("server.test", ["192.0.2.80".parse().unwrap()]);
        }
        let here = if world == World::Real { "127.0.0.1" } else { "192.0.2.80" };
        let at = |port: u16| format!("{here}:{port}").parse().unwrap();
        let free = if world == World::Real { 0 } else { 80 };
        match self {
            Kind::Tcp => {
                let port = ServerEndpoint::tcp(at(free)).listen(reactor, Once(Some(server))).unwrap();
                drop(ClientEndpoint::tcp(here, address(&port).port()).connect(reactor, client));
                Box::new(port)
            }
            #[cfg(unix)]
            Kind::Unix => {
                let folder = folder::Folder::new(&format!("reset-{:?}", std::thread::current().id()));
                let path = folder.join("socket");
                let port = ServerEndpoint::unix(&path).listen(reactor, Once(Some(server))).unwrap();
                drop(ClientEndpoint::unix(&path).connect(reactor, client));
                Box::new((port, folder))
            }
            #[cfg(feature = "tls")]
            Kind::Tls => {
                let authority = tls_support::Authority::new();
                let tls = authority.signs(here).server();
                let port = ServerEndpoint::tls(at(free), tls).listen(reactor, Once(Some(server))).unwrap();
                let endpoint = ClientEndpoint::tls(here, address(&port).port(), authority.client());
                drop(endpoint.connect(reactor, client));
                Box::new(port)
            }
        }
    }
}

/// Runs a client whose peer sends [`SENT`] bytes and resets, with something of the client's unread. `prepare` is called
/// with the client when it is connected. Returns what the client saw.
fn run_until_lost(world: World, kind: Kind, prepare: impl Fn(&Transport, &Handle) + 'static) -> Diary {
    let diary = Diary::new();
    world.run(|reactor| {
        let handle = Handle::clone(reactor);
        let connected: Rc<RefCell<Option<Transport>>> = Rc::default();
        let far = connected.clone();
        let server = scripted(&Diary::new()).on_data(move |transport, _| {
            transport.pause_producing();
            transport.write(&noise(SENT));
            let (near, far) = (transport.clone(), far.borrow().clone().unwrap());
            drop(transport.drained().add_callback(move |()| {
                // A UNIX socket that is closed with something unread resets its peer.
                far.write(b"unread");
                near.abort_connection();
            }));
            Ok(())
        });
        let (made, resumed) = (handle.clone(), handle.clone());
        let client = scripted(&diary).on_end(|_| Ok(())).on_made(move |transport| {
            connected.replace(Some(transport.clone()));
            prepare(transport, &made);
            transport.write(b"hello");
            Ok(())
        });
        let client = client.on_write_lost(move |transport| {
            assert!(!transport.write(b"x"), "a write was taken after the reset");
            let transport = transport.clone();
            resumed.call_later(Duration::from_millis(5), move || transport.resume_producing());
            Ok(())
        });
        let kept = kind.connect(reactor, world, client, server);
        diary.when_lost().add_callback(move |()| drop(kept))
    });
    assert_eq!(diary.received().len(), SENT, "{kind:?} in {world:?}");
    assert!(diary.received() == noise(SENT));
    assert_eq!(diary.losses(), 1);
    assert!(!diary.entries().contains(&"end".to_owned()), "a reset is not the end of the data");
    let reason = diary.reason();
    assert!(reason.is::<ConnectionLost>(), "{kind:?} in {world:?}: {reason}");
    diary
}

fn on_every_socket(test: impl Fn(World, Kind)) {
    on_every_network(|world| Kind::all(world).into_iter().for_each(|kind| test(world, kind)));
}

// P1.1
#[test]
fn a_paused_reader_gets_all_data_before_the_loss() {
    on_every_socket(|world, kind| {
        let diary = run_until_lost(world, kind, |transport, _| transport.pause_producing());
        assert_eq!(diary.entries().iter().filter(|entry| *entry == "resumed").count(), 1);
    });
}

// P1.1, P14
#[test]
fn a_rate_limited_reader_gets_all_data_before_the_loss() {
    on_every_socket(|world, kind| {
        run_until_lost(world, kind, |transport, handle| {
            transport.limit_reading(&RateLimit::new(handle, 250_000));
        });
    });
}

// P1.1: more than one turn's share, and the loop busy while the peer goes
#[cfg(unix)]
#[test]
fn a_busy_reader_gets_all_data_before_the_loss() {
    use std::io::{Read, Write};

    let folder = folder::Folder::new("busy");
    let (sent, count) = std::sync::mpsc::channel();
    let diary = Diary::new();
    run(|reactor| {
        let mut waited = false;
        let busy = scripted(&diary).on_data(move |transport, _| {
            if !std::mem::replace(&mut waited, true) {
                transport.write(b"unread");
                let sent: usize = count.recv_timeout(DEADLINE).unwrap();
                assert!(sent > 100_000, "the socket took only {sent} bytes");
                assert_eq!(count.recv_timeout(DEADLINE), Ok(0), "it is closed");
            }
            Ok(())
        });
        let path = folder.join("socket");
        let port = ServerEndpoint::unix(&path).listen(reactor, Once(Some(busy))).unwrap();
        drop(
            reactor
                .defer_to_thread(move || {
                    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
                    socket2::SockRef::from(&stream).set_send_buffer_size(1 << 20)?;
                    stream.write_all(b"x")?;
                    // Until the reader is busy.
                    stream.read_exact(&mut [0])?;
                    stream.set_nonblocking(true)?;
                    let mut total = 0;
                    while let Ok(taken) = stream.write(&[b'x'; 1 << 16]) {
                        total += taken;
                    }
                    let _ = sent.send(total);
                    drop(stream);
                    let _ = sent.send(0);
                    Ok(total)
                })
                .add_callback(move |_| drop(port)),
        );
        diary.when_lost()
    });
    assert!(diary.received().len() > 100_000, "{} bytes were delivered", diary.received().len());
    assert!(diary.reason().is::<ConnectionLost>());
}

/// Sends a reply to the first data, and resets when all is under way.
fn replies_and_resets(reply: Vec<u8>) -> Scripted {
    scripted(&Diary::new()).on_data(move |transport, _| {
        transport.pause_producing();
        transport.write(&reply);
        let transport = transport.clone();
        drop(transport.drained().add_callback(move |()| transport.abort_connection()));
        Ok(())
    })
}

// P1.1, H1, H2
#[cfg(feature = "http")]
#[test]
fn a_slow_reader_of_a_body_gets_all_of_it_before_the_loss() {
    use twistor_net::http::{Agent, PartialDownload, Request};

    on_every_network(|world| {
        let got = world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_window(4 * SENT, 4 * SENT);
            }
            let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * SENT).into_bytes();
            reply.extend_from_slice(&noise(SENT));
            let port = listen_once(reactor, replies_and_resets(reply));
            let agent = Agent::new(reactor);
            let handle = Handle::clone(reactor);
            let request = Request::get(format!("http://{}/", address(&port)));
            reactor.spawn(async move {
                let body = agent.request(request).await?.into_body();
                let mut got = Vec::new();
                let failure = loop {
                    handle.sleep(Duration::from_millis(20)).await?;
                    match body.next().await {
                        Ok(Some(piece)) => got.extend_from_slice(&piece),
                        Ok(None) => panic!("a body that was cut off ended in order"),
                        Err(failure) => break failure,
                    }
                };
                assert!(failure.is::<PartialDownload>(), "{failure}");
                drop(port);
                Ok(got)
            })
        });
        assert!(got == noise(SENT), "{} bytes in {world:?}", got.len());
    });
}

// P1.1, W2: a handler that reads the body of a client that has reset
#[cfg(feature = "http")]
#[test]
fn a_slow_handler_gets_all_of_an_upload_before_the_loss() {
    use twistor_net::http::server::{BodyMode, Request, Resource, Site};

    struct Slow(Handle, Rc<Cell<usize>>, RefCell<Option<twistor_deferred::Trigger<()>>>);

    impl Resource for Slow {
        fn body_mode(&self, _: &Request<'_>) -> BodyMode {
            BodyMode::Streamed
        }

        fn render(&self, request: &mut Request<'_>) -> twistor_net::http::server::Answer {
            let body = request.stream().unwrap();
            let (handle, count, done) = (self.0.clone(), self.1.clone(), self.2.take().unwrap());
            let reading = self.0.spawn(async move {
                loop {
                    handle.sleep(Duration::from_millis(20)).await?;
                    // Counted when it is handed over: the task may be cancelled before it goes on.
                    let count = count.clone();
                    let piece = body.next().add_callback(move |piece| {
                        count.set(count.get() + piece.as_ref().map_or(0, Vec::len));
                        Ok(piece)
                    });
                    if piece.await?.is_none() {
                        done.callback(());
                        return Ok(());
                    }
                }
            });
            twistor_net::http::server::IntoAnswer::into_answer(reading.add_callback(|()| Ok("never sent")))
        }
    }

    on_every_network(|world| {
        let count = Rc::new(Cell::new(0));
        let cut = world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_window(4 * SENT, 4 * SENT);
            }
            let (cut, done) = Deferred::new();
            let slow = Slow(Handle::clone(reactor), count.clone(), RefCell::new(Some(done)));
            let site = Site::new(reactor, slow);
            let port = listen(reactor, site);
            let head = format!("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", 2 * SENT);
            let client = scripted(&Diary::new()).on_made(move |transport| {
                transport.write_slices(&[head.as_bytes(), &noise(SENT)]);
                let transport = transport.clone();
                drop(transport.drained().add_callback(move |()| transport.abort_connection()));
                Ok(())
            });
            let at = address(&port);
            drop(ClientEndpoint::tcp(at.ip().to_string(), at.port()).connect(reactor, client));
            // The handler is cancelled, and its trigger dropped, wherever it waits.
            cut.add_both(move |whole| {
                drop(port);
                Ok(whole.is_err())
            })
        });
        assert!(cut, "the body was not whole");
        assert_eq!(count.get(), SENT, "in {world:?}");
    });
}
