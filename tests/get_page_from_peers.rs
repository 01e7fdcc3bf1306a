//! `get_page` with independent servers, and with servers that misbehave.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use support::folder::Folder;
use support::peers::{nginx_files, python_files};
use support::{random_file, run};
use twistor::http::PartialDownload;
use twistor::net::{ConnectionLost, ListeningPort};
use twistor::prelude::*;

const MIB: usize = 1 << 20;

/// H1
#[test]
fn a_mebibyte_from_pythons_server_arrives_unchanged() {
    let folder = Folder::new("python");
    let bytes = random_file(&folder, "random", MIB);
    let Some((_server, address)) = python_files(folder.path()) else { return };
    let reactor = Reactor::new().unwrap();
    let page = run(&reactor, get_page(&reactor, format!("http://{address}/random"))).unwrap();
    assert!(page.body() == bytes, "{} bytes came", page.body().len());
}

/// H1
#[test]
fn a_mebibyte_from_nginx_arrives_unchanged() {
    let folder = Folder::new("nginx");
    let bytes = random_file(&folder, "random", MIB);
    let Some((_server, address)) = nginx_files(&folder, folder.path()) else { return };
    let reactor = Reactor::new().unwrap();
    let page = run(&reactor, get_page(&reactor, format!("http://{address}/random"))).unwrap();
    assert!(page.body() == bytes, "{} bytes came", page.body().len());
}

/// H1
#[test]
fn two_hundred_concurrent_pages_from_nginx_match_their_requests() {
    let folder = Folder::new("nginx");
    let files: Vec<Vec<u8>> = (0..200).map(|n| random_file(&folder, &n.to_string(), 100 * n)).collect();
    let Some((_server, address)) = nginx_files(&folder, folder.path()) else { return };
    let reactor = Reactor::new().unwrap();
    let pages = (0..200).map(|n| get_page(&reactor, format!("http://{address}/{n}")));
    let pages = run(&reactor, gather_results(pages)).unwrap();
    for (page, file) in pages.iter().zip(&files) {
        assert!(page.body() == file, "{} came with {} bytes", page.url(), page.body().len());
    }
}

/// Answers every connection with these bytes, in pieces of this size, one per turn.
struct Trickle {
    reactor: Handle,
    bytes: &'static [u8],
    piece: usize,
    end: fn(&Transport),
}

impl Protocol for Trickle {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        transport.set_nodelay(true)?;
        trickle(self.reactor.handle(), transport.clone(), self.bytes, self.piece, self.end);
        Ok(())
    }
}

fn trickle(reactor: Handle, transport: Transport, bytes: &'static [u8], piece: usize, end: fn(&Transport)) {
    if bytes.is_empty() {
        return end(&transport);
    }
    let (now, later) = bytes.split_at(piece.min(bytes.len()));
    transport.write(now);
    let handle = reactor.handle();
    reactor.call_later(Duration::ZERO, move || trickle(handle, transport, later, piece, end));
}

fn serve(reactor: &Handle, bytes: &'static [u8], piece: usize, end: fn(&Transport)) -> ListeningPort {
    let handle = reactor.handle();
    ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())
        .listen(reactor, move |_| Trickle { reactor: handle.clone(), bytes, piece, end })
        .unwrap()
}

/// H2
#[test]
fn a_server_that_sends_one_byte_at_a_time_is_understood() {
    let reactor = Reactor::new().unwrap();
    let answer = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\n\r\n5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nT: v\r\n\r\n";
    let port = serve(&reactor, answer, 1, Transport::lose_connection);
    let page = run(&reactor, get_page(&reactor, format!("http://{}/", port.address()))).unwrap();
    assert_eq!((page.text().as_ref(), page.reason()), ("hello, world", "Fine"));
    assert_eq!(page.header("x-one"), Some("1"));
}

/// H2
#[test]
fn a_reset_in_the_middle_reports_the_data_so_far() {
    let reactor = Reactor::new().unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first twenty....";
    // The reset waits for a moment, so that the data sent before it arrives.
    let port = serve(&reactor, answer, 1000, |transport| {
        let transport = transport.clone();
        let aborted = transport.drained().add_callback(move |()| transport.abort_connection());
        drop(aborted);
    });
    let failure = run(&reactor, get_page(&reactor, format!("http://{}/", port.address()))).unwrap_err();
    let partial = failure.check::<PartialDownload>().map(|partial| partial.body.clone());
    assert!(
        partial.is_some_and(|body| body.len() <= 20) || failure.check::<ConnectionLost>().is_some(),
        "it failed with {failure:?}"
    );
}

/// H9
#[test]
fn cancelling_closes_the_connection() {
    struct Watch(Rc<Cell<bool>>, Handle);
    impl Protocol for Watch {
        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
        fn connection_lost(&mut self, _: Failure) {
            self.0.set(true);
            self.1.stop();
        }
    }
    let reactor = Reactor::new().unwrap();
    let (lost, handle) = (Rc::new(Cell::new(false)), reactor.handle());
    let seen = lost.clone();
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())
        .listen(&reactor, move |_| Watch(seen.clone(), handle.clone()))
        .unwrap();
    let page = get_page(&reactor, format!("http://{}/", port.address()));
    let canceller = page.canceller();
    let outcome = page.add_both(|result| Ok(result.unwrap_err().to_string()));
    reactor.call_later(Duration::from_millis(20), move || canceller.cancel());
    let handle = reactor.handle();
    reactor.call_later(support::DEADLINE, move || handle.stop());
    reactor.run().unwrap();
    assert!(lost.get());
    assert_eq!(reactor.run_until(outcome).unwrap(), "cancelled");
}
