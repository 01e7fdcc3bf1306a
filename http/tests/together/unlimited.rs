//! The largest value of every setting means that there is no limit. Statement P18.

use std::time::Duration;

use ::http::Method;
use twistor_http::server::{Settings, Site, Timeouts};
use twistor_http::{Agent, Limits, Request};

use crate::http_support::{requests, response};
use crate::support::*;
use twistor_deferred::Failure;
use twistor_net::ServerEndpoint;

const FOREVER: Duration = Duration::MAX;

const UNLIMITED: Limits = Limits {
    head_size: usize::MAX,
    header_count: usize::MAX,
    target_size: usize::MAX,
    body_size: u64::MAX,
    chunk_line_size: usize::MAX,
    trailers_size: usize::MAX,
    interim_count: usize::MAX,
};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nHello\r\n0\r\nA: b\r\nC: d\r\n\r\n";

// P18
#[test]
fn messages_are_decoded_without_limits() {
    let many: String = (0..120).map(|field| format!("F{field}: x\r\n")).collect();
    let told = requests(&UNLIMITED, format!("POST / HTTP/1.1\r\nHost: h\r\n{CHUNKED}").as_bytes());
    assert_eq!((told.body.as_slice(), told.ends, told.error), (&b"Hello"[..], 1, None));
    let told = requests(&UNLIMITED, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n").as_bytes());
    assert_eq!((told.ends, told.error), (1, None));
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(30);
    let told =
        response(&Method::GET, &UNLIMITED, format!("{interim}HTTP/1.1 200 OK\r\n{CHUNKED}").as_bytes());
    assert_eq!((told.interim, told.body.as_slice(), told.error), (30, &b"Hello"[..], None));
    let told = response(&Method::GET, &UNLIMITED, format!("HTTP/1.1 200 OK\r\n{many}\r\nrest").as_bytes());
    assert_eq!((told.body.as_slice(), told.error), (&b"rest"[..], None));
    // Lengths that a body never has.
    for length in [u64::MAX, u64::MAX - 1] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nrest");
        assert_eq!(response(&Method::GET, &UNLIMITED, head.as_bytes()).body, b"rest");
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\nrest");
        let told = response(&Method::GET, &UNLIMITED, head.as_bytes());
        assert!(told.body == b"rest" || told.error.is_some(), "{told:?}");
    }
}

// P18
#[test]
fn client_and_server_work_without_limits() {
    on_every_network(|world| {
        world.run(|reactor| {
            let timeouts = Timeouts {
                head: FOREVER,
                body: FOREVER,
                idle: FOREVER,
                write: FOREVER,
                half_closed: FOREVER,
                linger: FOREVER,
            };
            let settings =
                Settings { limits: UNLIMITED, timeouts, max_connections: usize::MAX, grace: FOREVER };
            let site =
                Site::with_settings(reactor, |_: &mut twistor_http::server::Request<'_>| "hello", settings);
            let port = site.listen(ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())).unwrap();
            let url = format!("http://127.0.0.1:{}/", address(&port).port());
            let agent = Agent::new(reactor)
                .max_connections(usize::MAX)
                .max_idle(usize::MAX)
                .keep_idle(FOREVER)
                .max_age(FOREVER);
            reactor.spawn(async move {
                for body in [Vec::new(), vec![b'x'; 100_000]] {
                    let request = Request::post(&url)
                        .body(body)
                        .connect_timeout(FOREVER)
                        .timeout(FOREVER)
                        .idle_timeout(FOREVER)
                        .limits(UNLIMITED)
                        .max_body(u64::MAX)
                        .max_redirects(usize::MAX);
                    let page = agent.get_page(request).await?;
                    assert_eq!(page.body(), b"hello");
                }
                agent.close_idle();
                site.stop().await?;
                Ok::<(), Failure>(())
            })
        });
    });
}

// P18
#[cfg(feature = "compression")]
#[test]
fn a_compressed_page_is_read_without_a_limit() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"hello").unwrap();
    let packed = gzip.finish().unwrap();
    let page = simulated(|reactor| {
        let server = scripted(&Diary::new()).on_data(move |transport, _| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                packed.len()
            );
            transport.write_slices(&[head.as_bytes(), &packed]);
            Ok(())
        });
        let port = listen_once(reactor, server);
        let url = format!("http://127.0.0.1:{}/", address(&port).port());
        Agent::new(reactor).get_page(Request::get(url).max_body(u64::MAX))
    });
    assert_eq!(page.body(), b"hello");
}
