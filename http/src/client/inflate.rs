//! Decompresses bodies as they arrive, at the pace of the reader.

use std::error::Error;
use std::fmt;
use std::mem;
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use twistor_deferred::Failure;

use super::{LimitExceeded, LimitKind};

/// The size of decompressed pieces.
const PIECE: usize = 16 << 10;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// In zlib's format by the standard, but many servers send it raw.
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

/// The error of a compressed body that is broken, incomplete or in an unknown format, or whose checksum is
/// wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The number of bytes that could be decompressed.
    pub decoded: u64,
    /// These bytes, if the body was collected.
    pub body: Vec<u8>,
    what: &'static str,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the compressed body is {} after {} decompressed bytes", self.what, self.decoded)
    }
}

impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Undecodable({self})")
    }
}

impl Error for Undecodable {}

/// The minimum cost of a call of the decompressor, in bytes of a share.
const COST_OF_A_CALL: usize = 64;

/// The maximum number of nested codings, as in curl.
const MOST_CODINGS: usize = 5;

/// The received compressed bytes, and the stages that undo the codings, one after another. It decodes on
/// request, so it holds only the received bytes and one piece for each coding.
pub(super) struct Inflater {
    /// The received bytes, and how many of them are used up.
    came: Vec<u8>,
    used: usize,
    stages: Vec<CodingStage>,
}

impl Inflater {
    /// Creates the decoder of a body with these `Content-Encoding` fields. `None` without a coding, with an
    /// unknown one, or with too many. The body is then left as it is.
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
        if codings.is_empty() {
            return None;
        }
        // The fields list the codings in the order in which they were applied; they are undone in reverse.
        let stages = codings.into_iter().rev().map(|coding| CodingStage::new(coding, limit)).collect();
        Some(Box::new(Inflater { came: Vec::new(), used: 0, stages }))
    }

    /// Adds received bytes.
    pub(super) fn feed(&mut self, compressed: &[u8]) {
        self.came.extend_from_slice(compressed);
    }

    /// Decodes the next piece. Everything before a fault or the limit is returned first, however the bytes
    /// were split. Subtracts the output of all codings from `share`.
    pub(super) fn next(&mut self, share: &mut usize) -> Result<Step<'_>, Failure> {
        let mut input = &self.came[self.used..];
        let filled = fill(&mut self.stages, &mut input, share)?;
        self.used = self.came.len() - input.len();
        if self.used == self.came.len() {
            self.came.clear();
            self.used = 0;
        }
        Ok(match (filled, self.stages.last_mut()) {
            (Filled::Full, Some(last)) => Step::Piece(&last.piece[mem::take(&mut last.ready)]),
            (Filled::ShareSpent, _) => Step::Later,
            _ => Step::UsedUp,
        })
    }

    /// Returns whether neither data nor an error is left before more bytes arrive.
    pub(super) fn is_used_up(&self) -> bool {
        self.came.is_empty() && self.stages.iter().all(|stage| stage.ready.is_empty() && !stage.has_more)
    }

    /// Checks, at the end of the body, that the compressed data is complete. An empty body is.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.stages.iter().try_for_each(CodingStage::finish)
    }
}

/// The result of decoding.
pub(super) enum Step<'a> {
    Piece(&'a [u8]),
    /// More bytes are needed.
    UsedUp,
    /// The share is used up.
    Later,
}

enum Filled {
    Full,
    UsedUp,
    ShareSpent,
}

/// Lets the last stage produce a piece from the output of the stages before it.
fn fill(stages: &mut [CodingStage], input: &mut &[u8], share: &mut usize) -> Result<Filled, Failure> {
    let Some((last, before)) = stages.split_last_mut() else { return Ok(Filled::UsedUp) };
    loop {
        if *share == 0 {
            return Ok(Filled::ShareSpent);
        }
        let used_up = match before.last_mut() {
            Some(stage) => {
                stage.ready.start += last.make(&stage.piece[stage.ready.clone()], share)?;
                stage.ready.is_empty()
            }
            None => {
                *input = &input[last.make(input, share)?..];
                input.is_empty()
            }
        };
        if !last.ready.is_empty() {
            return Ok(Filled::Full);
        }
        if used_up {
            match fill(before, input, share)? {
                Filled::Full => {}
                other => return Ok(other),
            }
        }
    }
}

/// A stage that undoes one coding.
struct CodingStage {
    coding: Coding,
    /// `None` before the first byte, and after the end of a member that may be the last.
    stream: Option<Decompress>,
    /// The first byte of a deflated body, until the second one shows the format.
    first: Option<u8>,
    started: bool,
    /// The number of output bytes, including those above the limit.
    decoded: u64,
    limit: u64,
    piece: Vec<u8>,
    /// The part of the piece that was not passed on.
    ready: Range<usize>,
    /// There may be more output, or an error, without more input.
    has_more: bool,
}

impl CodingStage {
    fn new(coding: Coding, limit: u64) -> CodingStage {
        CodingStage {
            coding,
            stream: None,
            first: None,
            started: false,
            decoded: 0,
            limit,
            piece: vec![0; PIECE],
            ready: 0..0,
            has_more: false,
        }
    }

    /// Produces the next piece, which may be empty. Returns the used input; `None` if more input is needed.
    fn make(&mut self, input: &[u8], share: &mut usize) -> Result<usize, Failure> {
        self.ready = 0..0;
        if self.decoded > self.limit {
            return Err(LimitExceeded::new(LimitKind::BodySize, self.limit).into());
        }
        if self.stream.is_some() {
            return self.inflate(input, share);
        }
        let Some(&byte) = input.first() else { return Ok(0) };
        match self.coding {
            // Several compressed files in a row count as one file.
            Coding::Gzip if !self.started || byte == 0x1f => {
                self.started = true;
                self.stream = Some(Decompress::new_gzip(15));
                self.inflate(input, share)
            }
            Coding::Deflate if !self.started => {
                let Some(first) = self.first.take() else {
                    self.first = Some(byte);
                    return Ok(1);
                };
                // A zlib header names method 8, and is a multiple of 31.
                let zlib = first & 15 == 8 && u16::from_be_bytes([first, byte]) % 31 == 0;
                self.started = true;
                self.stream = Some(Decompress::new(zlib));
                self.inflate(&[first, byte], share)?;
                Ok(1)
            }
            _ => Err(self.undecodable("followed by other data")),
        }
    }

    fn inflate(&mut self, input: &[u8], share: &mut usize) -> Result<usize, Failure> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let (before_in, before_out) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(input, &mut self.piece, FlushDecompress::None);
        let made = (stream.total_out() - before_out) as usize;
        let taken = (stream.total_in() - before_in) as usize;
        // A call costs something even without output.
        *share = share.saturating_sub(made.max(taken).max(COST_OF_A_CALL));
        let room = usize::try_from(self.limit - self.decoded).unwrap_or(usize::MAX);
        self.ready = 0..made.min(room);
        if self.ready.is_empty() {
            if made > 0 {
                return Err(LimitExceeded::new(LimitKind::BodySize, self.limit).into());
            }
            if status.is_err() {
                return Err(self.undecodable("broken"));
            }
        }
        self.decoded += made as u64;
        // All input may be used while more than one piece of output is left.
        self.has_more = made == PIECE || made > room || status.is_err();
        if matches!(status, Ok(Status::StreamEnd)) {
            self.stream = None;
            self.has_more = made > room;
        }
        Ok(taken)
    }

    fn finish(&self) -> Result<(), Failure> {
        if self.stream.is_some() || self.first.is_some() {
            return Err(self.undecodable("cut"));
        }
        Ok(())
    }

    fn undecodable(&self, what: &'static str) -> Failure {
        Undecodable { decoded: self.decoded, body: Vec::new(), what }.into()
    }
}
