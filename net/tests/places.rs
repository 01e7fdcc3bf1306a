//! Log lines name the user's line. A table of everything in the net that takes a closure or makes a failure: P20.1.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

use std::cell::RefCell;
use std::panic::Location;
use std::sync::Once;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, Failure, fail};
use twistor_net::{
    ClientEndpoint, DatagramProtocol, DatagramTransport, Factory, Protocol, Reconnecting, ServerEndpoint,
    SimulatedNetwork, Transport, UdpEndpoint, conversations,
};
use twistor_reactor::{Handle, Reactor};

const SECOND: Duration = Duration::from_secs(1);

/// One entry of the table: where it stands, and what it does with a reactor that then runs for a while.
struct Entry {
    name: &'static str,
    line: u32,
    run: fn(&Reactor),
}

#[track_caller]
fn entry(name: &'static str, run: fn(&Reactor)) -> Entry {
    Entry { name, line: Location::caller().line(), run }
}

impl Entry {
    /// What the thread logs, down to what is for debugging only.
    fn logs(&self) -> Vec<String> {
        keep_log();
        let reactor = Reactor::simulated(0);
        (self.run)(&reactor);
        let handle = reactor.handle();
        reactor.call_later(100 * SECOND, move || handle.stop());
        reactor.run().unwrap();
        drop(reactor);
        LOGGED.take()
    }
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    LOGGED.take();
}

/// Checks that each entry logs, that some line names a place in the entry, and that no line names another file.
fn check(entries: &[Entry]) {
    let mut faults = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let end = entries.get(index + 1).map_or(u32::MAX, |next| next.line);
        let lines = entry.logs();
        let mut named = false;
        for line in &lines {
            for place in line.split([' ', '(', ')', ',']).filter(|word| word.contains(".rs:")) {
                let number =
                    place.strip_prefix(file!()).and_then(|rest| rest.split(':').nth(1)?.parse().ok());
                match number {
                    Some(number) => named |= (entry.line..end).contains(&number),
                    None => faults.push(format!("{}: {place} in: {line}", entry.name)),
                }
            }
        }
        if !named {
            faults.push(format!("{}: no place in {lines:#?}", entry.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

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

/// Says something as soon as it is connected.
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

/// Connects to the server, and leaves after a while.
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

#[cfg(feature = "http")]
mod http {
    use twistor_net::http::server::{BodyMode, Request as Asked, Response, Site, Tree};
    use twistor_net::http::{Agent, Request, download_page, get_page};

    use super::*;

    const URL: &str = "http://192.0.2.80/";

    #[track_caller]
    fn site(reactor: &Reactor, tree: Tree) {
        drop(server().listen(reactor, Site::new(reactor, tree)).unwrap());
    }

    /// A site with a page, and a client that asks for it.
    #[track_caller]
    fn visited(reactor: &Reactor, tree: Tree) {
        site(reactor, tree);
        drop(Agent::new(reactor).get_page(Request::post(URL).body("some text")).add_both(|_| ()));
    }

    #[test]
    fn log_lines_of_http_name_the_users_line() {
        check(&[
            entry("get_page", |reactor| drop(get_page(reactor, URL))),
            entry("get_page, no URL", |reactor| drop(get_page(reactor, "no url"))),
            entry("get_page, unknown name", |reactor| drop(get_page(reactor, "http://nowhere.test/"))),
            entry("get_page, an error", |reactor| {
                site(reactor, Tree::new());
                drop(get_page(reactor, URL));
            }),
            entry("get_page, later", |reactor| {
                site(reactor, Tree::new().get(|_: &mut Asked<'_>| Response::stream(|_| broken::<()>())));
                drop(get_page(reactor, URL));
            }),
            entry("get_page, cancelled", |reactor| {
                site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
                let page = get_page(reactor, URL);
                reactor.call_later(Duration::from_micros(500), move || page.cancel());
            }),
            entry("Request::get_page", |reactor| drop(Request::get(URL).get_page(reactor))),
            entry("Agent::get_page", |reactor| drop(Agent::new(reactor).get_page(URL))),
            entry("Agent::request", |reactor| drop(Agent::new(reactor).request(URL))),
            entry("a body that is cut", |reactor| {
                site(
                    reactor,
                    Tree::new().get(|_: &mut Asked<'_>| {
                        Response::stream(|out| {
                            out.write(b"some");
                            broken::<()>()
                        })
                    }),
                );
                drop(
                    Agent::new(reactor).request(URL).add_callback(|response| response.into_body().collect()),
                );
            }),
            entry("ResponseBody::deliver", |reactor| {
                site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
                drop(Agent::new(reactor).request(URL).add_callback(|response| {
                    drop(response.into_body().deliver(|_| panics()));
                }));
            }),
            entry("download_page", |reactor| drop(download_page(reactor, URL, "/nowhere/at/all"))),
            entry("Request::download_page", |reactor| {
                site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
                let path = std::env::temp_dir().join("twistor-places-test");
                drop(Request::get(URL).download_page(reactor, path, |_, _| panics()));
            }),
            entry("Tree::on", |reactor| {
                visited(reactor, Tree::new().post(|_: &mut Asked<'_>| panics::<&str>()));
            }),
            entry("Tree::on, failing", |reactor| {
                visited(reactor, Tree::new().post(|_: &mut Asked<'_>| fail::<&'static str>(Cancelled)));
            }),
            entry("Tree::children", |reactor| {
                let tree = Tree::new().children(|_, _| panics());
                site(reactor, tree);
                drop(get_page(reactor, "http://192.0.2.80/child").add_both(|_| ()));
            }),
            entry("a closure as a site", |reactor| {
                let site = Site::new(reactor, |_: &mut Asked<'_>| panics::<&str>());
                drop(server().listen(reactor, site).unwrap());
                drop(get_page(reactor, URL).add_both(|_| ()));
            }),
            entry("Site::on_answered", |reactor| {
                let site = Site::new(reactor, |_: &mut Asked<'_>| "x").on_answered(|_| panics());
                drop(server().listen(reactor, site).unwrap());
                drop(get_page(reactor, URL).add_both(|_| ()));
            }),
            entry("Response::stream", |reactor| {
                visited(reactor, Tree::new().post(|_: &mut Asked<'_>| Response::stream(|_| panics::<()>())));
            }),
            entry("Response::sized", |reactor| {
                visited(
                    reactor,
                    Tree::new().post(|_: &mut Asked<'_>| Response::sized(5, |_| fail::<()>(Cancelled))),
                );
            }),
            entry("RequestBody::deliver", |reactor| {
                visited(
                    reactor,
                    Tree::new().on_mode(
                        twistor_net::http::Method::POST,
                        BodyMode::Streamed,
                        |asked: &mut Asked<'_>| {
                            if let Some(body) = asked.stream() {
                                drop(body.deliver(|_| panics()));
                            }
                            "x"
                        },
                    ),
                );
            }),
        ]);
    }
}
