//! Messages with random damage: the decoders never panic, and their result does not depend on how the input is split.

use crate::support::{requests_in, response_in};
use http::Method;
use twistor_http::{Limits, Url};

/// The number of messages that each test damages. `TWISTOR_MUTATIONS` overrides it.
fn rounds() -> usize {
    std::env::var("TWISTOR_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

/// A deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Inserts, removes or copies one of the pieces on which parsers differ.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const PIECES: [&[u8]; 27] = [
            b"\r\n",
            b"\"",
            b"=",
            b"%",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b":",
            b";",
            b",",
            b"0",
            b"9",
            b"f",
            b"-",
            b"+",
            b"x",
            b"_",
            b"\x80",
            b"\xff",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 3\r\n",
            b"Host: h\r\n",
            b"0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"GET / HTTP/1.1\r\n",
        ];
        let at = self.below(bytes.len() + 1);
        match self.below(4) {
            0 => {
                let piece = PIECES[self.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            1 => {
                let end = (at + 1 + self.below(6)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let end = (at + 1 + self.below(30)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.below(256) as u8;
                }
            }
        }
    }

    /// Splits the message into pieces of random length.
    fn split<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(1 + self.below(bytes.len().min(40)));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

const LIMITS: Limits = Limits {
    head_size: 300,
    header_count: 8,
    target_size: 60,
    body_size: 200,
    chunk_line_size: 40,
    trailers_size: 80,
    interim_count: 2,
};

#[test]
fn damaged_responses_read_the_same_however_they_are_split() {
    // H6.5
    let whole: [&[u8]; 7] = [
        b"HTTP/1.3 200 OK\r\nA: b\r\nC: d\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nHello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nHello\r\n7\r\n, world\r\n0\r\nT: r\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nto the end",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA:  b \t\r\nC:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..rounds() {
        let mut wire = whole[random.below(whole.len())].to_vec();
        for _ in 0..=random.below(3) {
            random.damage(&mut wire);
        }
        let method = if round % 8 == 0 { Method::HEAD } else { Method::GET };
        let told = response_in(&method, &LIMITS, &[&wire]);
        let pieces = random.split(&wire);
        assert_eq!(response_in(&method, &LIMITS, &pieces), told, "{}", wire.escape_ascii());
        assert!(told.body.len() <= 200 && told.heads.len() <= 1 && told.ends <= 1);
    }
}

#[test]
fn damaged_requests_read_the_same_however_they_are_split() {
    // W4.7, H6.5
    let whole: [&[u8]; 6] = [
        b"GET /a?<b> HTTP/1.2\r\nHost: h%41:80\r\nA: b\r\nC: d\r\n\r\nLONGER-THAN-ANY-METHOD-THAT-ANYBODY-IMPLEMENTS-AS-FAR-AS-WE-KNOW / HTTP/1.1\r\n\r\n",
        b"GET /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nHelloGET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b ; c=\"d\"\r\nHello\r\n0\r\nT: r\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n\r\nCONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://h/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds() {
        let mut wire = whole[random.below(whole.len())].to_vec();
        for _ in 0..=random.below(3) {
            random.damage(&mut wire);
        }
        let told = requests_in(&LIMITS, &[&wire]);
        let pieces = random.split(&wire);
        assert_eq!(requests_in(&LIMITS, &pieces), told, "{}", wire.escape_ascii());
    }
}

#[test]
fn damaged_urls_are_refused_or_stay_the_same_when_parsed_again() {
    // H7.1
    let whole = [
        "http://user:pa%20ss@example.org:8080/a/b;c?d=e&f#g",
        "https://[::1]:44/%41?",
        "../x/./y?z#",
        "//h/p",
    ];
    let mut random = Random(0x1234_5678_9abc_def1);
    let base = Url::parse("http://a/b/c?d#e").unwrap();
    for _ in 0..rounds() {
        let mut bytes = whole[random.below(whole.len())].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            random.damage(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let urls = [Url::parse(&text), base.join(&bytes)];
        for url in urls.into_iter().flatten() {
            let shown = url.to_string();
            assert_eq!(Url::parse(&shown).map(|again| again.to_string()), Ok(shown.clone()));
            assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}");
            assert!(url.target().starts_with('/') && !url.host().is_empty() && url.port() > 0);
            assert!(!url.authority().contains('@') && !url.target().contains('#'));
        }
    }
}
