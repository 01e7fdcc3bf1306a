//! W5: slow clients, and too many clients.

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_http::Method;
use twistor_http::server::{BodyCut, BodyMode, Request, Response, Settings, Timeouts, Tree};

use crate::client::*;

const SOON: Duration = Duration::from_millis(40);

fn impatient(change: impl FnOnce(&mut Timeouts)) -> Settings {
    let mut timeouts = Timeouts::default();
    change(&mut timeouts);
    Settings { timeouts, ..Settings::default() }
}

// W5.2, E1
#[test]
fn an_incomplete_head_times_out() {
    serve_with(
        impatient(|timeouts| timeouts.head = SOON),
        |_: &mut Request<'_>| "fine",
        |address| {
            let mut client = Client::connect(address)?;
            client.send("GET / HTTP/1.1\r\nHost: ")?;
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.closes()), (408, true));
            // So does the second request of a connection.
            let mut client = Client::connect(address)?;
            client.send(get("/") + "GET")?;
            assert_eq!(client.reply()?.status, 200);
            assert_eq!(client.reply()?.status, 408);
            // A client that sends nothing gets no answer.
            Client::connect(address)?.expect_end();
            Ok(())
        },
    );
}

// W5.2, E1: a byte now and then does not prevent that
#[test]
fn a_dripping_head_times_out() {
    serve_with(
        impatient(|timeouts| timeouts.head = SOON),
        |_: &mut Request<'_>| "fine",
        |address| {
            let mut client = Client::connect(address)?;
            client.send("GET / HTTP/1.1\r\n")?;
            client.stream().set_read_timeout(Some(Duration::from_millis(2)))?;
            let mut byte = [0];
            loop {
                // Fails once the server has closed the connection, which also ends the loop.
                let _ = client.send("X: y\r\n");
                match client.stream().read(&mut byte) {
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            Ok(())
        },
    );
}

// W5.2, E6: the handler is not called
#[test]
fn a_missing_body_times_out() {
    serve_with(
        impatient(|timeouts| timeouts.body = SOON),
        |_: &mut Request<'_>| -> &'static str { panic!("called without the body") },
        |address| {
            for expect in ["", "Expect: 100-continue\r\n"] {
                let mut client = Client::connect(address)?;
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n{expect}\r\n"))?;
                if !expect.is_empty() {
                    assert_eq!(client.reply()?.status, 100);
                }
                let reply = client.reply()?;
                assert_eq!((reply.status, reply.closes()), (408, true));
            }
            Ok(())
        },
    );
}

// W5.2: the reader of the body is notified
#[test]
fn a_streamed_body_that_stops_is_cut() {
    let root = Tree::new().on_mode(Method::POST, BodyMode::Streamed, |request| {
        let body = request.stream().expect("taken");
        body.collect().add_both(|result| {
            assert!(result.is_err_and(|failure| failure.is::<BodyCut>()));
            Ok("it did not come")
        })
    });
    serve_with(impatient(|timeouts| timeouts.body = SOON), root, |address| {
        let mut client = Client::connect(address)?;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")?;
        let reply = client.reply()?;
        assert_eq!((reply.text().as_str(), reply.closes()), ("it did not come", true));
        Ok(())
    });
}

// W5.2
#[test]
fn an_idle_connection_is_closed() {
    serve_with(
        impatient(|timeouts| timeouts.idle = SOON),
        |_: &mut Request<'_>| "fine",
        |address| {
            let mut client = Client::connect(address)?;
            assert_eq!(client.get("/")?.text(), "fine");
            client.expect_end();
            Ok(())
        },
    );
}

// W5.2: a handler has no timeout
#[test]
fn a_slow_handler_is_not_timed_out() {
    let every = |timeouts: &mut Timeouts| {
        *timeouts =
            Timeouts { head: SOON, body: SOON, idle: SOON, write: SOON, half_closed: SOON, linger: SOON };
    };
    let root = |request: &mut Request<'_>| {
        twistor_reactor::defer_later(request.reactor(), SOON * 5, || Ok("at last"))
    };
    let reply = serve_with(impatient(every), root, |address| Client::connect(address)?.get("/"));
    assert_eq!(reply.text(), "at last");
}

// W5.2, B3
#[test]
fn a_stalled_reader_is_disconnected() {
    let cancelled = Rc::new(Cell::new(0));
    let count = cancelled.clone();
    let root = Tree::new().get(|_| vec![b'x'; 30_000_000]).put_child(
        "stream",
        Tree::new().get(move |_| {
            let count = count.clone();
            Response::stream(move |out| {
                out.write(&vec![b'x'; 30_000_000]);
                let (deferred, trigger) =
                    Deferred::<()>::with_canceller(move |_: Trigger<()>| count.set(count.get() + 1));
                std::mem::forget(trigger);
                deferred
            })
        }),
    );
    serve_with(impatient(|timeouts| timeouts.write = SOON), root, |address| {
        for path in ["/", "/stream"] {
            let mut client = Client::connect(address)?;
            client.send(get(path))?;
            // The client reads nothing until the server resets the connection; `peek` does not change that.
            client.stream().set_read_timeout(Some(Duration::from_millis(2)))?;
            while client.stream().take_error()?.is_none() {
                let _ = client.stream().peek(&mut [0]);
                std::thread::yield_now();
            }
        }
        Ok(())
    });
    assert_eq!(cancelled.get(), 1);
}

// W5.2: a slow reader that continues to read is served
#[test]
fn a_slow_reader_is_served() {
    serve_with(
        impatient(|timeouts| timeouts.write = Duration::from_millis(400)),
        |_: &mut Request<'_>| vec![b'x'; 20_000_000],
        |address| {
            let mut client = Client::connect(address)?;
            client.stream().set_read_timeout(Some(Duration::from_secs(5)))?;
            assert_eq!(client.get("/")?.body.len(), 20_000_000);
            Ok(())
        },
    );
}

// W5.4
#[test]
fn the_number_of_connections_is_limited() {
    let settings = Settings { max_connections: 3, ..Settings::default() };
    serve_with(
        settings,
        |_: &mut Request<'_>| "fine",
        |address| {
            let mut clients = Vec::new();
            for _ in 0..3 {
                let mut client = Client::connect(address)?;
                assert_eq!(client.get("/")?.text(), "fine");
                clients.push(client);
            }
            for _ in 0..3 {
                let refused = Client::connect(address)?.get("/").unwrap_err();
                assert!(matches!(
                    refused.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ));
            }
            // When a client leaves, there is room for another.
            let mut leaving = clients.remove(0);
            leaving.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
            leaving.rest()?;
            assert_eq!(clients[0].get("/")?.text(), "fine");
            assert_eq!(Client::connect(address)?.get("/")?.text(), "fine");
            Ok(())
        },
    );
}
