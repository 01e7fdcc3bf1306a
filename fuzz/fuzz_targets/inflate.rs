//! Compressed bodies: however they are split, the same bytes and the same error come out, never more than the limit. A
//! plain gzip reader agrees, and compressed data decompresses to the original.

#![no_main]

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use inflate::{Inflater, Step};
use libfuzzer_sys::fuzz_target;
use twistor_deferred::Failure;
use twistor_fuzz::pieces;
use twistor_http::{LimitExceeded, LimitKind};

#[path = "../../http/src/client/inflate.rs"]
mod inflate;

const LIMIT: usize = 100_000;
const GZIP: &str = "gzip";

fn decode(coding: &str, pieces: &[&[u8]]) -> (Vec<u8>, Option<String>) {
    let mut inflater =
        Inflater::new([coding.as_bytes()].into_iter(), LIMIT as u64).expect("the codings are known");
    let mut out = Vec::new();
    let mut fed = Ok(());
    for piece in pieces {
        inflater.feed(piece);
        fed = empty(&mut inflater, &mut out);
        if fed.is_err() {
            break;
        }
        assert!(inflater.is_used_up());
    }
    let ended = fed.and_then(|()| inflater.finish());
    assert!(out.len() <= LIMIT);
    (out, ended.err().map(|failure| failure.to_string()))
}

fn empty(inflater: &mut Inflater, out: &mut Vec<u8>) -> Result<(), Failure> {
    loop {
        let mut share = 10_000;
        match inflater.next(&mut share)? {
            Step::Piece(decoded) => {
                assert!(!decoded.is_empty());
                out.extend_from_slice(decoded);
            }
            Step::Later => assert_eq!(share, 0),
            Step::UsedUp => return Ok(()),
        }
    }
}

fn check_wire(coding: &str, how: u8, wire: &[u8]) {
    let whole = decode(coding, &[wire]);
    for how in [1, how] {
        assert_eq!(decode(coding, &pieces(how, wire)), whole);
    }
    if coding == GZIP && !wire.is_empty() {
        let mut plain = Vec::new();
        let read = MultiGzDecoder::new(wire).take(LIMIT as u64 + 1).read_to_end(&mut plain);
        if read.is_ok() && plain.len() <= LIMIT {
            assert_eq!(whole, (plain, None));
        }
    }
}

fn check_written(coding: &str, how: u8, data: &[u8]) {
    let level = Compression::new(u32::from(how % 10));
    // Repeated, so that the output is larger than a piece.
    let data = data.repeat(1 + usize::from(how) * 2);
    let data = &data[..data.len().min(LIMIT)];
    let written = match (coding, how & 128) {
        (GZIP, _) => compress(GzEncoder::new(Vec::new(), level), data, GzEncoder::finish),
        (_, 0) => compress(ZlibEncoder::new(Vec::new(), level), data, ZlibEncoder::finish),
        _ => compress(DeflateEncoder::new(Vec::new(), level), data, DeflateEncoder::finish),
    };
    assert_eq!(decode(coding, &pieces(how, &written)), (data.to_vec(), None));
}

fn compress<W: Write>(mut to: W, data: &[u8], finish: fn(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    to.write_all(data).and_then(|()| finish(to)).expect("writing to memory does not fail")
}

fuzz_target!(|data: &[u8]| {
    let [coding, how, wire @ ..] = data else { return };
    let coding = if coding & 1 == 0 { GZIP } else { "deflate" };
    check_wire(coding, *how, wire);
    check_written(coding, *how, wire);
    let twice = compress(GzEncoder::new(Vec::new(), Compression::fast()), wire, GzEncoder::finish);
    check_wire(&format!("{coding}, {GZIP}"), *how, &twice);
});
