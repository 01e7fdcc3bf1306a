//! Chunked bodies: however the bytes are split, both decoders accept exactly the bodies that a straightforward reading of
//! RFC 9112 accepts, and they decode the output of the encoder.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use twistor_fuzz::pieces;
use twistor_http::message::{
    ChunkWriter, Fields, HeadWriter, Limits, RequestDecoder, RequestEvent, ResponseDecoder, ResponseEvent,
};

const BODY: usize = 1000;
const LINE: usize = 40;
const TRAILERS: usize = 100;
const FIELDS: usize = 5;

fn limits() -> Limits {
    Limits {
        body_size: BODY as u64,
        chunk_line_size: LINE,
        trailers_size: TRAILERS,
        header_count: FIELDS,
        ..Limits::default()
    }
}

#[derive(Debug, Default, PartialEq)]
struct Read {
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    /// The bytes after the end, once it was found.
    rest: Option<Vec<u8>>,
}

impl Read {
    fn end(&mut self, trailers: Fields<'_>) {
        self.trailers = trailers.iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.rest = Some(Vec::new());
    }
}

/// Calls `step` on the pieces until it reports that it needs more.
fn read<E>(
    pieces: &[&[u8]],
    mut step: impl FnMut(&mut &[u8], &mut Read) -> Result<bool, E>,
) -> (Read, Result<(), E>) {
    let mut read = Read::default();
    for piece in pieces {
        let mut input = *piece;
        while read.rest.is_none() {
            match step(&mut input, &mut read) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (read, Err(error)),
            }
        }
        read.rest.iter_mut().for_each(|rest| rest.extend_from_slice(input));
    }
    (read, Ok(()))
}

fn request(pieces: &[&[u8]]) -> (Read, Option<String>) {
    let mut decoder = RequestDecoder::new(limits());
    let mut head = &b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
    assert!(matches!(decoder.decode(&mut head), Ok(Some(RequestEvent::Head(_)))));
    let (read, fed) = read(pieces, |input, read| {
        match decoder.decode(input)? {
            None => return Ok(false),
            Some(RequestEvent::Head(_)) => unreachable!("the body has not ended"),
            Some(RequestEvent::Body(bytes)) => read.body.extend_from_slice(bytes),
            Some(RequestEvent::End(trailers)) => read.end(trailers),
        }
        Ok(true)
    });
    // Some errors are reported only at the end of the stream.
    let error = fed.and_then(|()| decoder.eof().map(drop)).err();
    (read, error.map(|error| error.to_string()))
}

fn response(pieces: &[&[u8]]) -> (Read, Option<String>) {
    let mut decoder = ResponseDecoder::new(limits());
    decoder.start(&Method::GET);
    let mut head = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
    assert!(matches!(decoder.decode(&mut head), Ok(Some(ResponseEvent::Head(_)))));
    let (read, fed) = read(pieces, |input, read| {
        match decoder.decode(input)? {
            None => return Ok(false),
            Some(ResponseEvent::Body(bytes)) => read.body.extend_from_slice(bytes),
            Some(ResponseEvent::End(trailers)) => read.end(trailers),
            Some(_) => unreachable!("the body has not ended"),
        }
        Ok(true)
    });
    let error = fed.and_then(|()| decoder.eof().map(drop)).err();
    (read, error.map(|error| error.to_string()))
}

/// A complete body by the standard's grammar, within the limits; `None` for anything else.
fn plainly(mut wire: &[u8]) -> Option<Read> {
    let mut read = Read::default();
    loop {
        let line = line(&mut wire)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        let extension = line[digits..].trim_ascii_start();
        let spaced = extension.len() < line.len() - digits;
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        let well_formed = if extension.is_empty() { !spaced } else { extension[0] == b';' };
        let blanks = line[digits..line.len() - extension.len()].iter().all(|byte| b" \t".contains(byte));
        if digits > 16 || line.len() + 2 > LINE || !well_formed || !blanks || !extension.iter().all(is_text) {
            return None;
        }
        if size == 0 {
            break;
        }
        if size > (BODY - read.body.len()) as u64 {
            return None;
        }
        let (chunk, rest) = wire.split_at_checked(size as usize)?;
        read.body.extend_from_slice(chunk);
        wire = rest.strip_prefix(b"\r\n")?;
    }
    let section = wire;
    loop {
        let line = line(&mut wire)?;
        if section.len() - wire.len() > TRAILERS {
            return None;
        }
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_text) {
            return None;
        }
        let value = value.trim_ascii().to_vec();
        read.trailers.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    read.rest = Some(wire.to_vec());
    (read.trailers.len() <= FIELDS).then_some(read)
}

/// Removes a line that ends in CR LF and returns it without them.
fn line<'a>(wire: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = wire.iter().position(|&byte| byte == b'\n')?;
    let line = wire[..end].strip_suffix(b"\r")?;
    *wire = &wire[end + 1..];
    Some(line)
}

fn check_wire(how: u8, wire: &[u8]) {
    let whole = request(&[wire]);
    for how in [how, 1] {
        assert_eq!(request(&pieces(how, wire)), whole);
        assert_eq!(response(&pieces(how, wire)), whole);
    }
    assert_eq!(response(&[wire]), whole);
    assert!(whole.0.body.len() <= BODY);
    let (read, error) = whole;
    let complete = (error.is_none() && read.rest.is_some()).then_some(read);
    assert_eq!(complete, plainly(wire));
}

fn check_written(how: u8, data: &[u8]) {
    let data = &data[..data.len().min(BODY)];
    let mut out = Vec::new();
    for piece in pieces(how.rotate_left(4), data) {
        ChunkWriter::chunk(&mut out, piece);
    }
    let trailers = match data.split_last() {
        Some((last, value)) if last & 1 == 1 && value.len() < 50 => Some(value),
        _ => None,
    };
    let mut expected = Read { body: data.to_vec(), trailers: Vec::new(), rest: Some(b"GET".to_vec()) };
    match trailers {
        None => ChunkWriter::finish(&mut out),
        Some(value) => {
            let mut writer = HeadWriter::trailers(&mut out);
            if writer.field("Digest", value).is_ok() {
                expected.trailers.push(("Digest".into(), value.trim_ascii().to_vec()));
            }
            writer.finish();
        }
    }
    out.extend_from_slice(b"GET");
    assert_eq!(request(&pieces(how, &out)), (expected, None));
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, wire)) = data.split_first() else { return };
    check_wire(how, wire);
    check_written(how, wire);
});
