//! Compressed pages: complete, broken, incomplete, and decompression bombs.

#![cfg(feature = "compression")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use support::{address, listen, run};
use twistor_deferred::{Deferred, DeferredList};
use twistor_http::{
    Agent, HttpError, LimitExceeded, LimitKind, Page, PartialDownload, Request, Response, ResponseBody,
    Undecodable,
};
use twistor_net::{Failure, Protocol, SimulatedNetwork, Transport};
use twistor_reactor::{AddTimeout, Handle, Reactor};

/// Answers each request with the same bytes, in small pieces. Then closes, unless `stays` is set.
#[derive(Clone)]
struct Same {
    wire: Rc<Vec<u8>>,
    piece: usize,
    stays: bool,
    asked: Vec<u8>,
}

impl Same {
    fn new(wire: Vec<u8>, piece: usize) -> Same {
        Same { wire: Rc::new(wire), piece, stays: false, asked: Vec::new() }
    }
}

impl Protocol for Same {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.asked.extend_from_slice(data);
        if self.asked.ends_with(b"\r\n\r\n") {
            for piece in self.wire.chunks(self.piece) {
                transport.write(piece);
            }
            self.asked.clear();
            if !self.stays {
                transport.lose_connection();
            }
        }
        Ok(())
    }
}

fn answer(coding: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bare(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Fetches a page from a server that answers with `wire`. `change` adapts the request.
fn fetch(
    reactor: &Reactor,
    wire: Vec<u8>,
    change: impl FnOnce(Request) -> Request,
) -> Deferred<Result<Page, Failure>> {
    let piece = if wire.len() < 1000 { 1 } else { 5000 };
    let same = Same::new(wire, piece);
    let port = listen(reactor, move |_peer| same.clone());
    let request = Request::get(format!("http://{}/", address(&port)));
    change(request).get_page(reactor).add_both(move |result| {
        drop(port);
        Ok(result)
    })
}

fn text() -> Vec<u8> {
    (0..20_000u32).flat_map(|number| format!("{} ", number * number % 7919).into_bytes()).collect()
}

#[test]
fn gzip_and_both_kinds_of_deflate_are_decompressed() {
    // H10.4
    let text = text();
    let (one, two) = text.split_at(30_000);
    let cases = [
        ("gzip", gzip(&text)),
        ("X-GZIP", gzip(&text)),
        ("gzip", [gzip(one), gzip(two)].concat()),
        ("deflate", zlib(&text)),
        ("deflate", bare(&text)),
    ];
    for (coding, body) in cases {
        let due = text.clone();
        run(|reactor| {
            fetch(reactor, answer(coding, &body), |request| request)
                .add_callback(move |page| assert!(page.unwrap().body() == due, "{coding}"))
        });
    }
    for (coding, body, due) in [
        ("gzip", gzip(b"Hello"), b"Hello".to_vec()),
        ("gzip", gzip(b""), vec![]),
        ("gzip", vec![], vec![]),
        ("deflate", zlib(b"Hello"), b"Hello".to_vec()),
        ("deflate", bare(b"Hello"), b"Hello".to_vec()),
        // The last bytes decode to more than one piece.
        ("deflate", bare(&[0; (1 << 20) + 300]), vec![0; (1 << 20) + 300]),
        ("deflate", vec![], vec![]),
        // Not requested, so not decoded.
        ("br", b"brotli".to_vec(), b"brotli".to_vec()),
        ("br, gzip", gzip(b"brotli"), gzip(b"brotli")),
        ("identity", b"as it is".to_vec(), b"as it is".to_vec()),
    ] {
        run(|reactor| {
            fetch(reactor, answer(coding, &body), |request| request)
                .add_callback(move |page| assert_eq!(page.unwrap().body(), due, "{coding}"))
        });
    }
}

#[test]
fn a_last_byte_that_decodes_to_more_than_a_piece_is_complete() {
    // H10.7: all the input is consumed while output is still pending, at some lengths around the size of a piece
    let reactor = Reactor::simulated(0);
    for length in (16 << 10)..(16 << 10) + 600 {
        let zeros = vec![0; length];
        let page = fetch(&reactor, answer("deflate", &bare(&zeros)), |request| request);
        let page = reactor.run_until(page).unwrap();
        assert!(page.unwrap().body() == zeros, "{length} bytes");
    }
}

#[test]
fn nested_codings_are_decoded_one_by_one() {
    // H10.5: as curl and Twisted do
    let text = text();
    let five = (0..5).fold(b"Hello".to_vec(), |body, _| gzip(&body));
    let six = gzip(&five);
    for (coding, body, due) in [
        ("gzip, gzip", gzip(&gzip(&text)), text.clone()),
        ("deflate, identity , GZIP,", gzip(&zlib(&text)), text.clone()),
        ("gzip\r\nContent-Encoding: deflate", bare(&gzip(&text)), text.clone()),
        ("gzip, gzip", vec![], vec![]),
        ("gzip, gzip, gzip, gzip, gzip", five, b"Hello".to_vec()),
        // More than five codings are left as they are.
        ("gzip, gzip, gzip, gzip, gzip, gzip", six.clone(), six),
    ] {
        run(|reactor| {
            fetch(reactor, answer(coding, &body), |request| request)
                .add_callback(move |page| assert!(page.unwrap().body() == due, "{coding}"))
        });
    }
    // Faults of an inner coding are reported too, and the limit applies to each coding.
    let inside = gzip(b"Hello");
    for (body, what) in [
        (gzip(&inside[..inside.len() - 1]), "cut after 5 decompressed bytes"),
        (gzip(b"not gzip at all"), "broken after 0 decompressed bytes"),
    ] {
        run(|reactor| {
            fetch(reactor, answer("gzip, gzip", &body), |request| request).add_callback(move |page| {
                let error = page.expect_err(what).trap::<Undecodable>().unwrap();
                assert!(error.to_string().ends_with(what), "{error}");
            })
        });
    }
    let long_name = GzBuilder::new().filename(vec![b'a'; 1 << 20]);
    let long_name = long_name.write(Vec::new(), Compression::default()).finish().unwrap();
    for bomb in [gzip(&gzip(&vec![0; 1 << 20])), gzip(&long_name)] {
        assert!(bomb.len() < 10_000);
        run(|reactor| {
            let page = fetch(reactor, answer("gzip, gzip", &bomb), |request| request.max_body(1 << 16));
            page.add_callback(|page| {
                let error = page.expect_err("it is a decompression bomb").trap::<LimitExceeded>().unwrap();
                assert_eq!(error, LimitExceeded::new(LimitKind::BodySize, 1 << 16));
            })
        });
    }
}

#[test]
fn a_request_that_sets_encodings_gets_the_body_as_it_is() {
    // H10.1, H10.4
    for header in ["Accept-Encoding", "Range"] {
        let body = gzip(b"Hello");
        run(|reactor| {
            fetch(reactor, answer("gzip", &body), move |request| request.header(header, "gzip"))
                .add_callback(move |page| assert_eq!(page.unwrap().body(), body))
        });
    }
}

#[test]
fn a_broken_or_incomplete_body_is_an_error() {
    // H10.7
    let whole = gzip(b"Hello, world!");
    let mut checksum = whole.clone();
    let place = whole.len() - 6;
    checksum[place] ^= 1;
    let mut length = whole.clone();
    *length.last_mut().unwrap() ^= 1;
    for (coding, body, what) in [
        ("gzip", checksum, "broken"),
        ("gzip", length, "broken"),
        ("gzip", b"not gzip at all".to_vec(), "broken"),
        ("gzip", whole[..whole.len() - 1].to_vec(), "cut"),
        ("gzip", whole[..5].to_vec(), "cut"),
        ("gzip", [&whole[..], b"more"].concat(), "followed by other data"),
        ("gzip", [&whole[..], b"\r\n"].concat(), "followed by other data"),
        ("gzip", whole[..whole.len() - 8].to_vec(), "cut"),
        ("gzip", [&whole[..], &whole[..8]].concat(), "cut"),
        ("deflate", zlib(b"Hello")[..6].to_vec(), "cut"),
        ("deflate", vec![0x78], "cut"),
        ("deflate", [zlib(b"Hello"), b"x".to_vec()].concat(), "followed by other data"),
    ] {
        run(|reactor| {
            fetch(reactor, answer(coding, &body), |request| request).add_callback(move |page| {
                let error = page.expect_err(what).trap::<Undecodable>().unwrap();
                assert!(error.to_string().contains(what), "{error}");
                // H10.2
                assert_eq!(error.body.len() as u64, error.decoded);
                assert!(b"Hello, world!".starts_with(&error.body[..]) || error.body == b"Hello, world!");
                assert!(what != "followed by other data" || error.body.starts_with(b"Hello"));
            })
        });
    }
    // The connection ended early. That is reported, not the fault that it caused in the compression.
    let mut wire = answer("gzip", &whole);
    wire.truncate(wire.len() - 3);
    run(|reactor| {
        fetch(reactor, wire, |request| request).add_callback(|page| {
            let partial = page.expect_err("it is incomplete").trap::<PartialDownload>().unwrap();
            assert_eq!(partial.expected, None);
        })
    });
}

#[test]
fn a_decompression_bomb_exceeds_the_limit() {
    // H10.6, H4.8
    let bomb = gzip(&vec![0; 4 << 20]);
    assert!(bomb.len() < 10_000);
    let wire = answer("gzip", &bomb);
    run(|reactor| {
        fetch(reactor, wire.clone(), |request| request.max_body(1 << 16)).add_callback(|page| {
            let error = page.expect_err("it is too large").trap::<LimitExceeded>().unwrap();
            assert_eq!(error, LimitExceeded::new(LimitKind::BodySize, 1 << 16));
        })
    });
    let exact = answer("gzip", &gzip(&[0; 1000]));
    run(|reactor| {
        let fits = fetch(reactor, exact.clone(), |request| request.max_body(1000));
        let too_large = fetch(reactor, exact, |request| request.max_body(999));
        DeferredList::new([fits, too_large]).into_deferred().add_callback(|results| {
            let fine: Vec<bool> = results.into_iter().map(|result| result.unwrap().is_ok()).collect();
            assert_eq!(fine, [true, false]);
        })
    });
}

#[test]
fn a_streamed_body_is_decompressed_too() {
    // H10.4
    let text = text();
    let same = Same::new(answer("gzip", &gzip(&text)), 100);
    run(|reactor| {
        let port = listen(reactor, move |_peer| same.clone());
        let agent = Agent::new(reactor);
        agent.request(Request::get(format!("http://{}/", address(&port)))).add_callback(move |response| {
            assert_eq!((response.length(), response.header("content-encoding")), (None, Some("gzip")));
            response.into_body().collect().add_callback(move |body| {
                assert!(body == text);
                drop((agent, port));
            })
        })
    });
}

/// Configures a network that delivers in one piece all bytes that were sent at once.
fn in_one_piece(handle: &Handle) {
    let network = SimulatedNetwork::of(handle).unwrap();
    network.set_splitting(false);
    network.set_window(1 << 20, 1 << 20);
}

/// Returns a response with this body, still unread after a minute.
async fn unread(handle: &Handle, agent: &Agent, wire: Vec<u8>, limit: u64) -> Result<Response, Failure> {
    in_one_piece(handle);
    let same = Same::new(wire, 1 << 20);
    let port = listen(handle, move |_peer| same.clone());
    let request = Request::get(format!("http://{}/", address(&port))).max_body(limit);
    let response = agent.request(request).await?;
    handle.sleep(Duration::from_secs(60)).await?;
    Ok(response)
}

/// Returns the unread bytes of a body, from its `Debug` text "(1 bytes received, 1 of them unread)".
fn kept(response: &Response) -> usize {
    let told = format!("{:?}", response.body());
    told.split(' ').nth(3).and_then(|kept| kept.parse().ok()).unwrap_or_else(|| panic!("{told}"))
}

/// Reads a body piece by piece. Returns its length and how it ended.
async fn read(body: &ResponseBody) -> (usize, Result<(), Failure>) {
    let mut length = 0;
    loop {
        match body.next().await {
            Ok(Some(piece)) => {
                assert!((1..=16 << 10).contains(&piece.len()));
                length += piece.len();
            }
            Ok(None) => return (length, Ok(())),
            Err(failure) => return (length, Err(failure)),
        }
    }
}

fn simulate(test: impl AsyncFnOnce(Handle) -> Result<(), Failure> + 'static) {
    let reactor = Reactor::simulated(1);
    let handle = Handle::clone(&reactor);
    let done = reactor.spawn(async move { test(handle).await });
    reactor.run_until(done.add_timeout(Duration::from_secs(3600), &reactor)).unwrap();
}

const LARGE: usize = 2 << 20;

#[test]
fn an_unread_bomb_is_kept_compressed_except_for_one_piece() {
    // H10.8, H1.4
    for (coding, bomb) in [
        ("gzip", gzip(&vec![0; LARGE])),
        ("deflate", bare(&vec![0; LARGE])),
        ("deflate, gzip, gzip", gzip(&gzip(&zlib(&vec![0; LARGE])))),
    ] {
        simulate(async move |handle| {
            let agent = Agent::new(&handle);
            let response = unread(&handle, &agent, answer(coding, &bomb), 1 << 30).await?;
            assert_eq!(kept(&response), 0);
            let first = response.body().next().await?.unwrap().len();
            handle.sleep(Duration::from_secs(60)).await?;
            assert_eq!((first, kept(&response)), (16 << 10, 16 << 10));
            let (length, ended) = read(response.body()).await;
            assert_eq!(first + length, LARGE);
            ended
        });
    }
}

#[test]
fn an_unread_compressed_body_is_later_delivered_completely() {
    // H10.8
    simulate(async |handle| {
        let wire = answer("gzip", &gzip(&vec![7; LARGE]));
        let agent = Agent::new(&handle);
        let response = unread(&handle, &agent, wire, 1 << 30).await?;
        assert!(response.into_body().collect().await? == vec![7; LARGE]);
        Ok(())
    });
}

#[test]
fn faults_and_the_limit_are_reported_after_the_data() {
    // H10.7
    let whole = gzip(&vec![0; LARGE]);
    let mut checksum = whole.clone();
    let place = whole.len() - 6;
    checksum[place] ^= 1;
    let wire = answer("gzip", &whole);
    let cases = [
        (answer("gzip", &checksum), 1 << 30, LARGE, "broken after 2097152 decompressed bytes"),
        (answer("gzip", &whole[..whole.len() - 1]), 1 << 30, LARGE, "cut after 2097152"),
        (answer("gzip", &[&whole[..], b"x"].concat()), 1 << 30, LARGE, "followed by other data"),
        (wire.clone(), 1_000_000, 1_000_000, "larger than 1000000 bytes"),
        (wire[..wire.len() - 1].to_vec(), 1 << 30, LARGE, "partial download: 2097152 bytes"),
    ];
    for (wire, limit, due, what) in cases {
        simulate(async move |handle| {
            let agent = Agent::new(&handle);
            let response = unread(&handle, &agent, wire, limit).await?;
            assert!(kept(&response) <= 16 << 10);
            let (length, ended) = read(response.body()).await;
            let told = ended.expect_err(what).to_string();
            assert_eq!((length, told.contains(what)), (due, true), "{told}");
            Ok(())
        });
    }
}

#[test]
fn a_connection_is_free_while_its_body_is_held_back() {
    // H10.8
    simulate(async |handle| {
        in_one_piece(&handle);
        let same = Same { stays: true, ..Same::new(answer("gzip", &gzip(&vec![0; LARGE])), 1 << 20) };
        let port = listen(&handle, move |_peer| same.clone());
        let url = format!("http://{}/", address(&port));
        let agent = Agent::new(&handle).max_connections(1);
        let mut responses = Vec::new();
        for _ in 0..3 {
            responses.push(agent.request(url.as_str()).await?);
        }
        handle.sleep(Duration::from_secs(1)).await?;
        assert_eq!(agent.connections(), (1, 1));
        // One body is dropped, which no longer affects the connection.
        drop(responses.pop());
        assert_eq!(agent.connections(), (1, 1));
        for response in responses {
            assert_eq!(response.into_body().collect().await?.len(), LARGE);
        }
        Ok(())
    });
}

#[test]
fn a_pending_read_fails_when_the_reactor_is_dropped() {
    // H9.3
    let reactor = Reactor::simulated(1);
    let handle = Handle::clone(&reactor);
    let wire = answer("gzip", &gzip(&vec![0; LARGE]));
    let response = reactor.run_until(reactor.spawn(async move {
        let agent = Agent::new(&handle);
        unread(&handle, &agent, wire, 1 << 30).await
    }));
    let body = response.unwrap().into_body();
    let next = body.next();
    assert!(!next.is_fired());
    drop(reactor);
    assert!(next.is_fired());
    drop(next.add_both(|result: Result<_, Failure>| assert!(result.is_err())));
}

/// Streams a body that was received byte by byte or at once. Returns the delivered bytes and the error.
fn streamed(coding: &str, body: &[u8], bytewise: bool, limit: u64) -> (Vec<u8>, Failure) {
    let reactor = Reactor::simulated(0);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    network.set_splitting(false);
    if bytewise {
        network.set_window(1, 1);
    }
    let same = Same::new(answer(coding, body), 1000);
    let port = listen(&reactor, move |_peer| same.clone());
    let request = Request::get(format!("http://{}/", address(&port))).max_body(limit);
    let came: Rc<RefCell<Vec<u8>>> = Rc::default();
    let seen = came.clone();
    let delivered = Agent::new(&reactor).request(request).add_callback(move |response| {
        response.into_body().deliver(move |piece| {
            seen.borrow_mut().extend_from_slice(piece);
            Ok(())
        })
    });
    let failure = reactor.run_until(delivered).unwrap_err();
    (came.take(), failure)
}

#[test]
fn bytes_before_a_fault_or_limit_are_delivered_however_split() {
    // H10.7: two bytes, followed by a block of an invalid type
    let broken = [0x3a, 0xf0, 0x02, 0x27, 0x02, 0xe0];
    for bytewise in [false, true] {
        let (came, failure) = streamed("deflate", &broken, bytewise, 100);
        assert_eq!(came, [192, 232], "byte by byte: {bytewise}");
        assert_eq!(failure.trap::<Undecodable>().unwrap().decoded, 2);
        let (came, failure) = streamed("gzip", &gzip(b"Hello, world!"), bytewise, 5);
        assert_eq!(came, b"Hello", "byte by byte: {bytewise}");
        assert!(failure.check::<LimitExceeded>().is_some_and(LimitExceeded::is_body));
    }
}

// H10.2
#[test]
fn a_collected_undecodable_body_carries_the_decoded_bytes() {
    let reactor = Reactor::simulated(0);
    let same = Same::new(answer("gzip", &[&gzip(b"Hello")[..], b"<!-- cached -->"].concat()), 1000);
    let port = listen(&reactor, move |_peer| same.clone());
    let body = Agent::new(&reactor)
        .request(format!("http://{}/", address(&port)))
        .add_callback(|response| response.into_body().collect());
    let error = reactor.run_until(body).unwrap_err().trap::<Undecodable>().unwrap();
    assert_eq!(error.body, b"Hello");
    // An error page reports its status even if it cannot be decoded.
    let mut page = answer("gzip", b"not gzip");
    page[9..12].copy_from_slice(b"503");
    let error = reactor.run_until(fetch(&reactor, page, |request| request)).unwrap().unwrap_err();
    assert_eq!(error.trap::<HttpError>().unwrap().status.as_u16(), 503);
}

fn count_turns(handle: &Handle, turns: Rc<Cell<usize>>) {
    turns.set(turns.get() + 1);
    let again = handle.clone();
    handle.call_later(Duration::ZERO, move || count_turns(&again, turns));
}

// H10.3
#[test]
fn decompressing_lets_other_events_run() {
    const SIZE: usize = 2 << 20;
    let nested = gzip(&gzip(&gzip(&vec![0; SIZE])));
    assert!(nested.len() < 1000);
    // On the system's network: simulated time would stand still while a timer is always due.
    let same = Same::new(answer("gzip, gzip, gzip", &nested), 1 << 20);
    let turns: Rc<Cell<usize>> = Rc::default();
    let counted = turns.clone();
    let length = run(move |reactor| {
        count_turns(reactor, counted.clone());
        let port = listen(reactor, move |_peer| same.clone());
        let url = format!("http://{}/", address(&port));
        Agent::new(reactor).request(url).add_callback(move |response| {
            counted.set(0);
            response.into_body().collect().add_callback(move |body| {
                drop(port);
                Ok(body.len())
            })
        })
    });
    assert_eq!(length, SIZE);
    // The limit of a turn is 256 KiB.
    assert!(turns.get() >= SIZE / (256 << 10), "only {} turns", turns.get());
}
