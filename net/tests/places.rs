//! Log lines name the user's line. P20.1, as a table of everything in net that takes a closure or creates a
//! failure.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod support;

use std::time::Duration;

use support::places::{check, entry};
use twistor_deferred::{Cancelled, Deferred, Failure, fail};
use twistor_net::connect::{Connecting, Socks5};
use twistor_net::{
    ClientEndpoint, DatagramProtocol, DatagramTransport, Factory, Protocol, Reconnecting, ServerEndpoint,
    SimulatedNetwork, Transport, UdpEndpoint, conversations,
};
use twistor_reactor::{Handle, Reactor};

const SECOND: Duration = Duration::from_secs(1);

fn panics<T>() -> T {
    panic!("out of cheese")
}

fn broken<T: 'static>() -> Deferred<T> {
    fail(Cancelled)
}

struct Idle;

impl Protocol for Idle {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

impl DatagramProtocol for Idle {
    fn datagram_received(
        &mut self,
        _: &DatagramTransport,
        _: &[u8],
        _: std::net::SocketAddr,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

/// Sends data as soon as it is connected.
struct Speaks;

impl Protocol for Speaks {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"hello\r\n");
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

fn server() -> ServerEndpoint {
    ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap())
}

fn client() -> ClientEndpoint {
    ClientEndpoint::tcp("192.0.2.80", 80)
}

#[track_caller]
fn serve(handle: &Handle, factory: impl Factory) {
    drop(server().listen(handle, factory).unwrap());
}

/// Connects to the server, and disconnects after a while.
fn visit(handle: &Handle) {
    drop(client().connect(handle, Speaks).add_both(|_| ()));
}

/// Starts the service, and stops it after a while.
fn keep(handle: &Handle, service: Reconnecting) {
    service.start();
    handle.call_later(50 * SECOND, move || drop(service));
}

#[test]
fn log_lines_of_connections_name_the_users_line() {
    check(&[
        entry("connect, refused", |reactor| drop(client().connect(reactor, Idle))),
        entry("connect, unknown name", |reactor| {
            drop(ClientEndpoint::tcp("nowhere.test", 80).connect(reactor, Idle));
        }),
        entry("connect, timed out", |reactor| {
            SimulatedNetwork::of(reactor).unwrap().set_reachable([192, 0, 2, 80].into(), false);
            drop(client().connect(reactor, Idle));
        }),
        entry("connect, abandoned", |reactor| {
            let gone = Reactor::simulated(0).handle();
            drop(client().connect(&gone, Idle));
            let _ = reactor;
        }),
        entry("converse, refused", |reactor| drop(client().converse(reactor))),
        entry("a conversation that ends", |reactor| {
            serve(reactor, |_| Idle);
            let talk = client().converse(reactor).add_callback(|talk| {
                let read = talk.read_line(80);
                drop(talk);
                read
            });
            drop(talk);
        }),
        entry("write_all, late", |reactor| {
            serve(reactor, |_| Idle);
            drop(client().converse(reactor).add_callback(|talk| {
                talk.transport().abort_connection();
                drop(talk.read_to_end(1));
                drop(talk.write_all(b"x"));
            }));
        }),
        entry("drained, lost", |reactor| {
            serve(reactor, |_| Idle);
            drop(client().connect(reactor, Idle).add_callback(|transport| {
                transport.abort_connection();
                drop(transport.drained());
            }));
        }),
        // P20.2
        entry("conversations", |reactor| {
            serve(reactor, conversations(|_| panics::<()>()));
            visit(reactor);
        }),
        entry("conversations, failing", |reactor| {
            serve(reactor, conversations(|talk| talk.read_exact(5).add_callback(|_| broken::<()>())));
            visit(reactor);
        }),
        entry("listen", |reactor| {
            serve(reactor, |_| panics::<Idle>());
            visit(reactor);
        }),
        entry("Reconnecting::new", |reactor| {
            let service = Reconnecting::new(reactor, client(), panics::<Idle>);
            keep(reactor, service.on_failure(|failure, _| log::info!("{failure:?}")));
        }),
        entry("Reconnecting::prepare", |reactor| {
            serve(reactor, |_| Idle);
            let service = Reconnecting::new(reactor, client(), || Idle).prepare(|_| panics::<()>());
            keep(reactor, service.on_failure(|failure, _| log::info!("{failure:?}")));
        }),
        entry("Reconnecting::on_failure", |reactor| {
            keep(reactor, Reconnecting::new(reactor, client(), || Idle).on_failure(|_, _| panics()));
        }),
        entry("Reconnecting::when_connected", |reactor| {
            let service = Reconnecting::new(reactor, client(), || Idle);
            drop(service.when_connected_within(1));
            drop(service.when_connected_within(1).add_callback(|_| Ok(())));
            service.start();
            let later = reactor.call_later(50 * SECOND, move || {
                drop(service.when_connected());
                drop(service.stop());
                drop(service.when_connected());
            });
            drop(later);
        }),
        entry("ClientEndpoint::by", |reactor| {
            drop(ClientEndpoint::by(|_: &Connecting| panics()).connect(reactor, Idle));
        }),
        entry("Socks5::to", |reactor| {
            serve(reactor, |_| Speaks);
            let proxy = Socks5::new("192.0.2.80", 80);
            drop(ClientEndpoint::by(proxy.to("nowhere.test", 80)).converse(reactor));
        }),
        entry("SimulatedNetwork::set_observer", |reactor| {
            SimulatedNetwork::of(reactor).unwrap().set_observer(|_| panics());
            let handle = reactor.handle();
            reactor.call_later(SECOND, move || drop(client().connect(&handle, Idle)));
        }),
        entry("UdpEndpoint", |reactor| {
            let endpoint = UdpEndpoint::new("192.0.2.1:5000".parse().unwrap());
            let port = endpoint.listen(reactor, Idle).unwrap();
            drop(port.stop_listening().add_callback(|()| panics::<()>()));
        }),
    ]);
}

#[cfg(feature = "tls")]
mod tls_support;

#[cfg(feature = "tls")]
#[test]
fn log_lines_of_tls_name_the_users_line() {
    use tls_support::Authority;

    check(&[
        entry("ServerTls::on_failed_handshake", |reactor| {
            let tls = Authority::new().signs("localhost").server().on_failed_handshake(|_| panics());
            drop(server().bind(reactor).unwrap().tls(tls).serve(reactor, |_| Idle).unwrap());
            visit(reactor);
        }),
        entry("Transport::start_tls", |reactor| {
            serve(reactor, |_| Speaks);
            drop(client().connect(reactor, Idle).add_callback(|transport| {
                drop(transport.start_tls("localhost", &Authority::new().client()));
            }));
        }),
        entry("Transport::start_tls, lost", |reactor| {
            serve(reactor, |_| Idle);
            drop(client().connect(reactor, Idle).add_callback(|transport| {
                transport.abort_connection();
                drop(transport.start_tls("localhost", &Authority::new().client()));
            }));
        }),
        entry("Transport::accept_tls", |reactor| {
            serve(reactor, |_| Speaks);
            drop(client().connect(reactor, Idle).add_callback(|transport| {
                drop(transport.accept_tls(&Authority::new().signs("localhost").server()));
            }));
        }),
        entry("ClientTls::secure", |reactor| {
            serve(reactor, |_| Speaks);
            let handle = reactor.handle();
            drop(client().converse(reactor).add_callback(move |talk| {
                let stream = talk.release()?;
                drop(Authority::new().client().secure(&handle, "localhost", stream));
                Ok(())
            }));
        }),
    ]);
}

// R19.1
#[test]
fn watched_names_the_line_that_opened_a_port() {
    let reactor = Reactor::simulated(1);
    let line = line!() + 1;
    let port = ServerEndpoint::tcp("10.0.0.1:80".parse().unwrap()).listen(&reactor, |_| Idle).unwrap();
    let watched = reactor.watched();
    let text = watched.iter().map(ToString::to_string).collect::<String>();
    assert!(text.starts_with(&format!("source: the port opened at {}:{line}:", file!())), "{text}");
    drop(port.stop_listening());
    assert_eq!(reactor.watched(), []);
}
