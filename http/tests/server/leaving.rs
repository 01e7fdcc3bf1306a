//! W2: clients that leave while they receive an answer.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_http::server::{Files, Request, Response, Settings, Site, Timeouts, Tree};
use twistor_net::{ClientEndpoint, Failure, ServerEndpoint};
use twistor_reactor::{Handle, Reactor, defer_later};

use crate::client::*;
use crate::support::folder::Folder;
use crate::support::logged::{keep_log, logged};
use crate::support::{address, noise, run};

const SECOND: Duration = Duration::from_secs(1);

fn patient(half_closed: Duration) -> Settings {
    Settings { timeouts: Timeouts { half_closed, ..Timeouts::default() }, ..Settings::default() }
}

/// An endless stream of events that sends one and then stays silent. Counts the cancelled bodies.
fn silent_events(cancelled: &Rc<Cell<usize>>) -> impl Fn(&mut Request<'_>) -> Response + use<> {
    let cancelled = cancelled.clone();
    move |_| {
        let cancelled = cancelled.clone();
        Response::stream(move |out| {
            out.write(b"data: hello\n\n");
            let (never, trigger) = Deferred::<()>::with_canceller(move |_| {
                drop(out);
                cancelled.set(cancelled.get() + 1);
            });
            std::mem::forget(trigger);
            never
        })
        .content_type("text/event-stream")
    }
}

// W2.1: no socket stays in CLOSE_WAIT
#[test]
fn streams_of_closed_clients_are_cancelled() {
    let cancelled = Rc::default();
    run(|reactor| {
        let site = Site::with_settings(reactor, silent_events(&cancelled), patient(SECOND / 50));
        let (address, handle) = (address(&listen(&site)), Handle::clone(reactor));
        reactor.spawn(async move {
            let clients = visit(&handle, address, |address| {
                (0..200)
                    .map(|_| {
                        let mut client = Client::connect(address)?;
                        client.send(get("/"))?;
                        assert_eq!(client.head()?.status, 200);
                        assert_eq!(client.chunk()?.unwrap_or_default(), b"data: hello\n\n");
                        Ok(client)
                    })
                    .collect::<std::io::Result<Vec<Client>>>()
            });
            let clients = clients.await?;
            assert_eq!(site.connections(), 200);
            drop(clients);
            while site.connections() > 0 {
                handle.sleep(Duration::from_millis(5)).await?;
            }
            Ok::<(), Failure>(())
        })
    });
    assert_eq!(cancelled.get(), 200);
}

/// Returns how many events a client receives after ending its half, and how many connections are left at the end.
/// `interval` is the time between two events.
fn half_closed(interval: Option<Duration>, events: u32, seconds: u32) -> (usize, usize) {
    let reactor = Reactor::simulated(3);
    let events = move |request: &mut Request<'_>| {
        let handle = request.reactor().clone();
        Response::stream(move |out| {
            handle.clone().spawn(async move {
                for _ in 0..events {
                    handle.sleep(interval.unwrap_or(SECOND * 1_000_000)).await?;
                    out.write(b"event");
                }
                Ok::<(), Failure>(())
            })
        })
    };
    let site = Site::with_settings(&reactor, events, patient(SECOND * 5));
    site.listen(ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap())).unwrap();
    let handle = Handle::clone(&reactor);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let all = seen.clone();
    let client = reactor.spawn(async move {
        let client = ClientEndpoint::tcp("192.0.2.80", 80).converse(&handle).await?;
        client.write(get("/").as_bytes());
        client.transport().lose_write_connection();
        loop {
            let piece = client.read_some().await?;
            if piece.is_empty() {
                return Ok::<(), Failure>(());
            }
            all.borrow_mut().extend(piece);
        }
    });
    drop(client);
    let left = left_after(&reactor, &site, seconds);
    let seen = String::from_utf8_lossy(&seen.borrow()).matches("event").count();
    (seen, left)
}

/// Returns the number of connections after `seconds`, while the reactor is still running.
fn left_after(reactor: &Reactor, site: &Site, seconds: u32) -> usize {
    let site = site.clone();
    reactor.run_until(defer_later(reactor, SECOND * seconds, move || Ok(site.connections()))).unwrap()
}

// W2.1: a client that ended its half but still reads is recognized by the data it accepts
#[test]
fn a_half_closed_client_gets_a_continuing_stream() {
    assert_eq!(half_closed(Some(SECOND * 3), 20, 90), (20, 0));
    assert_eq!(half_closed(Some(SECOND * 30), 20, 20), (0, 0));
    assert_eq!(half_closed(None, 20, 20), (0, 0));
    assert_eq!(half_closed(None, 20, 4), (0, 1));
}

// W2.1: also if the client left before the stream began
#[test]
fn a_stream_for_a_client_that_has_left_is_cancelled() {
    let cancelled = Rc::default();
    let reactor = Reactor::simulated(4);
    let events = Rc::new(silent_events(&cancelled));
    let later = move |request: &mut Request<'_>| {
        let response = events(request);
        defer_later(request.reactor(), SECOND, || Ok(response))
    };
    let site = Site::with_settings(&reactor, Tree::new().get(later), patient(SECOND * 3));
    site.listen(ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap())).unwrap();
    let handle = Handle::clone(&reactor);
    drop(reactor.spawn(async move {
        let client = ClientEndpoint::tcp("192.0.2.80", 80).converse(&handle).await?;
        client.write(get("/").as_bytes());
        client.transport().lose_write_connection();
        handle.sleep(SECOND * 100).await
    }));
    assert_eq!((left_after(&reactor, &site, 10), cancelled.get()), (0, 1));
}

// W7.8: however the client leaves
#[test]
fn a_client_that_leaves_a_download_is_not_an_error() {
    keep_log();
    let folder = Folder::new("leaving");
    folder.write("large", noise(30_000_000));
    run(|reactor| {
        let site = Site::with_settings(reactor, Files::new(folder.path()), patient(SECOND / 50));
        let (address, handle) = (address(&listen(&site)), Handle::clone(reactor));
        reactor.spawn(async move {
            let clients = visit(&handle, address, |address| {
                for round in 0..30 {
                    let mut client = Client::connect(address)?;
                    // A pipelined second request pauses reading, so that the end of stream is not noticed by a read.
                    client.send(get("/large").repeat(1 + round % 2))?;
                    client.head()?;
                    client.exactly(round * 100_000)?;
                    match round % 3 {
                        // A close with unread data is a reset.
                        0 => drop(client),
                        1 => crate::support::reset(client.into_stream()),
                        _ => {
                            client.half_close()?;
                            let _ = client.stream().read(&mut [0; 1000])?;
                        }
                    }
                }
                Ok(())
            });
            clients.await?;
            while site.connections() > 0 {
                handle.sleep(Duration::from_millis(5)).await?;
            }
            Ok::<(), Failure>(())
        })
    });
    assert_eq!(logged(), [""; 0]);
}

// W2.2: the body can be the first to notice that
#[test]
fn a_body_that_notices_a_lost_client_is_not_an_error() {
    keep_log();
    let (leave, left) = std::sync::mpsc::channel();
    let left = Rc::new(RefCell::new(Some(left)));
    run(|reactor| {
        let root = move |request: &mut Request<'_>| {
            let (handle, left) = (request.reactor().clone(), left.take().expect("asked twice"));
            Response::stream(move |out| {
                handle.clone().spawn(async move {
                    out.write(b"begun");
                    // In this turn, so that only the body can notice.
                    let client = left.recv_timeout(crate::support::DEADLINE).map_err(Failure::from)?;
                    crate::support::reset(client);
                    while out.write(&[b'x'; 10_000]) {}
                    out.drained().await
                })
            })
        };
        let site = Site::new(reactor, root);
        let (address, handle) = (address(&listen(&site)), Handle::clone(reactor));
        reactor.spawn(async move {
            let asked = visit(&handle, address, move |address| {
                let mut client = Client::connect(address)?;
                client.send(get("/"))?;
                leave.send(client.into_stream()).map_err(std::io::Error::other)
            });
            asked.await?;
            while site.connections() > 0 {
                handle.sleep(Duration::from_millis(5)).await?;
            }
            Ok::<(), Failure>(())
        })
    });
    assert_eq!(logged(), [""; 0]);
}
