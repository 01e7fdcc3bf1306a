//! Lines, netstrings and length prefixes: however the bytes are split, the frames, the error and the remainder are those
//! of a straightforward reader of the whole input. Encoded frames decode again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twistor_fuzz::pieces;
use twistor_net::framing::{FrameBuffer, FrameError, Framing, Lines, Netstrings, Prefixed};

type Read = (Vec<Vec<u8>>, Option<FrameError>);

/// Reads one frame: its payload and its length in bytes, or `None` if more bytes are needed.
type Plainly = dyn Fn(&[u8]) -> Result<Option<(Vec<u8>, usize)>, FrameError>;

fn all(plainly: &Plainly, mut wire: &[u8]) -> Read {
    let mut frames = Vec::new();
    loop {
        match plainly(wire) {
            Ok(None) => return (frames, None),
            Ok(Some((frame, taken))) => {
                frames.push(frame);
                wire = &wire[taken..];
            }
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn read(framing: impl Framing, pieces: &[&[u8]]) -> Read {
    let mut buffer = FrameBuffer::new(framing);
    let mut frames = Vec::new();
    let (mut fed, mut held) = (0, 0);
    for piece in pieces {
        buffer.feed(piece);
        fed += piece.len();
        loop {
            match buffer.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Err(error) => {
                    assert_eq!(
                        buffer.next_frame().map(|_| ()),
                        Err(error.clone()),
                        "the error is not repeated"
                    );
                    return (frames, Some(error));
                }
            }
        }
        held = buffer.len();
        assert!(held <= fed);
    }
    assert_eq!(buffer.take_rest().len(), held);
    (frames, None)
}

fn check(framing: impl Framing + Clone, plainly: &Plainly, how: u8, wire: &[u8]) {
    let expected = all(plainly, wire);
    for how in [0, 1, how] {
        assert_eq!(read(framing.clone(), &pieces(how, wire)), expected);
    }
    // An encodable payload decodes unchanged. A refused payload writes nothing.
    let mut out = Vec::new();
    let mut sent = Vec::new();
    for payload in pieces(how.rotate_left(4), wire) {
        let before = out.len();
        match framing.encode(payload, &mut out) {
            Ok(()) => sent.push(payload.to_vec()),
            Err(_) => assert_eq!(out.len(), before),
        }
    }
    assert_eq!(read(framing, &pieces(how, &out)), (sent, None));
}

fn line(delimiter: &[u8], limit: usize, wire: &[u8]) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
    let end = wire.windows(delimiter.len()).position(|window| window == delimiter);
    // The first bytes of a delimiter may have arrived already.
    if end.unwrap_or(wire.len().saturating_sub(delimiter.len() - 1)) > limit {
        return Err(FrameError::TooLong { limit });
    }
    Ok(end.map(|end| (wire[..end].to_vec(), end + delimiter.len())))
}

fn netstring(limit: usize, wire: &[u8]) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
    let digits = wire.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let malformed = |what, at| Err(FrameError::Malformed { what, at });
    for end in 1..=digits {
        if end == 2 && wire[0] == b'0' {
            return malformed("leading zero in the length of a netstring", 1);
        }
        let number: String = wire[..end].iter().map(|&byte| char::from(byte)).collect();
        if !number.parse::<usize>().is_ok_and(|length| length <= limit) {
            return Err(FrameError::TooLong { limit });
        }
    }
    match wire.get(digits) {
        None => return Ok(None),
        Some(b':') if digits > 0 => {}
        Some(_) => return malformed("invalid length of a netstring", digits),
    }
    let length: usize = String::from_utf8_lossy(&wire[..digits]).parse().expect("digits");
    let payload = &wire[digits + 1..];
    match payload.get(length) {
        None => Ok(None),
        Some(b',') => Ok(Some((payload[..length].to_vec(), digits + length + 2))),
        Some(_) => malformed("missing comma after the payload of a netstring", digits + 1 + length),
    }
}

fn prefixed(width: usize, limit: usize, wire: &[u8]) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
    let Some((prefix, payload)) = wire.split_at_checked(width) else { return Ok(None) };
    let length = prefix.iter().fold(0, |length, &byte| length * 256 + usize::from(byte));
    if length > limit {
        return Err(FrameError::TooLong { limit });
    }
    Ok(payload.get(..length).map(|payload| (payload.to_vec(), width + length)))
}

fuzz_target!(|data: &[u8]| {
    let [kind, limit, how, wire @ ..] = data else { return };
    let limit = usize::from(*limit);
    match kind % 8 {
        kind @ 0..4 => {
            let delimiter = [&b"\r\n"[..], b"\n", b"aab", b"\0\0"][usize::from(kind)];
            let framing = Lines::new().delimiter(delimiter).max_length(limit);
            check(framing, &move |wire| line(delimiter, limit, wire), *how, wire);
        }
        4 => check(Netstrings::new().max_length(limit), &move |wire| netstring(limit, wire), *how, wire),
        5 => check(Prefixed::int8().max_length(limit), &move |wire| prefixed(1, limit, wire), *how, wire),
        6 => check(Prefixed::int16().max_length(limit), &move |wire| prefixed(2, limit, wire), *how, wire),
        _ => check(Prefixed::int32().max_length(limit), &move |wire| prefixed(4, limit, wire), *how, wire),
    }
});
