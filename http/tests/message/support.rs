//! Runs a decoder over a message whole, at every split into two reads, and one byte at a time.

#![allow(dead_code, reason = "each test file uses its part")]

use http::Method;
use twistor_http::message::{
    DecodeError, Eof, Fault, Fields, Limits, RequestDecoder, RequestEvent, ResponseDecoder, ResponseEvent,
};

/// The complete result of a decoder for one input, the same however the input is split.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Each head as one line.
    pub(crate) heads: Vec<String>,
    /// The number of interim responses.
    pub(crate) interim: usize,
    /// The bodies, concatenated.
    pub(crate) body: Vec<u8>,
    /// The number of complete messages, and the trailers of the last.
    pub(crate) ends: usize,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) error: Option<DecodeError>,
    /// Bytes left in the input that do not belong to a message.
    pub(crate) rest: Vec<u8>,
    pub(crate) eof: Option<Eof>,
    pub(crate) keep_alive: bool,
}

impl Told {
    fn on_body(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "an empty piece of body");
        self.body.extend_from_slice(bytes);
    }

    fn on_end(&mut self, trailers: Fields<'_>) {
        self.ends += 1;
        self.trailers = owned(trailers);
    }

    fn fail(&mut self, error: DecodeError) {
        (self.error, self.keep_alive) = (Some(error), false);
    }

    /// Records the end of the input. Depending on the split, some faults are reported immediately, others only here.
    fn at_eof(mut self, eof: Result<Eof, DecodeError>) -> Told {
        if self.error.is_none() {
            match eof {
                Ok(eof) => self.eof = Some(eof),
                Err(error) => self.fail(error),
            }
        }
        self
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        match self.error {
            Some(DecodeError::Malformed(malformed)) => Some(malformed.fault),
            _ => None,
        }
    }
}

fn owned(fields: Fields<'_>) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

fn pieces_of(wire: &[u8], run: impl Fn(&[&[u8]]) -> Told) -> Told {
    let whole = run(&[wire]);
    for split in 0..=wire.len() {
        let (first, second) = wire.split_at(split);
        let told = run(&[first, second]);
        assert_eq!(told, whole, "split at {split} of {:?}", wire.escape_ascii().to_string());
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(run(&bytes), whole, "byte by byte: {:?}", wire.escape_ascii().to_string());
    whole
}

/// Reads one response to a request with this method.
pub(crate) fn response(method: &Method, limits: &Limits, wire: &[u8]) -> Told {
    pieces_of(wire, |pieces| response_in(method, limits, pieces))
}

/// Reads one response in these pieces.
pub(crate) fn response_in(method: &Method, limits: &Limits, pieces: &[&[u8]]) -> Told {
    let mut decoder = ResponseDecoder::new(limits.clone());
    decoder.start(method);
    let mut told = read(pieces, |told, input| {
        match decoder.decode(input)? {
            Some(ResponseEvent::Interim(_)) => told.interim += 1,
            Some(ResponseEvent::Head(head)) => told.heads.push(format!(
                "{:?} {} {} {:?}",
                head.version,
                head.status.as_u16(),
                head.reason.escape_ascii(),
                head.headers
            )),
            Some(ResponseEvent::Body(bytes)) => told.on_body(bytes),
            Some(ResponseEvent::End(trailers)) => told.on_end(trailers),
            None => return Ok(false),
        }
        Ok(true)
    });
    told.keep_alive = decoder.keep_alive();
    told.at_eof(decoder.eof())
}

/// Reads all requests in `wire`.
pub(crate) fn requests(limits: &Limits, wire: &[u8]) -> Told {
    pieces_of(wire, |pieces| requests_in(limits, pieces))
}

/// Reads requests in these pieces.
pub(crate) fn requests_in(limits: &Limits, pieces: &[&[u8]]) -> Told {
    let mut decoder = RequestDecoder::new(limits.clone());
    let told = read(pieces, |told, input| {
        match decoder.decode(input)? {
            Some(RequestEvent::Head(head)) => {
                told.keep_alive = head.keep_alive;
                told.heads.push(format!(
                    "{} {} {:?} host={} {:?} continue={} {:?}",
                    head.method,
                    head.target.path(),
                    head.version,
                    head.host.unwrap_or("-"),
                    head.body,
                    head.expect_continue,
                    head.headers
                ));
            }
            Some(RequestEvent::Body(bytes)) => told.on_body(bytes),
            Some(RequestEvent::End(trailers)) => told.on_end(trailers),
            None => return Ok(false),
        }
        Ok(true)
    });
    assert!(told.rest.is_empty(), "input left over");
    told.at_eof(decoder.eof())
}

/// Reads pieces with `step`, which records one event, or returns false if it needs more input.
fn read(pieces: &[&[u8]], mut step: impl FnMut(&mut Told, &mut &[u8]) -> Result<bool, DecodeError>) -> Told {
    let mut told = Told::default();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match step(&mut told, &mut input) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    assert_eq!(step(&mut told, &mut &b"more"[..]).err(), Some(error.clone()));
                    told.fail(error);
                    return told;
                }
            }
        }
        told.rest.extend_from_slice(input);
    }
    told
}
