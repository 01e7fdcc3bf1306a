//! Responses: they parse to the same result however they are split, limits hold, bytes after the end stay untouched, and a
//! parsed head that is encoded again parses to the same head.

#![no_main]

use http::{Method, Version};
use libfuzzer_sys::fuzz_target;
use twistor_fuzz::pieces;
use twistor_http::message::{
    BodyLength, DecodeError, Eof, HeadWriter, Limits, ResponseDecoder, ResponseEvent, ResponseHead,
};

const BODY: usize = 1000;

#[derive(Debug, Default, PartialEq)]
struct Told {
    heads: Vec<String>,
    body: Vec<u8>,
    trailers: String,
    ends: usize,
    rest: Vec<u8>,
    error: Option<DecodeError>,
    eof: Option<Eof>,
}

fn read(method: &Method, pieces: &[&[u8]]) -> Told {
    let mut decoder = ResponseDecoder::new(Limits {
        head_size: 500,
        header_count: 10,
        body_size: BODY as u64,
        chunk_line_size: 40,
        trailers_size: 100,
        interim_count: 3,
        ..Limits::default()
    });
    decoder.start(method);
    let mut told = Told::default();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(ResponseEvent::Interim(head) | ResponseEvent::Head(head))) => {
                    assert!(head.headers.len() <= 10);
                    assert_eq!(head.headers.to_map().len(), head.headers.len());
                    told.heads.push(format!("{head:?}"));
                    assert!(told.heads.len() <= 4);
                    if pieces.len() == 1 {
                        check_written(method, &head);
                    }
                }
                Ok(Some(ResponseEvent::Body(bytes))) => {
                    told.body.extend_from_slice(bytes);
                    assert!(!bytes.is_empty() && told.body.len() <= BODY);
                }
                Ok(Some(ResponseEvent::End(trailers))) => {
                    told.trailers = format!("{trailers:?}");
                    told.ends += 1;
                }
                Err(error) => {
                    assert!(!decoder.keep_alive());
                    assert_eq!(decoder.decode(&mut &b"more"[..]).err(), Some(error.clone()));
                    told.error = Some(error);
                    return told;
                }
            }
        }
        told.rest.extend_from_slice(input);
    }
    assert!(told.ends <= 1 && (told.rest.is_empty() || told.ends == 1));
    match decoder.eof() {
        Ok(eof) => told.eof = Some(eof),
        Err(error) => told.error = Some(error),
    }
    told
}

/// The meaning of a head, apart from the spelling of its fields.
fn meaning(head: &ResponseHead<'_>) -> String {
    let fields: Vec<_> = head.headers.iter().filter(|(name, _)| !is_framing(name)).collect();
    format!("{} {} {:?} {fields:?}", head.status, head.reason.escape_ascii(), head.body)
}

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

fn check_written(method: &Method, head: &ResponseHead<'_>) {
    let Ok(reason) = std::str::from_utf8(head.reason) else { return };
    let mut out = Vec::new();
    let mut writer =
        HeadWriter::response(&mut out, head.status, Some(reason)).expect("the reason was parsed");
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_framing(name)) {
        writer.field(name, value).expect("the field was parsed");
    }
    match head.body {
        BodyLength::Known(length) => writer.length(length).expect("the first word on it"),
        BodyLength::Chunked => writer.chunked().expect("the first word on it"),
        BodyLength::Empty | BodyLength::ToEnd => {}
    }
    writer.finish();
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(method);
    let mut input = &out[..];
    let Ok(Some(ResponseEvent::Interim(again) | ResponseEvent::Head(again))) = decoder.decode(&mut input)
    else {
        panic!("the encoded head does not parse: {}", out.escape_ascii());
    };
    assert_eq!(meaning(&again), meaning(head));
    if head.version == Version::HTTP_11 && head.body != BodyLength::Empty {
        assert_eq!(again.keep_alive, head.keep_alive);
    }
    assert!(input.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let [method, how, wire @ ..] = data else { return };
    let method = [Method::GET, Method::HEAD, Method::CONNECT][usize::from(method % 3)].clone();
    let whole = read(&method, &[wire]);
    assert_eq!(read(&method, &pieces(1, wire)), whole);
    assert_eq!(read(&method, &pieces(*how, wire)), whole);
});
