//! A bare client: sends fixed bytes, determines the length of an answer once, and counts bytes. It parses nothing
//! else.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::peers::PAGE;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

struct Fetch {
    stream: TcpStream,
    answer: Vec<u8>,
    sent: bool,
    /// No request is in flight, and none is left to send.
    over: bool,
}

struct Client {
    poll: Poll,
    address: SocketAddr,
    request: Vec<u8>,
    keep_alive: bool,
    started: u64,
    pages: u64,
    done: u64,
}

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let address = arguments.text(0);
    let mut client = Client {
        poll: Poll::new().expect("poll"),
        address: address.parse().expect("an address"),
        request: format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes(),
        keep_alive: arguments.number(3) == 1,
        started: 0,
        pages: arguments.number(1),
        done: 0,
    };
    let clock = Stopwatch::start();
    let mut fetches: Vec<Fetch> =
        (0..arguments.number(2) as usize).map(|number| client.open(number)).collect();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 16 * 1024];
    while client.done < client.pages {
        client.poll.poll(&mut events, None).expect("poll");
        for event in &events {
            let number = event.token().0;
            client.go_on(number, &mut fetches[number], &mut buffer);
        }
    }
    clock.stop(client.pages).report();
}

impl Client {
    fn open(&mut self, number: usize) -> Fetch {
        self.started += 1;
        let mut stream = TcpStream::connect(self.address).expect("connect");
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest).expect("register");
        Fetch { stream, answer: Vec::with_capacity(2048), sent: false, over: false }
    }

    fn go_on(&mut self, number: usize, fetch: &mut Fetch, buffer: &mut [u8]) {
        if fetch.over {
            return;
        }
        if !fetch.sent {
            match fetch.stream.write(&self.request) {
                Ok(count) => assert_eq!(count, self.request.len()),
                Err(error) if matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::WouldBlock) => {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
            fetch.sent = true;
        }
        let count = match fetch.stream.read(buffer) {
            Ok(0) => 0,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        };
        fetch.answer.extend_from_slice(&buffer[..count]);
        let head = fetch.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if head.is_none_or(|head| fetch.answer.len() < head + 4 + PAGE) {
            return assert!(count > 0, "closed too early");
        }
        fetch.answer.clear();
        self.done += 1;
        fetch.over = self.started == self.pages;
        if fetch.over {
            return;
        }
        if self.keep_alive {
            self.started += 1;
            let sent = fetch.stream.write(&self.request).expect("write");
            assert_eq!(sent, self.request.len());
        } else {
            *fetch = self.open(number);
        }
    }
}
