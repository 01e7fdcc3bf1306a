//! W8: the observer of a site.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Failure};
use twistor_http::Method;
use twistor_http::server::{BodyMode, Request, Response, Settings, Site, Timeouts, Tree};
use twistor_reactor::{Handle, defer_later};

use crate::client::*;
use crate::support::{address, reset, run};

type Told = Rc<RefCell<Vec<String>>>;

/// A site whose observer writes short lines, and these lines.
fn watched(handle: &Handle, root: Tree, timeouts: Timeouts) -> (Site, Told) {
    let told = Told::default();
    let lines = told.clone();
    let site = Site::with_settings(handle, root, Settings { timeouts, ..Settings::default() });
    let site = site.on_answered(move |answered| {
        let method = answered.method.map_or("-", Method::as_str);
        let status = answered.status.map_or(0, |status| status.as_u16());
        let cut = if answered.complete { "" } else { " cut" };
        lines.borrow_mut().push(format!("{method} {} {status} {}{cut}", answered.target, answered.bytes));
    });
    (site, told)
}

fn root() -> Tree {
    let later = |request: &mut Request<'_>| {
        defer_later(request.reactor(), Duration::from_millis(1), || Ok("at last"))
    };
    let broken = |_: &mut Request<'_>| {
        Response::stream(|out| {
            out.write(b"half");
            Err::<(), _>(Failure::new("the other half is lost"))
        })
    };
    let streamed = |_: &mut Request<'_>| {
        Response::stream(|out| {
            out.write(b"two ");
            out.write_vec(b"pieces".to_vec());
        })
    };
    let sized = |_: &mut Request<'_>| {
        Response::sized(3, |out| {
            out.write(b"no more");
            out.write_vec(b"abc".to_vec());
        })
    };
    Tree::new()
        .get(|_| "Hello, world!")
        .post(|request| request.take_body())
        .put_child("later", Tree::new().get(later))
        .put_child("large", Tree::new().get(|_| vec![b'x'; 300_000]))
        .put_child("streamed", Tree::new().get(streamed))
        .put_child("sized", Tree::new().get(sized))
        .put_child("broken", Tree::new().get(broken))
        .put_child("tiny", Tree::new().on_mode(Method::POST, BodyMode::UpTo(3), |_| "fine"))
}

// W8.2: once for each request, in order, with status and size
#[test]
fn the_observer_is_called_once_for_each_request() {
    run(|reactor| {
        let (site, told) = watched(reactor, root(), Timeouts::default());
        let client = visit(reactor, address(&listen(&site)), |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/?a=b&c") + &get("/later") + &get("/large") + &get("/missing"))?;
            for _ in 0..4 {
                client.reply()?;
            }
            client.send("HEAD http://there/?d HTTP/1.1\r\nHost: here\r\n\r\n")?;
            client.head()?;
            client.send(post("/", "echo"))?;
            client.reply()?;
            client.send(get("/streamed") + &get("/sized"))?;
            assert_eq!((client.reply()?.text(), client.reply()?.text()), ("two pieces".into(), "abc".into()));
            client.send(get("/broken"))?;
            assert!(client.reply().is_err());
            // Refused requests, with a readable head and without.
            for request in [post("/tiny", "1234"), "GET / HTTP/1.1\r\n\r\n".to_owned()] {
                let mut client = Client::connect(address)?;
                client.send(request)?;
                client.reply()?;
            }
            Ok(())
        });
        client.add_callback(move |()| {
            let expected = [
                "GET /?a=b&c 200 13",
                "GET /later 200 7",
                "GET /large 200 300000",
                "GET /missing 404 10",
                "HEAD /?d 200 0",
                "POST / 200 4",
                "GET /streamed 200 10",
                "GET /sized 200 3",
                "GET /broken 200 4 cut",
                "POST /tiny 413 18",
                "-  400 12",
            ];
            assert_eq!(*told.borrow(), expected);
        })
    });
}

// W8.2: a client that leaves before its answer or in the middle of it
#[test]
fn the_observer_is_called_for_an_abandoned_request() {
    run(|reactor| {
        let (begun, begin) = Deferred::<()>::new();
        let begin = Cell::new(Some(begin));
        let streams = move |_: &mut Request<'_>| {
            let begin = begin.take();
            Response::stream(move |out| {
                out.write(b"some");
                if let Some(begin) = begin {
                    begin.callback(());
                }
                let (deferred, trigger) = Deferred::<()>::new();
                std::mem::forget(trigger);
                deferred
            })
        };
        let root = Tree::new().get(streams).put_child("never", {
            Tree::new().get(|_| {
                let (deferred, trigger) = Deferred::<String>::new();
                std::mem::forget(trigger);
                deferred
            })
        });
        let soon = Timeouts { half_closed: Duration::from_millis(10), ..Timeouts::default() };
        let (site, told) = watched(reactor, root, soon);
        let (handle, address) = (Handle::clone(reactor), address(&listen(&site)));
        let client = visit(reactor, address, |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/never"))?;
            client.half_close()?;
            client.expect_end();
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            client.head()?;
            Ok(client)
        });
        client.add_callback(move |client| {
            begun.add_callback(move |()| {
                reset(client.into_stream());
                wait_until(handle, move || told.borrow().len() == 2)
                    .add_callback(move |told| {
                        told.then_some(()).ok_or(Failure::new("the observer was not called"))
                    })
                    .add_callback(|()| ())
            })
        })
    });
}

/// Checks in every turn until `seen` returns true.
fn wait_until(handle: Handle, seen: impl Fn() -> bool + 'static) -> Deferred<bool> {
    handle.clone().spawn(async move {
        while !seen() {
            handle.sleep(Duration::ZERO).await?;
        }
        Ok(true)
    })
}

// W8.2, W6.3: the observer may stop the site; the observed answer is still sent
#[test]
fn an_observer_may_stop_the_site_or_panic() {
    run(|reactor| {
        let slot = Rc::new(RefCell::new(None::<Site>));
        let site = slot.clone();
        let watched = Site::new(reactor, |_: &mut Request<'_>| "fine").on_answered(move |answered| {
            if let Some(site) = site.take() {
                drop(site.stop());
            }
            panic!("at {answered}, on purpose");
        });
        slot.replace(Some(watched.clone()));
        visit(reactor, address(&listen(&watched)), |address| {
            let mut client = Client::connect(address)?;
            assert_eq!(client.get("/")?.text(), "fine");
            client.expect_end();
            Ok(())
        })
    });
}

// W8, W8.1
#[test]
fn an_observed_request_is_displayed_as_one_line() {
    run(|reactor| {
        let lines = Told::default();
        let told = lines.clone();
        let site = Site::new(reactor, |_: &mut Request<'_>| "fine")
            .on_answered(|_| panic!("this observer was replaced"))
            .on_answered(move |answered| {
                assert_eq!(answered.headers.get("user-agent"), answered.method.map(|_| &b"test"[..]));
                assert!(answered.duration < Duration::from_secs(60));
                told.borrow_mut().push(answered.to_string());
            });
        let client = visit(reactor, address(&listen(&site)), |address| {
            let mut client = Client::connect(address)?;
            let own = client.stream().local_addr()?;
            client.send("GET /a?b\"\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n\r\n\"\x1b[2J\r\n\r\n")?;
            client.reply()?;
            client.reply()?;
            Ok(own)
        });
        client.add_callback(move |own| {
            let lines = lines.borrow();
            let parts = |line: &str| line.split_once(" bytes in ").map(|(before, _)| before.to_owned());
            let expected = [format!("{own} \"GET /a?b\\\"\\\\\" 200, 4"), format!("{own} \"\" 400, 12")];
            assert_eq!(lines.iter().filter_map(|line| parts(line)).collect::<Vec<_>>(), expected);
        })
    });
}
