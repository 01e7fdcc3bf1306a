//! Responses, chunked bodies among them: read in pieces, they say what they say whole.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use twistor_net::http::{DecodeError, Eof, Limits, ResponseDecoder, ResponseEvent};

#[derive(Debug, Default, PartialEq)]
struct Told {
    heads: Vec<(u16, String)>,
    body: Vec<u8>,
    trailers: String,
    ends: usize,
    rest: Vec<u8>,
    error: Option<DecodeError>,
    eof: Option<Eof>,
}

fn read(method: &Method, wire: &[u8], piece: usize) -> Told {
    let limits =
        Limits { head_size: 500, header_count: 10, body_size: 1000, trailers_size: 100, ..Limits::default() };
    let mut decoder = ResponseDecoder::new(limits);
    decoder.start(method);
    let mut told = Told::default();
    for mut input in wire.chunks(piece) {
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(ResponseEvent::Interim(head) | ResponseEvent::Head(head))) => {
                    assert_eq!(head.headers.to_map().len(), head.headers.len());
                    told.heads.push((head.status.as_u16(), format!("{:?}", head.headers)));
                }
                Ok(Some(ResponseEvent::Body(bytes))) => {
                    assert!(!bytes.is_empty());
                    told.body.extend_from_slice(bytes);
                }
                Ok(Some(ResponseEvent::End(trailers))) => {
                    told.trailers = format!("{trailers:?}");
                    told.ends += 1;
                }
                Err(error) => {
                    told.error = Some(error);
                    return told;
                }
            }
        }
        told.rest.extend_from_slice(input);
    }
    match decoder.eof() {
        Ok(eof) => told.eof = Some(eof),
        Err(error) => told.error = Some(error),
    }
    told
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, wire)) = data.split_first() else { return };
    let method = if how & 128 == 0 { Method::GET } else { Method::HEAD };
    let whole = read(&method, wire, wire.len().max(1));
    assert!(whole.body.len() <= 1000 && whole.ends <= 1);
    assert_eq!(read(&method, wire, 1), whole);
    assert_eq!(read(&method, wire, usize::from(how & 127).max(1)), whole);
});
