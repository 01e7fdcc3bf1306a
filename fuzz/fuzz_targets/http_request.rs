//! Requests in sequence: they parse to the same result however they are split, limits hold, and a parsed head that is
//! encoded again parses to the same head. So an accepted request cannot turn into another one when it is forwarded.

#![no_main]

use http::Version;
use libfuzzer_sys::fuzz_target;
use twistor_fuzz::pieces;
use twistor_http::message::{
    BodyLength, DecodeError, Eof, HeadWriter, Limits, RequestDecoder, RequestEvent, RequestHead, Target,
};

const BODY: usize = 1000;

#[derive(Debug, Default, PartialEq)]
struct Told {
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
    trailers: Vec<String>,
    error: Option<DecodeError>,
    eof: Option<Eof>,
}

fn decoder() -> RequestDecoder {
    RequestDecoder::new(Limits {
        head_size: 500,
        header_count: 10,
        body_size: BODY as u64,
        target_size: 100,
        chunk_line_size: 40,
        trailers_size: 100,
        ..Limits::default()
    })
}

fn read(pieces: &[&[u8]]) -> Told {
    let mut decoder = decoder();
    let mut told = Told::default();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Head(head))) => {
                    assert!(head.headers.len() <= 10);
                    told.heads.push(format!("{head:?}"));
                    told.bodies.push(Vec::new());
                    if pieces.len() == 1 {
                        check_written(&head);
                    }
                }
                Ok(Some(RequestEvent::Body(bytes))) => {
                    let body = told.bodies.last_mut().expect("a head comes before its body");
                    body.extend_from_slice(bytes);
                    assert!(!bytes.is_empty() && body.len() <= BODY);
                }
                Ok(Some(RequestEvent::End(trailers))) => told.trailers.push(format!("{trailers:?}")),
                Err(error) => {
                    assert!(error.status().is_client_error() || error.status().is_server_error());
                    assert_eq!(decoder.decode(&mut &b"more"[..]).err(), Some(error.clone()));
                    told.error = Some(error);
                    return told;
                }
            }
        }
        assert!(input.is_empty());
    }
    match decoder.eof() {
        Ok(eof) => told.eof = Some(eof),
        Err(error) => told.error = Some(error),
    }
    told
}

/// The meaning of a head, apart from the spelling of its fields.
fn meaning(head: &RequestHead<'_>) -> String {
    let fields: Vec<_> = head.headers.iter().filter(|(name, _)| !is_framing(name)).collect();
    let RequestHead { method, target, host, body, keep_alive, expect_continue, .. } = head;
    format!("{method} {target:?} {host:?} {body:?} {keep_alive} {expect_continue} {fields:?}")
}

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

fn check_written(head: &RequestHead<'_>) {
    if head.version != Version::HTTP_11 {
        return; // only the newer version is written
    }
    let target = match head.target {
        Target::Authority(authority) => authority.to_owned(),
        Target::Asterisk => "*".to_owned(),
        Target::Origin { path, query } => path.to_owned() + &with_mark(query),
        Target::Absolute { scheme, authority, path, query } => {
            format!("{scheme}://{authority}{path}{}", with_mark(query))
        }
    };
    let mut out = Vec::new();
    let mut writer = HeadWriter::request(&mut out, &head.method, &target).expect("the target was parsed");
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_framing(name)) {
        writer.field(name, value).expect("the field was parsed");
    }
    match head.body {
        BodyLength::Known(length) => writer.length(length).expect("the first word on it"),
        BodyLength::Chunked => writer.chunked().expect("the first word on it"),
        _ => {}
    }
    writer.finish();
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut input = &out[..];
    let Ok(Some(RequestEvent::Head(again))) = decoder.decode(&mut input) else {
        panic!("the encoded head does not parse: {}", out.escape_ascii());
    };
    assert_eq!(meaning(&again), meaning(head));
    assert!(input.is_empty());
}

fn with_mark(query: Option<&str>) -> String {
    query.map(|query| format!("?{query}")).unwrap_or_default()
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, wire)) = data.split_first() else { return };
    let whole = read(&[wire]);
    assert_eq!(read(&pieces(1, wire)), whole);
    assert_eq!(read(&pieces(how, wire)), whole);
});
