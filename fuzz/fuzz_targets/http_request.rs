//! Requests, one after the other: read in pieces, they say what they say whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twistor_net::http::{DecodeError, Eof, Limits, RequestDecoder, RequestEvent};

#[derive(Debug, Default, PartialEq)]
struct Told {
    heads: Vec<String>,
    body: Vec<u8>,
    trailers: Vec<String>,
    error: Option<DecodeError>,
    eof: Option<Eof>,
}

fn read(wire: &[u8], piece: usize) -> Told {
    let limits =
        Limits { head_size: 500, header_count: 10, body_size: 1000, target_size: 100, ..Limits::default() };
    let mut decoder = RequestDecoder::new(limits);
    let mut told = Told::default();
    for mut input in wire.chunks(piece) {
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Head(head))) => {
                    assert!(head.target.path().starts_with(['/', '*']));
                    told.heads.push(format!("{head:?}"));
                }
                Ok(Some(RequestEvent::Body(bytes))) => told.body.extend_from_slice(bytes),
                Ok(Some(RequestEvent::End(trailers))) => told.trailers.push(format!("{trailers:?}")),
                Err(error) => {
                    assert!(error.status().is_client_error() || error.status().is_server_error());
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

fuzz_target!(|data: &[u8]| {
    let Some((&piece, wire)) = data.split_first() else { return };
    let whole = read(wire, wire.len().max(1));
    assert_eq!(read(wire, 1), whole);
    assert_eq!(read(wire, usize::from(piece).max(1)), whole);
});
