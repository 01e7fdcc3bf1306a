//! W6: stopping a site.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger, succeed};
use twistor_http::server::{Files, Request, Response, Settings, Site, Tree};
use twistor_net::{Failure, ServerEndpoint};
use twistor_reactor::{Handle, Reactor, defer_later};

use crate::client::*;
use crate::support::folder::Folder;
use crate::support::{DEADLINE, address, noise, run};

// W6.2
#[test]
fn a_port_that_stops_listening_keeps_its_connections() {
    run(|reactor| {
        let port = listen(&Site::new(reactor, |_: &mut Request<'_>| "fine"));
        let address = address(&port);
        let (handle, first) = (Handle::clone(reactor), visit(reactor, address, Client::connect));
        first.add_callback(move |mut client| {
            visit(&handle, address, move |_| {
                assert_eq!(client.get("/")?.text(), "fine");
                Ok(client)
            })
            .add_callback(move |mut client| {
                port.stop_listening().add_callback(move |()| {
                    visit(&handle, address, move |address| {
                        assert_eq!(
                            TcpStream::connect(address).unwrap_err().kind(),
                            ErrorKind::ConnectionRefused
                        );
                        assert_eq!(client.get("/")?.text(), "fine");
                        Ok(())
                    })
                })
            })
        })
    });
}

/// A tree whose `/slow` answers when the returned trigger fires. The Deferred fires when `/slow` is requested.
fn slow() -> (Tree, Deferred<()>, Trigger<&'static str>) {
    let (asked, tell) = Deferred::new();
    let (answer, trigger) = Deferred::new();
    let slots = RefCell::new(Some((tell, answer)));
    let slow = move |_: &mut Request<'_>| {
        let (tell, answer): (Trigger<()>, Deferred<&'static str>) =
            slots.borrow_mut().take().expect("asked twice");
        tell.callback(());
        answer
    };
    let root = Tree::new().get(|_| "fine").put_child("slow", Tree::new().get(slow));
    (root, asked, trigger)
}

// W6.3, E4: idle connections close immediately, requests in progress are answered with Connection: close
#[test]
fn stopping_waits_for_requests_in_progress() {
    run(|reactor| {
        let (root, asked, answer) = slow();
        let site = Site::new(reactor, root);
        let port = listen(&site);
        let address = address(&port);
        let (handle, again) = (Handle::clone(reactor), site.clone());
        let clients = visit(reactor, address, |address| {
            let mut idle = Client::connect(address)?;
            assert_eq!(idle.get("/")?.text(), "fine");
            let fresh = Client::connect(address)?;
            let mut half = Client::connect(address)?;
            half.send("GET / HTTP/1.1\r\n")?;
            let mut waiting = Client::connect(address)?;
            waiting.send(get("/slow") + &get("/behind"))?;
            Ok((idle, fresh, half, waiting))
        });
        clients.add_callback(move |(mut idle, mut fresh, mut half, mut waiting)| {
            asked.add_callback(move |()| {
                let stopped = site.stop();
                assert!(!stopped.is_fired() && !port.is_listening());
                let done = Rc::new(Cell::new(false));
                let is_done = done.clone();
                let stopped = stopped.add_callback(move |()| done.set(true));
                visit(&handle, address, move |address| {
                    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
                    idle.expect_end();
                    fresh.expect_end();
                    half.send("Host: here\r\n\r\n")?;
                    let reply = half.reply()?;
                    assert_eq!((reply.text().as_str(), reply.closes()), ("fine", true));
                    half.expect_end();
                    Ok(())
                })
                .add_callback(move |()| {
                    assert!(!is_done.get(), "a request was still in progress");
                    answer.callback("at last");
                    visit(&handle, address, move |_| {
                        let reply = waiting.reply()?;
                        assert_eq!((reply.text().as_str(), reply.closes()), ("at last", true));
                        waiting.half_close()?;
                        waiting.expect_end();
                        Ok(())
                    })
                    .add_callback(move |()| stopped)
                    .add_callback(move |()| {
                        assert_eq!(again.connections(), 0);
                        again.stop()
                    })
                })
            })
        })
    });
}

// W6.3: after the grace period, requests are cancelled and their connections reset
#[test]
fn stopping_does_not_wait_forever() {
    run(|reactor| {
        let (asked, tell) = Deferred::new();
        let cancelled = Rc::new(Cell::new(false));
        let (tell, is_cancelled) = (Cell::new(Some(tell)), cancelled.clone());
        let root = move |_: &mut Request<'_>| {
            if let Some(tell) = tell.take() {
                tell.callback(());
            }
            let cancelled = is_cancelled.clone();
            let (deferred, trigger) = Deferred::<String>::with_canceller(move |_| cancelled.set(true));
            std::mem::forget(trigger);
            deferred
        };
        let settings = Settings { grace: Duration::from_millis(20), ..Settings::default() };
        let site = Site::with_settings(reactor, root, settings);
        let address = address(&listen(&site));
        let handle = Handle::clone(reactor);
        visit(reactor, address, |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            Ok(client)
        })
        .add_callback(move |mut client| {
            asked.add_callback(move |()| site.stop()).add_callback(move |()| {
                assert!(cancelled.get());
                visit(&handle, address, move |_| {
                    let error = client.reply().unwrap_err();
                    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof));
                    Ok(())
                })
            })
        })
    });
}

// W6.3: the shutdown of the reactor stops its sites, and a download is completed
#[test]
fn a_reactor_that_stops_waits_for_its_sites() {
    let reactor = Reactor::new().unwrap();
    let root = |request: &mut Request<'_>| {
        let handle = request.reactor().clone();
        Response::stream(move |out| {
            handle.stop();
            let body = move || {
                out.write(&vec![b'x'; 5_000_000]);
            };
            defer_later(&handle, Duration::from_millis(20), body)
        })
    };
    let address = address(&listen(&Site::new(&reactor, root)));
    let client = std::thread::spawn(move || Client::connect(address)?.get("/"));
    reactor.call_later(DEADLINE, || panic!("too late"));
    reactor.run().unwrap();
    assert_eq!(client.join().unwrap().unwrap().body.len(), 5_000_000);
}

// W6.3, E4: so does a file that is read in pieces, on threads that are needed until its end
#[test]
fn a_reactor_that_stops_waits_for_its_downloads() {
    let folder = Folder::new("download");
    folder.write("large", noise(20_000_000));
    let reactor = Reactor::new().unwrap();
    let address = address(&listen(&Site::new(&reactor, Files::new(folder.path()))));
    let remote = reactor.remote();
    let client = std::thread::spawn(move || {
        let mut client = Client::connect(address)?;
        client.send(get("/large"))?;
        let length = client.head()?.header("content-length").unwrap_or_default().to_owned();
        remote.stop().unwrap();
        Ok::<_, std::io::Error>((length, client.rest()?.len()))
    });
    reactor.call_later(DEADLINE, || panic!("too late"));
    reactor.run().unwrap();
    let told = client.join().unwrap();
    assert_eq!(told.unwrap(), ("20000000".to_owned(), 20_000_000));
}

// W6.1: a stopped site can listen again
#[test]
fn a_stopped_site_listens_again() {
    run(|reactor| {
        let site = Site::new(reactor, |_: &mut Request<'_>| "fine");
        let first = address(&listen(&site));
        let handle = Handle::clone(reactor);
        site.stop().add_callback(move |()| {
            assert_eq!(TcpStream::connect(first).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let second = address(&listen(&site));
            visit(&handle, second, |address| Client::connect(address)?.get("/"))
                .add_callback(|reply| assert_eq!(reply.text(), "fine"))
        })
    });
}

// W6.1: but not during the stop; after it, the site works as before
#[test]
fn a_site_that_is_stopping_does_not_listen() {
    run(|reactor| {
        let (root, asked, answer) = slow();
        let site = Site::new(reactor, root);
        let address = address(&listen(&site));
        let handle = Handle::clone(reactor);
        let client =
            reactor.defer_to_thread(move || Client::connect(address)?.get("/slow").map_err(Failure::from));
        asked.add_callback(move |()| {
            let stopped = site.stop();
            let anywhere = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap());
            let refused = site.listen(anywhere).unwrap_err();
            let due = "cannot listen on 127.0.0.1:0: the site is stopping and still has connections";
            assert_eq!(refused.to_string(), due);
            answer.callback("at last");
            client.add_callback(move |reply| {
                assert_eq!((reply.text().as_str(), reply.closes()), ("at last", true));
                stopped.add_callback(move |()| {
                    let again = crate::support::address(&listen(&site));
                    visit(&handle, again, |address| {
                        let mut client = Client::connect(address)?;
                        let reply = client.get("/")?;
                        assert!(!reply.closes());
                        client.get("/")
                    })
                    .add_callback(|reply| assert_eq!(reply.text(), "fine"))
                })
            })
        })
    });
}

// W6.3, R8: nothing in a site outlives its reactor
#[test]
fn dropping_a_reactor_drops_its_sites() {
    let witness = Rc::new(());
    let held = witness.clone();
    {
        let reactor = Reactor::new().unwrap();
        let site = Site::new(&reactor, move |_: &mut Request<'_>| {
            let _ = &held;
            "fine"
        });
        let address = address(&listen(&site));
        drop(site);
        let asked = reactor.defer_to_thread(move || {
            let mut client = Client::connect(address)?;
            client.get("/")?;
            Ok(client)
        });
        drop(reactor.run_until(asked).unwrap());
        assert!(succeed(()).is_fired());
    }
    assert_eq!(Rc::strong_count(&witness), 1);
}

// W6.3: also from inside a handler
#[test]
fn a_handler_may_stop_its_site() {
    run(|reactor| {
        let slot = Rc::new(RefCell::new(None::<Site>));
        let site = slot.clone();
        let (stopped, tell) = Deferred::new();
        let tell = Cell::new(Some(tell));
        let root = move |request: &mut Request<'_>| {
            if let (Some(site), Some(tell)) = (site.borrow().as_ref(), tell.take()) {
                drop(site.stop().add_callback(move |()| tell.callback(())));
            }
            format!("bye {}", String::from_utf8_lossy(request.body()))
        };
        let site = Site::new(reactor, root);
        slot.replace(Some(site.clone()));
        let client = visit(reactor, address(&listen(&site)), |address| {
            let mut client = Client::connect(address)?;
            client.send(post("/", "Ada"))?;
            let reply = client.reply()?;
            assert_eq!((reply.text().as_str(), reply.closes()), ("bye Ada", true));
            client.expect_end();
            Ok(())
        });
        client.add_callback(move |()| stopped).add_callback(move |()| drop(slot.take()))
    });
}
