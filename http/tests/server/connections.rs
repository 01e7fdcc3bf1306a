//! W3: persistent connections, pipelining, HTTP/1.0, Expect, chunks, dates.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use twistor_http::server::{BodyMode, Request, Response, Tree};
use twistor_http::{Method, StatusCode};
use twistor_reactor::defer_later;

use crate::client::*;
use crate::support::DEADLINE;

// W3.2
#[test]
fn a_connection_carries_many_requests() {
    let root = |request: &mut Request<'_>| {
        let body = request.take_body();
        [request.path().as_bytes(), b" ", &body].concat()
    };
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for i in 0..50 {
            client.send(post(&format!("/{i}"), &"x".repeat(i)))?;
            assert_eq!(client.reply()?.text(), format!("/{i} {}", "x".repeat(i)));
        }
        client.send("GET /last HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!((reply.text().as_str(), reply.closes()), ("/last ", true));
        client.expect_end();
        Ok(())
    });
}

// W3.2, E5: in order, one request in flight
#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let running = Rc::new(Cell::new(0));
    let root = Tree::new().children(move |name, _| {
        let running = running.clone();
        let n: u64 = name.parse().ok()?;
        Some(Rc::new(move |request: &mut Request<'_>| {
            assert_eq!(running.replace(running.get() + 1), 0, "two at once");
            let (running, body) = (running.clone(), request.take_body());
            // Immediately, later, and from inside other requests' turns.
            let delay = Duration::from_micros(n % 4 * 300);
            let answer = defer_later(request.reactor(), delay, move || {
                running.set(running.get() - 1);
                Ok(format!("{n} {}", body.len()))
            });
            if n % 5 == 0 { answer.add_callback(Ok) } else { answer }
        }))
    });
    serve(root, |address| {
        let requests: String = (0..300).map(|n| post(&format!("/{n}"), &"b".repeat(n % 7))).collect();
        // However it is split.
        for size in [usize::MAX, 1000, 97] {
            let mut client = Client::connect(address)?;
            let (stream, pieces) = (client.stream().try_clone()?, requests.clone());
            let writer = std::thread::spawn(move || {
                let mut pieces = pieces.as_bytes().chunks(size);
                pieces.try_for_each(|piece| (&stream).write_all(piece))
            });
            for n in 0..300 {
                assert_eq!(client.reply()?.text(), format!("{n} {}", n % 7));
            }
            writer.join().expect("panicked")?;
        }
        Ok(())
    });
}

// W3.2: immediate, deferred and streamed answers in one pipeline
#[test]
fn answers_of_all_kinds_keep_their_order() {
    let root = Tree::new()
        .put_child("now", Tree::new().get(|_| "now"))
        .put_child("fired", Tree::new().get(|_| twistor_deferred::succeed("fired")))
        .put_child(
            "later",
            Tree::new().get(|request| defer_later(request.reactor(), Duration::ZERO, || Ok("later"))),
        )
        .put_child("large", Tree::new().get(|_| vec![b'l'; 300_000]))
        .put_child(
            "stream",
            Tree::new().get(|_| {
                Response::stream(|out| {
                    out.write(b"stream");
                })
            }),
        )
        .put_child("missing", Tree::new());
    let kinds =
        ["now", "fired", "later", "stream", "now", "large", "missing", "later", "now", "stream", "fired"];
    serve(root, move |address| {
        let mut client = Client::connect(address)?;
        for _ in 0..20 {
            client.send(kinds.map(|kind| get(&format!("/{kind}"))).concat())?;
            for kind in kinds {
                let reply = client.reply()?;
                match kind {
                    "missing" => assert_eq!(reply.status, 404),
                    "large" => assert_eq!(reply.body.len(), 300_000),
                    kind => assert_eq!(reply.text(), kind),
                }
            }
        }
        Ok(())
    });
}

// W3.2, E5: a client that never reads is not read from
#[test]
fn a_client_that_never_reads_is_held_up() {
    let handled = Rc::new(Cell::new(0_usize));
    let count = handled.clone();
    let root = move |_: &mut Request<'_>| {
        count.set(count.get() + 1);
        vec![b'x'; 1000]
    };
    let asked = serve(root, |address| {
        let mut client = Client::connect(address)?;
        let request = get("/");
        client.stream().set_write_timeout(Some(Duration::from_millis(200)))?;
        let (mut sent, most) = (0, 64_000_000);
        loop {
            match client.stream().write(&request.as_bytes()[sent % request.len()..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            assert!(sent < most, "the server reads everything and keeps the answers");
        }
        client.stream().set_write_timeout(Some(DEADLINE))?;
        // The rest of the last request is sent when there is room again.
        let mut stream = client.stream().try_clone()?;
        let rest = request.as_bytes()[sent % request.len()..].to_vec();
        let writer = std::thread::spawn(move || {
            stream.write_all(&rest)?;
            stream.shutdown(std::net::Shutdown::Write)
        });
        let asked = sent.div_ceil(request.len());
        for _ in 0..asked {
            assert_eq!(client.reply()?.body.len(), 1000);
        }
        writer.join().expect("panicked")?;
        Ok(asked)
    });
    assert!(asked > 1000, "{asked}");
    assert!(handled.get() >= asked);
}

// W3.3
#[test]
fn http_1_0_closes_unless_keep_alive_is_requested() {
    let root = Tree::new().get(|request| format!("{:?} {:?}", request.version(), request.host()));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!(
            (reply.header("connection"), reply.text().as_str()),
            (Some("keep-alive"), "HTTP/1.0 None")
        );
        client.send("GET / HTTP/1.0\r\nHost: here\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!((reply.closes(), reply.text().as_str()), (true, "HTTP/1.0 Some(\"here\")"));
        client.expect_end();
        Ok(())
    });
}

const EXPECT: &str = "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";

// W3.4: Expect: 100-continue, with the body collected and streamed
#[test]
fn a_client_that_waits_gets_100_continue() {
    let root = || {
        Tree::new()
            .post(|request| request.take_body())
            .on_mode(Method::PUT, BodyMode::Streamed, |request| request.stream().expect("taken").collect())
    };
    serve(root(), |address| {
        for method in ["POST", "PUT"] {
            let mut client = Client::connect(address)?;
            client.send(EXPECT.replace("POST", method))?;
            let interim = client.reply()?;
            assert_eq!((interim.status, interim.head.lines().count()), (100, 2));
            client.send("body")?;
            assert_eq!(client.reply()?.text(), "body", "{method}");
            // A client that does not wait gets no 100 Continue.
            client.send(EXPECT.replace("POST", method) + "body")?;
            let reply = client.reply()?;
            let reply = if reply.status == 100 && method == "PUT" { client.reply()? } else { reply };
            assert_eq!(reply.text(), "body", "{method}");
        }
        Ok(())
    });
}

// W3.4: a refused client need not send the body, so the next bytes are ambiguous and the connection is closed
#[test]
fn a_waiting_client_gets_its_refusal_instead() {
    let root =
        Tree::new().put_child("lazy", Tree::new().on_mode(Method::POST, BodyMode::Streamed, |_| "unread"));
    serve(root, |address| {
        for (path, status) in [("/missing", 404), ("/lazy", 200)] {
            let mut client = Client::connect(address)?;
            client.send(EXPECT.replace(" / ", &format!(" {path} ")))?;
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.closes()), (status, true), "{path}");
            client.half_close()?;
            client.expect_end();
        }
        Ok(())
    });
}

// W3.5: chunked uploads, split anywhere
#[test]
fn chunked_bodies_are_assembled() {
    let root = Tree::new().post(|request| request.take_body()).get(|_| "next");
    serve(root, |address| {
        let request = "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4;ext=1\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: 1\r\n\r\n"
            .to_owned()
            + &get("/");
        for split in 1..request.len() {
            let mut client = Client::connect(address)?;
            client.send(&request[..split])?;
            client.send(&request[split..])?;
            assert_eq!(client.reply()?.text(), "Wikipedia in \r\n\r\nchunks.", "split at {split}");
            assert_eq!(client.reply()?.text(), "next", "split at {split}");
        }
        let mut client = Client::connect(address)?;
        for byte in request.bytes() {
            client.send([byte])?;
        }
        assert_eq!(client.reply()?.text(), "Wikipedia in \r\n\r\nchunks.");
        assert_eq!(client.reply()?.text(), "next");
        Ok(())
    });
}

// W3.2: a short unread body is skipped
#[test]
fn the_rest_of_a_body_is_not_read_as_a_request() {
    let root = Tree::new()
        .get(|_| "next")
        .put_child("lazy", Tree::new().on_mode(Method::POST, BodyMode::Streamed, |_| "unread"));
    serve(root, |address| {
        for path in ["/missing", "/lazy"] {
            let mut client = Client::connect(address)?;
            let request = post(path, &get("/smuggled")) + &get("/");
            let (head, body) = request.split_at(request.find("GET").unwrap_or_default());
            client.send(head)?;
            let status = client.reply()?.status;
            assert_eq!(status, if path == "/lazy" { 200 } else { 404 });
            client.send(body)?;
            assert_eq!(client.reply()?.text(), "next", "{path}");
        }
        Ok(())
    });
}

// W3.2
#[test]
fn a_response_may_close_the_connection() {
    serve(
        |_: &mut Request<'_>| Response::from("bye").close(),
        |address| {
            let mut client = Client::connect(address)?;
            assert!(client.get("/")?.closes());
            client.expect_end();
            Ok(())
        },
    );
}

// W3.6
#[test]
fn every_answer_has_a_date() {
    let root = Tree::new().get(|_| "dated").put_child(
        "own",
        Tree::new().get(|_| Response::from("x").header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")),
    );
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for path in ["/", "/missing"] {
            let reply = client.get(path)?;
            let date = reply.header("date").unwrap();
            let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!((shape.get(3..8), &shape[11..]), (Some(", 00 "), " 0000 00:00:00 GMT"), "{date}");
            assert!(!date.contains(" 1970 "), "{date}");
        }
        let own = client.get("/own")?;
        assert_eq!(
            (own.header("date"), own.head.matches("ate: ").count()),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 1)
        );
        Ok(())
    });
}

// W1.1, W4.7: OPTIONS for the server as a whole, and CONNECT, which only proxies serve
#[test]
fn targets_of_other_forms_are_answered() {
    let root = Tree::new().on(Method::OPTIONS, |request| request.path().to_owned());
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        client.send("OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.reply()?.text(), "*");
        client.send("CONNECT there:80 HTTP/1.1\r\nHost: there:80\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!((reply.status, reply.closes()), (StatusCode::NOT_IMPLEMENTED.as_u16(), true));
        Ok(())
    });
}

// W3.5: split anywhere, followed by the end of the client's half
#[test]
fn requests_may_be_split_anywhere() {
    let request = post("/", "body") + &get("/x");
    serve(
        |request: &mut Request<'_>| request.path().to_owned() + &String::from_utf8_lossy(request.body()),
        move |address| {
            for split in 1..request.len() {
                let mut client = Client::connect(address)?;
                client.send(&request[..split])?;
                client.send(&request[split..])?;
                client.half_close()?;
                assert_eq!(client.reply()?.text(), "/body", "split at {split}");
                assert_eq!(client.reply()?.text(), "/x", "split at {split}");
                let mut byte = [0];
                assert_eq!(client.into_stream().read(&mut byte)?, 0);
            }
            Ok(())
        },
    );
}
