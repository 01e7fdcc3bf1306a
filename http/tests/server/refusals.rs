//! W4: which requests are refused, with which status, and how the connection ends.

use std::io::Write;

use twistor_http::Limits;
use twistor_http::server::{BodyMode, Request, Settings, Tree};
use twistor_http::{Method, StatusCode};

use crate::client::*;

fn unseen() -> impl Fn(&mut Request<'_>) -> StatusCode {
    |request| panic!("this should have been refused: {request:?}")
}

// W4.7, W4.8: a client that continues to send can still read the answer
#[test]
fn bad_requests_are_refused_and_the_connection_closed() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /<> HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        ("GET http://a%zz/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.2\r\n\r\n", 400),
        // W4.4: a target of https, on a connection without TLS
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 421),
        ("GET HTTPS://a HTTP/1.0\r\n\r\n", 421),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;=\r\na\r\n0\r\n\r\n", 400),
        ("A-METHOD-THAT-IS-LONGER-THAN-ANY-METHOD-ANYBODY-WILL-EVER-IMPLEMENT / HTTP/1.1\r\n", 501),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n", 400),
    ];
    serve(unseen(), move |address| {
        for (request, status) in cases {
            let mut client = Client::connect(address)?;
            client.send(format!("{request}{}", get("/behind")))?;
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.closes()), (status, true), "{request:?}");
            client.half_close()?;
            client.expect_end();
        }
        Ok(())
    });
}

// W4.1: without waiting for the end of the head, wherever it is split
#[test]
fn a_malformed_line_is_refused_before_the_head_is_complete() {
    let heads =
        ["GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n", "GET / HTTP/1.1\r\nX: y\r\nHost: a\r\n folded\r\n"];
    serve(unseen(), move |address| {
        for head in heads {
            for cut in 0..head.len() {
                let mut client = Client::connect(address)?;
                client.stream().set_nodelay(true)?;
                client.send(&head[..cut])?;
                client.send(&head[cut..])?;
                let reply = client.reply()?;
                assert_eq!((reply.status, reply.closes()), (400, true), "{head:?} cut at {cut}");
            }
        }
        Ok(())
    });
}

// W4.7: earlier requests are answered first
#[test]
fn a_refusal_follows_the_earlier_answers() {
    serve(
        |_: &mut Request<'_>| "fine",
        |address| {
            let mut client = Client::connect(address)?;
            client.send(
                "HEAD / HTTP/1.1\r\nHost: here\r\n\r\n".to_owned()
                    + &get("/")
                    + "nonsense\r\n\r\n"
                    + &get("/"),
            )?;
            assert_eq!(client.head()?.status, 200);
            assert_eq!(client.reply()?.text(), "fine");
            let refusal = client.reply()?;
            assert_eq!((refusal.status, refusal.text().as_str()), (400, "Bad Request\n"));
            client.half_close()?;
            client.expect_end();
            Ok(())
        },
    );
}

fn small() -> Settings {
    let limits = Limits {
        head_size: 1000,
        header_count: 10,
        target_size: 100,
        body_size: 1000,
        trailers_size: 100,
        ..Limits::default()
    };
    Settings { limits, ..Settings::default() }
}

// W4.7: heads and bodies above their limits
#[test]
fn requests_above_the_limits_are_refused() {
    let with_fields = |count: usize| {
        let fields: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = |count: usize| format!("64\r\n{}\r\n", "x".repeat(100)).repeat(count);
    let cases = [
        (with_fields(9), 200),
        (with_fields(10), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1000)), 431),
        (get(&format!("/{}", "x".repeat(99))), 200),
        (get(&format!("/{}", "x".repeat(100))), 414),
        (get(&format!("/{}", "x".repeat(2000))), 414),
        (post("/", &"x".repeat(1000)), 200),
        (post("/", &"x".repeat(1001)), 413),
        (format!("{chunked}{}0\r\n\r\n", chunks(10)), 200),
        (format!("{chunked}{}0\r\n\r\n", chunks(11)), 413),
        (format!("{chunked}0\r\nx: {}\r\n\r\n", "x".repeat(200)), 431),
        (post("/tiny", "12345"), 200),
        (post("/tiny", "123456"), 413),
        (post("/any", &"x".repeat(100_000)), 200),
    ];
    let up_to = |limit| Tree::new().on_mode(Method::POST, BodyMode::UpTo(limit), |_| "fine");
    let any = |request: &mut Request<'_>| request.stream().expect("taken").collect();
    let root = Tree::new()
        .put_child("tiny", up_to(5))
        .put_child("any", Tree::new().on_mode(Method::POST, BodyMode::Streamed, any))
        .fallback(|_: &mut Request<'_>| "fine");
    serve_with(small(), root, move |address| {
        for (request, status) in cases {
            let mut client = Client::connect(address)?;
            client.send(&request)?;
            let reply = client.reply()?;
            let begin = &request[..request.len().min(60)];
            assert_eq!((reply.status, reply.closes()), (status, status != 200), "{begin:?}");
        }
        Ok(())
    });
}

// W4.7: the refusal replaces 100 Continue
#[test]
fn a_body_above_the_limit_is_not_asked_for() {
    serve_with(small(), unseen(), |address| {
        let mut client = Client::connect(address)?;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")?;
        assert_eq!(client.reply()?.status, 413);
        Ok(())
    });
}

// W4.7: the refusal of a HEAD has no body either
#[test]
fn the_refusal_of_a_head_has_no_body() {
    serve_with(small(), unseen(), |address| {
        let mut client = Client::connect(address)?;
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")?;
        let refusal = client.head()?;
        assert_eq!((refusal.status, refusal.header("content-length")), (413, Some("18")));
        client.half_close()?;
        client.expect_end();
        Ok(())
    });
}

// W4.8: a reset after the answer could destroy it before the client reads it
#[test]
fn a_client_that_continues_to_send_can_read_its_refusal() {
    serve_with(small(), unseen(), |address| {
        for _ in 0..20 {
            let mut client = Client::connect(address)?;
            let stream = client.stream().try_clone()?;
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")?;
            let writer = std::thread::spawn(move || (&stream).write_all(&vec![b'x'; 3_000_000]));
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.closes()), (413, true));
            writer.join().expect("panicked")?;
            client.half_close()?;
            client.expect_end();
        }
        Ok(())
    });
}

// W4.7: an incomplete request
#[test]
fn an_incomplete_request_is_a_bad_request() {
    serve(unseen(), |address| {
        for half in [
            "GET / HT",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        ] {
            let mut client = Client::connect(address)?;
            client.send(half)?;
            client.half_close()?;
            assert_eq!(client.reply()?.status, 400, "{half:?}");
            client.expect_end();
        }
        let mut nothing = Client::connect(address)?;
        nothing.half_close()?;
        nothing.expect_end();
        Ok(())
    });
}
