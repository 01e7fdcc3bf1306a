//! The client against servers with scripted answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use support::folder::Folder;
use support::{address, closed_port, listen, run};
use twistor_deferred::{Cancelled, Deferred, DeferredList, Trigger, gather_results, succeed};
use twistor_http::{
    Agent, EncodeError, Fault, HeaderName, HeaderValue, HttpError, InvalidUrl, LimitExceeded, LimitKind,
    Malformed, NoResponse, Page, PartialDownload, RedirectError, Request, RequestStage, RequestTimedOut,
    TimeoutKind, download_page, get_page,
};
use twistor_net::{ConnectRefused, Failure, ListeningPort, Protocol, Transport};
use twistor_reactor::Handle;

/// The request's line about content codings.
const ENCODINGS: &str = if cfg!(feature = "compression") { "Accept-Encoding: gzip, deflate\r\n" } else { "" };

/// How the test server answers a request.
enum Answer {
    /// Sends this and keeps the connection.
    Keep(Vec<u8>),
    /// Sends this and closes.
    Close(Vec<u8>),
    /// Sends this, one byte per turn.
    Drip(Vec<u8>),
    /// Sends this, then resets the connection.
    Reset(Vec<u8>),
}

use Answer::{Close, Drip, Keep, Reset};

fn text(answer: impl AsRef<str>) -> Vec<u8> {
    answer.as_ref().as_bytes().to_vec()
}

fn ok(body: &str) -> Vec<u8> {
    text(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn found(status: &str, location: &str) -> Vec<u8> {
    text(format!("HTTP/1.1 {status} Look\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nmove"))
}

type Answering = Rc<RefCell<dyn FnMut(&str) -> Answer>>;

/// A server that answers each request by a function and records the requests.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    _port: Rc<ListeningPort>,
    seen: Rc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: RefCell<Vec<String>>,
    opened: Cell<usize>,
    lost: Cell<usize>,
    most_open: Cell<usize>,
    waiting: RefCell<Vec<(usize, Trigger<()>)>>,
}

impl Server {
    fn new(handle: &Handle, answer: impl FnMut(&str) -> Answer + 'static) -> Server {
        let seen: Rc<Seen> = Rc::default();
        let answering: Answering = Rc::new(RefCell::new(answer));
        let (factory_seen, factory_handle) = (seen.clone(), handle.clone());
        let port = listen(handle, move |_peer| {
            factory_seen.opened.set(factory_seen.opened.get() + 1);
            let open = factory_seen.opened.get() - factory_seen.lost.get();
            factory_seen.most_open.set(factory_seen.most_open.get().max(open));
            ServerSide {
                handle: factory_handle.clone(),
                seen: factory_seen.clone(),
                answering: answering.clone(),
                received: String::new(),
            }
        });
        Server { address: address(&port), _port: Rc::new(port), seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.seen.requests.borrow().clone()
    }

    /// Fires when at least `count` connections to the server are lost.
    fn when_lost(&self, count: usize) -> Deferred<()> {
        let (deferred, trigger) = Deferred::new();
        if self.seen.lost.get() >= count {
            trigger.callback(());
        } else {
            self.seen.waiting.borrow_mut().push((count, trigger));
        }
        deferred
    }
}

struct ServerSide {
    handle: Handle,
    seen: Rc<Seen>,
    answering: Answering,
    received: String,
}

impl ServerSide {
    /// Removes one complete request from the received text.
    fn request(&mut self) -> Option<String> {
        let head = self.received.find("\r\n\r\n")? + 4;
        let length = self.received[..head]
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok())
            .unwrap_or(0);
        (self.received.len() >= head + length).then(|| self.received.drain(..head + length).collect())
    }
}

impl Protocol for ServerSide {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.received.push_str(std::str::from_utf8(data)?);
        while let Some(request) = self.request() {
            self.seen.requests.borrow_mut().push(request.clone());
            let answer = (self.answering.borrow_mut())(&request);
            match answer {
                Keep(bytes) => {
                    transport.write(&bytes);
                }
                Close(bytes) => {
                    transport.write(&bytes);
                    transport.lose_connection();
                }
                Drip(bytes) => drip(self.handle.clone(), transport.clone(), bytes, 0),
                Reset(bytes) => {
                    transport.write(&bytes);
                    // After the bytes have been sent.
                    let transport = transport.clone();
                    self.handle.call_later(Duration::from_millis(20), move || transport.abort_connection());
                }
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, _reason: Failure) {
        self.seen.lost.set(self.seen.lost.get() + 1);
        let lost = self.seen.lost.get();
        let (due, waiting): (Vec<_>, Vec<_>) =
            self.seen.waiting.take().into_iter().partition(|(count, _)| *count <= lost);
        self.seen.waiting.borrow_mut().extend(waiting);
        due.into_iter().for_each(|(_, trigger)| trigger.callback(()));
    }
}

fn drip(handle: Handle, transport: Transport, bytes: Vec<u8>, at: usize) {
    if at < bytes.len() && transport.write(&bytes[at..=at]) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || drip(next, transport, bytes, at + 1));
    }
}

fn get(url: &str) -> Request {
    Request::get(url)
}

/// Deferreds that are expected to fail.
trait Fails {
    fn fails_somehow(self) -> Deferred<Failure>;
    fn fails<E: std::error::Error + 'static>(self) -> Deferred<E>;
}

impl<T: std::fmt::Debug + 'static> Fails for Deferred<T> {
    fn fails_somehow(self) -> Deferred<Failure> {
        self.add_both(|result| Ok(result.expect_err("it succeeded")))
    }

    fn fails<E: std::error::Error + 'static>(self) -> Deferred<E> {
        self.add_both(|result| result.expect_err("it succeeded").trap::<E>())
    }
}

/// Returns the failure of a request to a server with this answer.
fn failure_of(answer: fn() -> Answer, request: fn(&str) -> Request) -> Failure {
    run(move |reactor| {
        let server = Server::new(reactor, move |_| answer());
        let page = request(&server.url("/")).get_page(reactor);
        page.fails_somehow().add_both(move |failure: Result<Failure, Failure>| {
            drop(server);
            failure
        })
    })
}

#[test]
fn a_page_has_its_body_status_and_headers() {
    // H1.1
    run(|reactor| {
        let server = Server::new(reactor, |_| {
            Close(text("HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nHello"))
        });
        get_page(reactor, server.url("/a?b#c")).add_callback(move |page: Page| {
            assert_eq!((page.body(), page.text().as_ref(), page.status().as_u16()), (&b"Hello"[..], "Hello", 201));
            assert_eq!((page.reason(), page.header("X-a")), ("Made", Some("1")));
            assert_eq!(page.headers().get_all("x-a").iter().count(), 2);
            assert_eq!(page.url().to_string(), server.url("/a?b#c"));
            let host = server.address;
            assert_eq!(
                server.requests(),
                [format!(
                    "GET /a?b HTTP/1.1\r\nHost: {host}\r\nUser-Agent: twistor/0.1.0\r\nAccept: */*\r\n{ENCODINGS}Connection: close\r\n\r\n"
                )]
            );
        })
    });
}

#[test]
fn a_request_sets_method_headers_and_body() {
    // H1.2
    run(|reactor| {
        let server = Server::new(reactor, |_| Close(ok("")));
        let request = Request::new("PUT", server.url("/x"))
            .header("User-Agent", "me")
            .header("Accept", "text/html")
            .header("X-Caf\u{e9}".replace('\u{e9}', "e"), "caf\u{e9}")
            .body("data");
        let posted = Request::post(server.url("/y"));
        let both = [request.get_page(reactor), posted.get_page(reactor)];
        DeferredList::new(both).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok));
            let host = server.address;
            let mut requests = server.requests();
            requests.sort();
            assert_eq!(
                requests,
                [
                    format!(
                        "POST /y HTTP/1.1\r\nHost: {host}\r\nUser-Agent: twistor/0.1.0\r\nAccept: */*\r\n{ENCODINGS}Connection: close\r\nContent-Length: 0\r\n\r\n"
                    ),
                    format!(
                        "PUT /x HTTP/1.1\r\nHost: {host}\r\n{ENCODINGS}Connection: close\r\nuser-agent: me\r\naccept: text/html\r\nx-cafe: caf\u{e9}\r\nContent-Length: 4\r\n\r\ndata"
                    ),
                ]
            );
        })
    });
}

#[test]
fn a_failed_status_is_an_error_with_the_received_page() {
    // H1.1
    let failure =
        failure_of(|| Close(text("HTTP/1.1 404 Gone Fishing\r\nX: y\r\nContent-Length: 4\r\n\r\nnone")), get);
    assert_eq!(failure.to_string(), "404 Gone Fishing");
    let error = failure.trap::<HttpError>().unwrap();
    assert_eq!((error.status.as_u16(), error.body.as_slice()), (404, &b"none"[..]));
    assert_eq!(error.headers.map()["x"], "y");
    let failure = failure_of(|| Close(text("HTTP/1.1 500\r\n\r\n")), get);
    assert_eq!(failure.to_string(), "500 Internal Server Error");
}

#[test]
fn bodies_of_all_kinds_are_complete_even_byte_by_byte() {
    // H2.1
    for (answer, body) in [
        (ok("Hello"), "Hello"),
        (ok(""), ""),
        (
            text(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nHe\r\n3\r\nllo\r\n0\r\nT: r\r\n\r\n",
            ),
            "Hello",
        ),
        (
            text(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello",
            ),
            "Hello",
        ),
        (text("HTTP/1.1 204 No Content\r\n\r\n"), ""),
    ] {
        run(|reactor| {
            let server = Server::new(reactor, move |request| {
                if request.starts_with("GET /drip") { Drip(answer.clone()) } else { Keep(answer.clone()) }
            });
            let pages = ["/", "/drip"].map(|path| get_page(reactor, server.url(path)));
            DeferredList::new(pages).into_deferred().add_callback(move |pages| {
                for page in pages {
                    assert_eq!(page.unwrap().text(), body);
                }
                drop(server);
            })
        });
    }
    run(|reactor| {
        let server = Server::new(reactor, |_| Close(text("HTTP/1.0 200 OK\r\n\r\nto the end")));
        get_page(reactor, server.url("/")).add_callback(move |page| {
            assert_eq!(page.text(), "to the end");
            drop(server);
        })
    });
    run(|reactor| {
        let server = Server::new(reactor, |_| Keep(text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")));
        Request::head(server.url("/")).get_page(reactor).add_callback(move |page| {
            assert_eq!((page.body().len(), page.header("content-length")), (0, Some("5")));
            drop(server);
        })
    });
}

#[test]
fn an_incomplete_body_is_a_partial_download() {
    // H2.2
    let failure = failure_of(|| Close(text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello")), get);
    let partial = failure.trap::<PartialDownload>().unwrap();
    assert_eq!((partial.body.as_slice(), partial.received, partial.expected), (&b"Hello"[..], 5, Some(9)));
    assert_eq!(partial.to_string(), "partial download: 5 bytes of 9: the server closed the connection");

    let chunks = || Close(text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"));
    let partial = failure_of(chunks, get).trap::<PartialDownload>().unwrap();
    assert_eq!((partial.body.as_slice(), partial.expected), (&b"Hello"[..], None));

    let reset = || Reset(text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello"));
    let partial = failure_of(reset, get).trap::<PartialDownload>().unwrap();
    assert_eq!(partial.body, b"Hello");
    assert!(partial.cause.contains("reset"), "{partial}");
    // A body that ends with the connection is incomplete if that end is a reset.
    let reset = || Reset(text("HTTP/1.1 200 OK\r\n\r\nHello"));
    let partial = failure_of(reset, get).trap::<PartialDownload>().unwrap();
    assert_eq!((partial.body.as_slice(), partial.expected), (&b"Hello"[..], None));
}

#[test]
fn no_response_differs_from_an_incomplete_head() {
    // H2.5
    let none = failure_of(|| Close(vec![]), get).trap::<NoResponse>().unwrap();
    assert_eq!(none, NoResponse { partial: false, cause: "the server closed the connection".into() });
    let half = failure_of(|| Close(text("HTTP/1.1 200 OK\r\nConte")), get);
    assert!(half.trap::<NoResponse>().unwrap().partial);
    let reset = failure_of(|| Reset(vec![]), get).trap::<NoResponse>().unwrap();
    assert!(reset.cause.contains("reset"), "{reset}");
}

#[test]
fn an_invalid_response_is_malformed() {
    // H6.4
    for (answer, fault) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", Fault::InvalidStatusLine),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Fault::RepeatedContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx", Fault::InvalidChunkSize),
        ("HTTP/1.1 101 Switching\r\n\r\n", Fault::UnexpectedUpgrade),
    ] {
        run(move |reactor| {
            // The server does not close the connection, so the client must.
            let server = Server::new(reactor, move |_| Keep(text(answer)));
            get_page(reactor, server.url("/")).fails::<Malformed>().add_callback(move |malformed| {
                assert_eq!(malformed.fault, fault);
                server.when_lost(1).add_callback(move |()| drop(server))
            })
        });
    }
}

#[test]
fn a_client_recognizes_a_server_that_speaks_tls() {
    // H6.8: an alert, as for a plain request, and a handshake message
    for answer in [|| Close(b"\x15\x03\x03\0\x02\x02\x46".into()), || Close(b"\x16\x03\x03\0\x05".into())] {
        let malformed = failure_of(answer, get).trap::<Malformed>().unwrap();
        assert_eq!(malformed.fault, Fault::TlsRecord);
        let told = "the server speaks TLS on this port: its URL has to begin with https";
        assert_eq!(malformed.to_string(), told);
    }
}

#[test]
fn each_limit_has_its_error() {
    // H4.8, H4.9
    use twistor_http::Limits;
    let long = || Keep(text(format!("HTTP/1.1 200 OK\r\nA: {}\r\n", "x".repeat(2000))));
    let small_head = |url: &str| Request::get(url).limits(Limits { head_size: 1000, ..Limits::default() });
    assert_eq!(
        failure_of(long, small_head).trap::<LimitExceeded>().unwrap(),
        LimitExceeded::new(LimitKind::HeadSize, 1000)
    );

    let many = || Keep(text(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(11))));
    let few = |url: &str| Request::get(url).limits(Limits { header_count: 10, ..Limits::default() });
    assert_eq!(
        failure_of(many, few).trap::<LimitExceeded>().unwrap(),
        LimitExceeded::new(LimitKind::HeaderCount, 10)
    );

    let small = |url: &str| Request::get(url).max_body(4);
    for answer in [
        || Keep(ok("Hello")),
        || {
            Keep(text(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nHel\r\n2\r\nlo\r\n0\r\n\r\n",
            ))
        },
        || Keep(text("HTTP/1.1 200 OK\r\n\r\nHello")),
    ] {
        assert_eq!(
            failure_of(answer, small).trap::<LimitExceeded>().unwrap(),
            LimitExceeded::new(LimitKind::BodySize, 4)
        );
    }
}

#[test]
fn an_error_page_above_the_limit_reports_its_status() {
    // H4.3
    for answer in [
        || Keep(text("HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nHello")),
        || Keep(text("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n")),
        || Close(text("HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nHell")),
    ] {
        let error = failure_of(answer, |url| Request::get(url).max_body(4)).trap::<HttpError>().unwrap();
        assert_eq!((error.status.as_u16(), &error.body[..]), (404, &b"Hell"[..]));
    }
}

#[test]
fn a_collected_body_has_the_limit_of_a_page() {
    // H4.2: a streamed body has no limit unless the request sets one
    run(|reactor| {
        let server = Server::new(reactor, |_| {
            let body = "x".repeat(1 << 20);
            Keep(text(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", 200 << 20)))
        });
        let agent = Agent::new(reactor);
        let page = get_page(reactor, server.url("/")).fails::<LimitExceeded>();
        let streamed = agent.request(server.url("/"));
        page.add_callback(|error| assert_eq!(error.limit, 128 << 20))
            .add_callback(move |()| streamed)
            .add_callback(move |response| {
                assert_eq!(response.length(), Some(200 << 20));
                drop((response, server));
            })
    });
}

#[test]
fn timeouts_close_the_connection() {
    // H4.7, H4.9
    let short = Duration::from_millis(15);
    run(move |reactor| {
        let server = Server::new(reactor, |_| Keep(vec![]));
        let page = Request::get(server.url("/")).timeout(short).get_page(reactor);
        page.fails::<RequestTimedOut>().add_callback(move |late| {
            assert_eq!((late.kind, late.stage, late.after), (TimeoutKind::Total, RequestStage::Head, short));
            server.when_lost(1).add_callback(move |()| drop(server))
        })
    });
    run(move |reactor| {
        let server =
            Server::new(reactor, |_| Keep(text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello")));
        let page = Request::get(server.url("/")).idle_timeout(short).get_page(reactor);
        page.fails::<RequestTimedOut>().add_callback(move |late| {
            assert_eq!((late.kind, late.stage, late.after), (TimeoutKind::Idle, RequestStage::Body, short));
            server.when_lost(1).add_callback(move |()| drop(server))
        })
    });
}

#[test]
fn refused_connections_and_invalid_urls_have_their_errors() {
    // H1.1, P6
    run(|reactor| {
        get_page(reactor, format!("http://127.0.0.1:{}/", closed_port()))
            .fails::<ConnectRefused>()
            .add_callback(|_| ())
    });
    run(|reactor| {
        let bad =
            [get_page(reactor, "http://h<"), get_page(reactor, "ftp://h/"), get_page(reactor, "http://")];
        for page in bad {
            assert!(page.is_fired());
            drop(page.fails::<InvalidUrl>());
        }
        succeed(())
    });
}

#[test]
fn an_error_of_an_invalid_part_quotes_it() {
    // H7.8
    run(|reactor| {
        let url = "http://127.0.0.1:1/";
        let refused = [
            (Request::new("G T\r", url), r#"invalid method "G T\r""#),
            (Request::new("", url), r#"invalid method """#),
            (
                Request::new("CONNECT", url),
                r#"invalid method "CONNECT": it opens tunnels and fetches nothing"#,
            ),
            (Request::get(url).header("A b\n", "c"), r#"invalid header name "A b\n""#),
            (Request::get(url).header("A", "b\0"), "invalid character at byte 1 of the value of header A"),
        ];
        let told = refused.map(|(request, text)| {
            request.get_page(reactor).fails_somehow().add_callback(move |failure| {
                assert_eq!(failure.to_string(), text);
                assert_eq!(failure.user_location().file(), file!(), "{failure:?}");
            })
        });
        gather_results(told).add_callback(|_| ())
    });
}

#[test]
fn input_that_would_split_a_request_is_refused_unsent() {
    // H7.6, H7.7
    run(|reactor| {
        let server = Server::new(reactor, |_| Close(ok("")));
        let url = server.url("/");
        for request in [
            Request::new("G T", &url),
            Request::new("GET\r\nX: y", &url),
            Request::new("", &url),
            Request::get(&url).header("A", "b\r\nEvil: 1"),
            Request::get(&url).header("A", "b\0"),
            Request::get(&url).header("A\r\n", "b"),
            Request::get(&url).header("A b", "c"),
            Request::get(&url).header("", "c"),
            Request::get(&url).header("Content-Length", "5"),
            Request::get(&url).header("Transfer-Encoding", "chunked"),
            Request::new("CONNECT", &url),
            Request::new("TRACE", &url).body("x"),
        ] {
            drop(request.get_page(reactor).fails::<EncodeError>());
        }
        for bad in ["/a\r\nEvil: 1", "/\0", "/\n"] {
            drop(get_page(reactor, server.url(bad)).fails::<InvalidUrl>());
        }
        get_page(reactor, &url).add_callback(move |_| {
            assert_eq!(server.requests().len(), 1, "only the last request was sent");
        })
    });
}

// H7.5
#[test]
fn a_request_has_only_the_fields_that_its_method_allows() {
    run(|reactor| {
        let server = Server::new(reactor, |_| Close(ok("")));
        let url = server.url("/").replace("http://", "http://me:secret@");
        let trace = Request::new("TRACE", &url).header("Cookie", "secret").header("X-Key", "secret");
        let trace = trace.sensitive_headers(["x-key"]).header("X-Other", "sent").get_page(reactor);
        let plain = Request::get(server.url("/")).header("Host", "a").header("Host", "b");
        let plain = plain.header("Expect", "100-continue").header("TE", "trailers").get_page(reactor);
        trace.add_callback(move |_| plain).add_callback(move |_| {
            let requests = server.requests();
            let (trace, plain) = match &requests[..] {
                [one, other] if one.starts_with("TRACE") => (one, other),
                [one, other] => (other, one),
                _ => panic!("{requests:?}"),
            };
            assert!(!trace.contains("secret") && !trace.contains("uthorization"), "{trace}");
            assert!(trace.contains("x-other: sent"), "{trace}");
            assert!(plain.contains("host: b\r\n") && plain.to_lowercase().matches("\r\nhost:").count() == 1);
            assert!(!plain.contains("expect"), "{plain}");
            assert!(plain.contains("Connection: close, TE\r\n") && plain.contains("te: trailers"), "{plain}");
        })
    });
}

#[test]
fn redirects_change_the_method_by_their_status() {
    // H3.8
    for (status, method, body, then) in [
        ("301", "GET", "", "GET /b?c HTTP/1.1"),
        ("302", "POST", "data", "GET /b?c HTTP/1.1"),
        ("303", "PUT", "data", "GET /b?c HTTP/1.1"),
        ("307", "POST", "data", "POST /b?c HTTP/1.1"),
        ("308", "PUT", "data", "PUT /b?c HTTP/1.1"),
    ] {
        for pooled in [false, true] {
            run(move |reactor| {
                let server = Server::new(reactor, move |request| {
                    Keep(if request.contains(" /a/x ") { found(status, "../b?c") } else { ok("there") })
                });
                let mut request = Request::new(method, server.url("/a/x#top")).header("Content-Type", "t");
                if !body.is_empty() {
                    request = request.body(body);
                }
                let page =
                    if pooled { Agent::new(reactor).get_page(request) } else { request.get_page(reactor) };
                page.add_callback(move |page| {
                    assert_eq!(
                        (page.text().as_ref(), page.url().to_string()),
                        ("there", server.url("/b?c#top"))
                    );
                    let last = server.requests().pop().unwrap();
                    assert_eq!(last.lines().next(), Some(then));
                    let kept = then.starts_with(method);
                    assert_eq!(last.contains("content-type: t"), kept, "{last}");
                    assert_eq!(last.ends_with("data"), kept && !body.is_empty(), "{last}");
                    assert_eq!(server.seen.opened.get(), if pooled { 1 } else { 2 });
                })
            });
        }
    }
}

#[test]
fn credentials_do_not_cross_origins() {
    // H3.6
    run(|reactor| {
        let other = Server::new(reactor, |_| Close(ok("there")));
        let there = other.url("/");
        let server = Server::new(reactor, move |request| {
            Close(if request.starts_with("GET /1") { found("302", "/2") } else { found("302", &there) })
        });
        let url = server.url("/1").replace("http://", "http://u:p@");
        let request = Request::get(url).header("Cookie", "c=1").header("X-Other", "stays");
        request.get_page(reactor).add_callback(move |_| {
            for request in server.requests() {
                assert!(request.contains("Authorization: Basic dTpw\r\n"), "{request}");
                assert!(request.contains("cookie: c=1"), "{request}");
            }
            let request = other.requests().pop().unwrap().to_lowercase();
            assert!(!request.contains("authorization") && !request.contains("cookie"), "{request}");
            assert!(request.contains("x-other: stays"), "{request}");
        })
    });
    run(|reactor| {
        let other = Server::new(reactor, |_| Close(ok("there")));
        let there = other.url("/");
        let server = Server::new(reactor, move |_| Close(found("307", &there)));
        let request = Request::get(server.url("/")).header("Authorization", "Bearer x").header("Host", "h");
        request.get_page(reactor).add_callback(move |_| {
            assert!(server.requests()[0].contains("authorization: Bearer x\r\nhost: h\r\n"));
            let request = other.requests().pop().unwrap();
            assert!(!request.contains("Bearer"), "{request}");
            assert!(request.contains(&format!("Host: {}\r\n", other.address)), "{request}");
        })
    });
}

// H3.3
#[test]
fn fields_that_describe_a_body_are_dropped_with_it() {
    run(|reactor| {
        let server = Server::new(reactor, |request| {
            Close(if request.starts_with("POST /1") { found("303", "/2") } else { ok("") })
        });
        let request = Request::post(server.url("/1")).body("x").header("X-Other", "stays");
        let names =
            ["Content-Type", "Content-Disposition", "Content-MD5", "Digest", "Repr-Digest", "Last-Modified"];
        let request = names.iter().fold(request, |request, name| request.header(name, "gone"));
        let request = request.header("Expect", "100-continue").header("Trailer", "gone");
        request.get_page(reactor).add_callback(move |_| {
            assert_eq!(server.requests()[0].matches("gone").count(), names.len() + 1);
            let second = server.requests()[1].to_lowercase();
            assert!(second.starts_with("get /2") && second.contains("x-other: stays"), "{second}");
            assert!(
                ["gone", "100-continue", "content-"].iter().all(|text| !second.contains(text)),
                "{second}"
            );
        })
    });
}

// H3.4
#[test]
fn secret_headers_stay_with_their_origin() {
    run(|reactor| {
        let other = Server::new(reactor, |_| Close(ok("there")));
        let there = other.url("/");
        let server = Server::new(reactor, move |_| Close(found("302", &there)));
        let mut marked = HeaderValue::from_static("secret");
        marked.set_sensitive(true);
        let marked = [(HeaderName::from_static("x-marked"), marked)].into_iter().collect();
        let request = Request::get(server.url("/"))
            .sensitive_headers(["X-Api-Key", "x-late"])
            .header("X-API-KEY", "secret")
            .headers(&marked)
            .header("Cookie2", "secret")
            .header("WWW-Authenticate", "secret")
            .header("X-Other", "stays");
        let shown = format!("{request:?}");
        assert!(shown.contains("stays") && shown.matches("secret").count() == 2, "{shown}");
        request.get_page(reactor).add_callback(move |_| {
            assert_eq!(server.requests()[0].matches("secret").count(), 4);
            let request = other.requests().pop().unwrap();
            assert!(!request.contains("secret") && request.contains("x-other: stays"), "{request}");
        })
    });
    let invalid = failure_of(|| Close(ok("")), |url| Request::get(url).sensitive_headers(["a b"]));
    assert!(invalid.is::<EncodeError>());
}

#[test]
fn redirects_have_their_own_errors() {
    // H3.5, H4.9
    run(|reactor| {
        let count = Cell::new(0);
        let server = Server::new(reactor, move |_| {
            count.set(count.get() + 1);
            Close(found("302", &format!("/{}", count.get())))
        });
        let page = Request::get(server.url("/")).max_redirects(3).get_page(reactor);
        page.fails::<RedirectError>().add_callback(move |error| {
            assert_eq!((error, server.requests().len()), (RedirectError::TooMany { limit: 3 }, 4));
        })
    });
    let failure = failure_of(|| Close(found("302", "/")), get);
    assert_eq!(failure.trap::<RedirectError>().unwrap(), RedirectError::TooMany { limit: 20 });
    let failure = failure_of(|| Close(found("302", "ftp://h/")), get);
    assert!(matches!(failure.trap::<RedirectError>(), Ok(RedirectError::Invalid(_))));
    let failure = failure_of(|| Close(found("302", "/x")), |url| Request::get(url).keep_redirects());
    let error = failure.trap::<HttpError>().unwrap();
    assert_eq!((error.status.as_u16(), error.headers.get("location")), (302, Some(&b"/x"[..])));
    let failure = failure_of(|| Close(text("HTTP/1.1 302 Found\r\n\r\n")), get);
    assert!(failure.trap::<HttpError>().is_ok(), "without Location it is not a redirect");
}

#[test]
fn two_hundred_pages_are_fetched_at_once() {
    // H1.1
    run(|reactor| {
        let server = Server::new(reactor, |request| Close(ok(request.split(' ').nth(1).unwrap())));
        let pages = (0..200).map(|number| get_page(reactor, server.url(&format!("/{number}"))));
        DeferredList::new(pages.collect::<Vec<_>>()).into_deferred().add_callback(move |pages| {
            for (number, page) in pages.into_iter().enumerate() {
                assert_eq!(page.unwrap().text(), format!("/{number}"));
            }
            drop(server);
        })
    });
}

fn pages(agent: &Agent, server: &Server, count: usize) -> Deferred<()> {
    let pages: Vec<_> = (0..count).map(|number| agent.get_page(server.url(&format!("/{number}")))).collect();
    DeferredList::new(pages).into_deferred().add_callback(|pages| {
        for (number, page) in pages.into_iter().enumerate() {
            assert_eq!(page.unwrap().text(), format!("/{number}"));
        }
    })
}

fn echo_path(request: &str) -> Answer {
    Keep(ok(request.split(' ').nth(1).unwrap()))
}

#[test]
fn a_kept_connection_serves_the_next_request() {
    // H5.7
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor);
        let (again, other) = (agent.clone(), server.clone());
        pages(&agent, &server, 1).add_callback(move |()| pages(&again, &other, 1)).add_callback(move |()| {
            assert_eq!((server.seen.opened.get(), agent.connections()), (1, (1, 1)));
            assert!(!server.requests()[0].contains("Connection:"));
            drop(agent);
            // When the last clone is dropped, the connection is closed.
            server.when_lost(1).add_callback(move |()| drop(server))
        })
    });
}

#[test]
fn a_limited_number_of_connections_serves_all_requests() {
    // H5.8
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor).max_connections(3);
        let all = pages(&agent, &server, 50);
        assert_eq!(agent.connections(), (3, 0));
        all.add_callback(move |()| {
            assert_eq!((server.seen.opened.get(), server.seen.most_open.get()), (3, 3));
            assert_eq!(agent.connections(), (3, 3));
        })
    });
}

#[test]
fn a_queued_request_proceeds_when_a_connection_ends() {
    // H5.8
    run(|reactor| {
        let server = Server::new(reactor, |request| {
            let path = request.split(' ').nth(1).unwrap();
            Close(text(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{path}")))
        });
        let agent = Agent::new(reactor).max_connections(2);
        pages(&agent, &server, 20).add_callback(move |()| {
            assert_eq!(server.requests().len(), 20, "each request was sent once");
            assert_eq!((server.seen.opened.get(), agent.connections().1), (20, 0));
        })
    });
}

#[test]
fn closing_and_doubtful_connections_are_not_reused() {
    // H5.10, H6.7
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n/0",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n/0",
        // Bytes that do not belong to a response.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/0HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        run(move |reactor| {
            let server = Server::new(reactor, move |_| Keep(text(answer)));
            let agent = Agent::new(reactor);
            let (again, other) = (agent.clone(), server.clone());
            pages(&agent, &server, 1).add_callback(move |()| pages(&again, &other, 1)).add_callback(
                move |()| {
                    assert_eq!(server.seen.opened.get(), 2, "{answer}");
                    server.when_lost(2).add_callback(move |()| drop((server, agent)))
                },
            )
        });
    }
}

#[test]
fn a_stale_connection_is_retried_once_if_the_method_allows() {
    // H5.9
    for (method, retried) in
        [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false)]
    {
        run(move |reactor| {
            // The second request on a connection finds it closed by the server.
            let served = Cell::new(0);
            let server = Server::new(reactor, move |_| {
                served.set(served.get() + 1);
                if served.get() == 2 { Close(vec![]) } else { Keep(ok("ok")) }
            });
            let agent = Agent::new(reactor);
            let first = agent.get_page(Request::get(server.url("/")));
            let (again, url) = (agent.clone(), server.url("/"));
            first.add_callback(move |_| again.get_page(Request::new(method, url))).add_both(
                move |result: Result<Page, Failure>| {
                    assert_eq!(result.is_ok(), retried, "{method}: {result:?}");
                    assert_eq!(server.requests().len(), if retried { 3 } else { 2 });
                    if let Err(failure) = result {
                        assert!(failure.is::<NoResponse>());
                    }
                    drop(agent);
                },
            )
        });
    }
    // Only once, and not on a new connection.
    run(|reactor| {
        let first = Cell::new(true);
        let server = Server::new(reactor, move |_| if first.take() { Keep(ok("ok")) } else { Close(vec![]) });
        let agent = Agent::new(reactor);
        let (again, url) = (agent.clone(), server.url("/"));
        agent.get_page(Request::get(&url)).add_callback(move |_| again.get_page(Request::get(url))).add_both(
            move |result: Result<Page, Failure>| {
                assert!(result.unwrap_err().is::<NoResponse>());
                assert_eq!(server.requests().len(), 3);
                drop(agent);
            },
        )
    });
}

#[test]
fn idle_connections_are_limited_by_time_number_and_age() {
    // H5.8
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor).keep_idle(Duration::from_millis(10));
        let other = server.clone();
        pages(&agent, &server, 3).add_callback(move |()| other.when_lost(3)).add_callback(move |()| {
            assert_eq!(agent.connections(), (0, 0));
            drop(server);
        })
    });
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor).max_idle(2);
        pages(&agent, &server, 5).add_callback(move |()| {
            assert_eq!(agent.connections().1, 2);
            server.when_lost(3).add_callback(move |()| {
                assert_eq!(agent.connections(), (2, 2));
                drop((server, agent));
            })
        })
    });
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor).max_age(Duration::ZERO);
        pages(&agent, &server, 2).add_callback(move |()| {
            assert_eq!(agent.connections().1, 0);
            server.when_lost(2).add_callback(move |()| drop((server, agent)))
        })
    });
}

#[test]
fn cancelling_closes_the_connection_and_frees_its_place() {
    // H9.1
    run(|reactor| {
        let server = Server::new(reactor, |request| {
            if request.starts_with("GET /never") {
                Keep(text("HTTP/1.1 200 OK\r\n"))
            } else {
                echo_path(request)
            }
        });
        let agent = Agent::new(reactor).max_connections(1);
        let stuck = agent.get_page(Request::get(server.url("/never")));
        let queued = agent.get_page(Request::get(server.url("/queued")));
        let last = pages(&agent, &server, 1);
        // Cancelled in the queue: the request was never sent.
        queued.cancel();
        let queued = queued.fails::<Cancelled>();
        assert!(queued.is_fired());
        let seen = server.clone();
        let (cancelled, trigger) = Deferred::new();
        cancel_when_asked(Handle::clone(reactor), seen, stuck, trigger);
        DeferredList::new([cancelled, last]).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            let requests = server.requests();
            assert!(requests.iter().all(|request| !request.contains("/queued")), "{requests:?}");
            drop(queued);
            let agent = agent.clone();
            server.when_lost(1).add_callback(move |()| drop((server, agent)))
        })
    });
    // While connecting: only `Cancelled` is reported, and no connection stays open.
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let page = get_page(reactor, server.url("/"));
        page.cancel();
        page.fails::<Cancelled>().add_callback(move |_| assert_eq!(server.requests().len(), 0))
    });
}

/// Cancels a request once the server has seen it.
fn cancel_when_asked(handle: Handle, server: Server, stuck: Deferred<Page>, trigger: Trigger<()>) {
    if server.requests().is_empty() {
        let again = handle.clone();
        handle.call_later(Duration::ZERO, move || cancel_when_asked(again, server, stuck, trigger));
        return;
    }
    stuck.cancel();
    drop(stuck.fails::<Cancelled>().add_both(move |result| trigger.fire(result.map(|_| ()))));
}

#[test]
fn a_thousand_requests_half_of_them_cancelled_share_two_sockets() {
    // H5.8, H9.1
    run(|reactor| {
        let server = Server::new(reactor, echo_path);
        let agent = Agent::new(reactor).max_connections(2);
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut kept = Vec::new();
        for number in 0..1000 {
            let order = order.clone();
            let page = agent.get_page(Request::get(server.url(&format!("/{number}"))));
            if number % 2 == 1 && number > 1 {
                page.cancel();
                drop(page.fails::<Cancelled>());
            } else {
                kept.push(page.add_callback(move |page| {
                    assert_eq!(page.text(), format!("/{number}"));
                    order.borrow_mut().push(number);
                }));
            }
        }
        DeferredList::new(kept).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok));
            assert_eq!(order.borrow().len(), 501);
            let sent: Vec<String> = server.requests();
            assert_eq!(sent.len(), 501);
            assert_eq!(server.seen.opened.get(), 2);
            drop(agent);
        })
    });
}

#[test]
fn dropping_the_reactor_fires_requests_in_progress() {
    // H9.3, R8
    let fired = Rc::new(Cell::new(0));
    {
        let reactor = twistor_reactor::Reactor::new().unwrap();
        let server = Server::new(&reactor, |_| Keep(text("HTTP/1.1 200 OK\r\n")));
        let agent = Agent::new(&reactor).max_connections(1);
        for _ in 0..3 {
            let fired = fired.clone();
            let page = agent.get_page(Request::get(server.url("/")));
            drop(page.fails_somehow().add_callback(move |_| fired.set(fired.get() + 1)));
        }
        while server.requests().is_empty() {
            reactor.turn(Some(Duration::from_millis(50))).unwrap();
        }
        drop((server, agent));
    }
    assert_eq!(fired.get(), 3);
}

#[test]
fn a_body_is_received_piece_by_piece() {
    // H1.3
    run(|reactor| {
        let large = "x".repeat(3_000_000);
        let answer = ok(&large);
        let server = Server::new(reactor, move |_| Keep(answer.clone()));
        let agent = Agent::new(reactor);
        let response = agent.request(Request::get(server.url("/")));
        response.add_callback(move |response| {
            assert_eq!((response.status().as_u16(), response.length()), (200, Some(3_000_000)));
            let body = Rc::new(response.into_body());
            read_on(body, 0).add_callback(move |length| {
                assert_eq!(length, large.len());
                assert_eq!(agent.connections(), (1, 1), "the connection is kept");
                drop(server);
            })
        })
    });
}

fn read_on(body: Rc<twistor_http::ResponseBody>, sum: usize) -> Deferred<usize> {
    let next = body.next();
    next.add_callback(move |piece| match piece {
        Some(piece) => read_on(body, sum + piece.len()),
        None => succeed(sum),
    })
}

#[test]
fn a_body_can_be_delivered_collected_or_dropped() {
    // H1.3, H9.2
    run(|reactor| {
        let server = Server::new(reactor, |request| {
            if request.starts_with("GET /short") {
                Close(text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello"))
            } else {
                echo_path(request)
            }
        });
        let agent = Agent::new(reactor);
        let came = Rc::new(RefCell::new(Vec::new()));
        let pieces = came.clone();
        let delivered = agent
            .request(Request::get(server.url("/abc")))
            .add_callback(move |response| {
                response.into_body().deliver(move |piece| {
                    pieces.borrow_mut().extend_from_slice(piece);
                    Ok(())
                })
            })
            .add_callback(move |()| assert_eq!(*came.borrow(), b"/abc"));
        let collected = agent
            .request(Request::get(server.url("/def")))
            .add_callback(|response| response.into_body().collect())
            .add_callback(|body| assert_eq!(body, b"/def"));
        let short = agent
            .request(Request::get(server.url("/short")))
            .add_callback(|response| response.into_body().collect())
            .fails::<PartialDownload>()
            .add_callback(|partial| {
                assert_eq!((partial.body.as_slice(), partial.expected), (&b"Hello"[..], Some(9)))
            });
        let refused = agent
            .request(Request::get(server.url("/ghi")))
            .add_callback(|response| response.into_body().deliver(|_| Err(Failure::new("enough"))))
            .fails_somehow()
            .add_callback(|failure| assert_eq!(failure.to_string(), "enough"));
        DeferredList::new([delivered, collected, short, refused]).into_deferred().add_callback(
            move |results| {
                assert!(results.iter().all(Result::is_ok), "{results:?}");
                drop((agent, server));
            },
        )
    });
    run(|reactor| {
        let server =
            Server::new(reactor, |_| Keep(text("HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nHello")));
        let agent = Agent::new(reactor);
        agent.request(Request::get(server.url("/"))).add_callback(move |response| {
            assert_eq!(response.status().as_u16(), 404, "an error status is a normal response");
            drop(response);
            server.when_lost(1).add_callback(move |()| {
                assert_eq!(agent.connections(), (0, 0));
                drop((server, agent));
            })
        })
    });
}

#[test]
fn a_download_is_renamed_when_it_is_complete() {
    // H8.6
    run(|reactor| {
        let folder = Folder::new("whole");
        let large: String = (0..200_000u32).map(|number| format!("{number:06}")).collect();
        let answer = ok(&large);
        let server = Server::new(reactor, move |_| Keep(answer.clone()));
        let path = folder.join("page");
        std::fs::write(&path, "old").unwrap();
        let told = Rc::new(RefCell::new(Vec::new()));
        let (telling, watched) = (told.clone(), path.clone());
        let progress = move |received, expected| {
            // Until the end, the old file is in place.
            assert_eq!(std::fs::read(&watched).unwrap(), b"old");
            assert_eq!(expected, Some(1_200_000));
            telling.borrow_mut().push(received);
        };
        Request::get(server.url("/")).download_page(reactor, &path, progress).add_callback(move |bytes| {
            assert_eq!((bytes, told.borrow().last()), (1_200_000, Some(&1_200_000)));
            assert!(told.borrow().is_sorted());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), large);
            assert_eq!(folder.names(), ["page"]);
            drop(server);
        })
    });
}

#[test]
fn a_failed_download_keeps_the_old_file() {
    // H8.7
    run(|reactor| {
        let folder = Folder::new("failed");
        let path = folder.join("page");
        std::fs::write(&path, "old").unwrap();
        let server = Server::new(reactor, |request| {
            Close(text(match request.split(' ').nth(1).unwrap() {
                "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello",
                "/bad" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx",
                _ => "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone",
            }))
        });
        let short = download_page(reactor, server.url("/short"), &path).fails::<PartialDownload>();
        let bad = download_page(reactor, server.url("/bad"), &path).fails::<Malformed>();
        let none = download_page(reactor, server.url("/none"), &path)
            .fails::<HttpError>()
            .add_callback(|error| assert_eq!(error.body, b"none"));
        let cancelled = download_page(reactor, server.url("/short"), &path);
        cancelled.cancel();
        let nowhere = folder.join("no folder").join("page");
        let nowhere = download_page(reactor, server.url("/short"), nowhere).fails::<std::io::Error>();
        let all = [
            short.add_callback(|_| ()),
            bad.add_callback(|_| ()),
            none,
            cancelled.fails::<Cancelled>().add_callback(|_| ()),
            nowhere.add_callback(|_| ()),
        ];
        DeferredList::new(all).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            assert_eq!(folder.names(), ["page"]);
            drop(server);
        })
    });
}

#[cfg(unix)]
#[test]
fn a_download_does_not_replace_a_folder_or_a_socket() {
    // H8.8
    use std::os::unix::fs::FileTypeExt;
    run(|reactor| {
        let folder = Folder::new("special");
        let (socket, inner) = (folder.join("socket"), folder.join("folder"));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::create_dir(&inner).unwrap();
        // Also through a symbolic link.
        let link = folder.join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let server = Server::new(reactor, |_| Keep(ok("Hello")));
        let refused = [&socket, &inner, &link].map(|path| {
            let shown = path.display().to_string();
            download_page(reactor, server.url("/"), path).add_both(move |result| {
                let failure = result.expect_err("it is not a regular file");
                assert!(failure.to_string().contains(&shown), "{failure}");
                failure.trap::<std::io::Error>().map(|_| ())
            })
        });
        DeferredList::new(refused).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
            assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(folder.names(), ["folder", "link", "socket"]);
            drop(listener);
            // The connections are closed.
            server.when_lost(3).add_callback(move |()| drop(server))
        })
    });
}
