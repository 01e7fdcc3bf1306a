//! Data sent before a reset is delivered first, at the reader's pace: P1.1 and P1.2, on all kinds of sockets,
//! real and simulated.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_net::{
    ClientEndpoint, ConnectionLost, Protocol, RateLimit, ServerEndpoint, SimulatedNetwork, Transport,
};
use twistor_reactor::{Handle, Reactor};

/// A number of bytes that any socket accepts at once.
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
    fn all(world: World<'_>) -> Vec<Kind> {
        vec![
            Kind::Tcp,
            #[cfg(unix)]
            Kind::Unix,
            #[cfg(feature = "tls")]
            Kind::Tls,
        ]
        .into_iter()
        .filter(|kind| world.is_real() || !format!("{kind:?}").contains("Unix"))
        .collect()
    }

    /// Connects two protocols. The returned value keeps them alive for the test.
    fn connect(
        self,
        reactor: &Reactor,
        world: World<'_>,
        client: impl Protocol,
        server: impl Protocol,
    ) -> Box<dyn std::any::Any> {
        if let Some(network) = SimulatedNetwork::of(reactor) {
            network.set_window(4 * SENT, 4 * SENT);
            network.add_name("server.test", ["192.0.2.80".parse().unwrap()]);
        }
        let here = if world.is_real() { "127.0.0.1" } else { "192.0.2.80" };
        let at = |port: u16| format!("{here}:{port}").parse().unwrap();
        let free = if world.is_real() { 0 } else { 80 };
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

/// Runs a client whose peer sends [`SENT`] bytes and then resets, because it has not read the client's data.
/// `prepare` is called with the client when it is connected. Returns the client's diary.
fn run_until_lost(world: World<'_>, kind: Kind, prepare: impl Fn(&Transport, &Handle) + 'static) -> Diary {
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
                // Closing a UNIX socket with unread data resets its peer.
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
    assert!(!diary.entries().contains(&"end".to_owned()), "a reset is not the end of the stream");
    let reason = diary.reason();
    assert!(reason.is::<ConnectionLost>(), "{kind:?} in {world:?}: {reason}");
    diary
}

fn on_every_socket(test: impl Fn(World<'_>, Kind)) {
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

// P1.1: more than one turn's share, with a loop that is busy while the peer resets
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
                assert_eq!(count.recv_timeout(DEADLINE), Ok(0), "the connection is closed");
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
                    // Waits until the reader is busy.
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
