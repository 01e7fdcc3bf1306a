//! Compressed bodies, taken apart as they come.

use std::error::Error;
use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use twistor_deferred::Failure;

/// Decompressed bytes are handed on in pieces of this size.
const PIECE: usize = 16 << 10;

/// Where they are handed on to.
type Take<'a> = dyn FnMut(&[u8]) -> Result<(), Failure> + 'a;

/// What a body is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// By the standard in zlib's format; many servers send it bare.
    Deflate,
}

impl Coding {
    fn named(name: &[u8]) -> Option<Coding> {
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Coding::Gzip),
            b"deflate" => Some(Coding::Deflate),
            _ => None,
        }
    }
}

/// A body whose compression is broken, cut or of an unknown kind, or whose checksum is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// How many bytes of the body could be decompressed.
    pub decoded: u64,
    what: &'static str,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the compressed body is {} after {} decompressed bytes", self.what, self.decoded)
    }
}

impl Error for Undecodable {}

/// A body became larger than [`Request::max_decoded`](super::Request::max_decoded) allows, decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedTooLarge {
    /// The bound that was passed.
    pub limit: u64,
}

impl fmt::Display for DecodedTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the decompressed body is larger than {} bytes", self.limit)
    }
}

impl Error for DecodedTooLarge {}

/// The most codings that are undone, one after the other, as in curl.
const MOST_CODINGS: usize = 5;

pub(super) struct Inflater {
    coding: Coding,
    /// Undoes what was done before this one's coding.
    next: Option<Box<Inflater>>,
    /// None before the first byte, and after the end of what it may be the last member of.
    stream: Option<Decompress>,
    /// The first byte of a deflated body, until the second tells which format it is.
    first: Option<u8>,
    started: bool,
    decoded: u64,
    limit: u64,
    piece: Vec<u8>,
}

impl Inflater {
    /// For a body with these `Content-Encoding` fields. None if there is nothing to undo, or something that is not
    /// ours, or too much; then the body is left as it is.
    pub(super) fn new<'a>(fields: impl Iterator<Item = &'a [u8]>, limit: u64) -> Option<Box<Inflater>> {
        let mut codings = Vec::new();
        for name in fields.flat_map(|field| field.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            if codings.len() == MOST_CODINGS {
                return None;
            }
            codings.push(Coding::named(name)?);
        }
        // They are named in the order they were done in, and undone in the other.
        codings.into_iter().fold(None, |next, coding| Some(Box::new(Inflater::one(coding, next, limit))))
    }

    fn one(coding: Coding, next: Option<Box<Inflater>>, limit: u64) -> Inflater {
        Inflater {
            coding,
            next,
            stream: None,
            first: None,
            started: false,
            decoded: 0,
            limit,
            piece: vec![0; PIECE],
        }
    }

    /// Takes compressed bytes, and hands on what comes of them.
    pub(super) fn feed(&mut self, mut input: &[u8], take: &mut Take<'_>) -> Result<(), Failure> {
        if self.coding == Coding::Deflate && !self.started {
            let Some((&byte, rest)) = input.split_first() else { return Ok(()) };
            let Some(first) = self.first.take() else {
                self.first = Some(byte);
                return self.feed(rest, take);
            };
            let sniffed = [first, byte];
            input = rest;
            // Zlib's header names method 8, and is a multiple of 31.
            let zlib = first & 15 == 8 && u16::from_be_bytes(sniffed) % 31 == 0;
            self.stream = Some(Decompress::new(zlib));
            self.started = true;
            self.inflate(&sniffed, take)?;
        }
        while !input.is_empty() {
            if self.stream.is_none() {
                // One compressed file may follow another, and that is one file.
                if self.started && (self.coding == Coding::Deflate || input[0] != 0x1f) {
                    return Err(self.undecodable("followed by something else"));
                }
                self.stream = Some(Decompress::new_gzip(15));
                self.started = true;
            }
            let taken = self.inflate(input, take)?;
            input = &input[taken..];
        }
        Ok(())
    }

    /// Inflates to the end of the input or of the stream, and tells how much of the input that was.
    fn inflate(&mut self, input: &[u8], take: &mut Take<'_>) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(stream) = &mut self.stream {
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(&input[taken..], &mut self.piece, FlushDecompress::None);
            let count = (stream.total_out() - before_out) as usize;
            let progress = (stream.total_in() - before_in) as usize;
            taken += progress;
            // What came before the limit, or a fault, is handed on first, at whatever places the input was split.
            let room = usize::try_from(self.limit - self.decoded).unwrap_or(usize::MAX).min(count);
            self.decoded += room as u64;
            if room > 0 {
                let piece = &self.piece[..room];
                match &mut self.next {
                    Some(next) => next.feed(piece, take)?,
                    None => take(piece)?,
                }
            }
            if room < count {
                return Err(DecodedTooLarge { limit: self.limit }.into());
            }
            let Ok(status) = status else { return Err(self.undecodable("broken")) };
            if status == Status::StreamEnd {
                self.stream = None;
            } else if count == 0 && progress == 0 {
                // Only now: all of the input may be taken while more than a piece is still to come of it.
                break;
            }
        }
        Ok(taken)
    }

    /// The body is over: whether the compressed data is, too. A body without a byte is.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        if self.stream.is_some() || self.first.is_some() {
            return Err(self.undecodable("cut"));
        }
        self.next.as_ref().map_or(Ok(()), |next| next.finish())
    }

    fn undecodable(&self, what: &'static str) -> Failure {
        Undecodable { decoded: self.decoded, what }.into()
    }
}
