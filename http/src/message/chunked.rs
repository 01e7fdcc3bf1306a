//! Decodes the chunked transfer coding (RFC 9112, section 7.1).
//!
//! It does not use httparse, whose parser of chunk sizes accepts anything in extensions, including bare line
//! feeds, and white space around the size.

use super::diagnose::{is_token, is_value};
use super::error::{DecodeError, Fault, LimitExceeded, LimitKind, Malformed, MessagePart};
use super::limits::Limits;

/// The bytes that chunk lines may have beyond twice the data they announce.
const EXCESS: u64 = 16 << 10;
/// A line of this length does not count: a size, its line end and the one after the data.
const FREE_LINE: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    /// White space after the size or a complete extension, which only another extension may follow.
    Space,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
}

/// The position in a chunk extension (RFC 9112, section 7.1.1): a name, and optionally a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After the semicolon. White space may precede the name.
    Begin,
    Name,
    /// White space after the name.
    AfterName,
    /// After the equals sign. White space may precede the value.
    Equals,
    Token,
    Quoted,
    /// After a backslash.
    Escaped,
    /// After the closing quote.
    Unquoted,
}

/// The next part at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkStep {
    /// The input is used up.
    More,
    /// This many bytes of data, for the caller to take.
    Data(usize),
    /// The last chunk has ended, and the trailer section begins.
    Trailers,
}

#[derive(Clone, Debug)]
pub(crate) struct Chunked {
    state: ChunkState,
    digits: u8,
    /// The size being read, then the rest of the chunk.
    size: u64,
    line: usize,
    excess: u64,
    /// The data announced so far.
    total: u64,
    /// The bytes of the coded body before the input.
    at: u64,
}

impl Chunked {
    pub(crate) fn new() -> Chunked {
        Chunked { state: ChunkState::Size, digits: 0, size: 0, line: 0, excess: 0, total: 0, at: 0 }
    }

    /// Returns the number of data bytes so far.
    pub(crate) fn received(&self) -> u64 {
        self.total - if self.state == ChunkState::Data { self.size } else { 0 }
    }

    /// Continues to the next data. Removes the lines before it from `input`, but not the data.
    pub(crate) fn step(&mut self, input: &mut &[u8], limits: &Limits) -> Result<ChunkStep, DecodeError> {
        loop {
            match self.state {
                ChunkState::Data => {
                    let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
                    if count == 0 {
                        return Ok(ChunkStep::More);
                    }
                    self.size -= count as u64;
                    self.at += count as u64;
                    if self.size == 0 {
                        self.state = ChunkState::DataCr;
                    }
                    return Ok(ChunkStep::Data(count));
                }
                ChunkState::Trailers => return Ok(ChunkStep::Trailers),
                _ => {}
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(ChunkStep::More) };
            self.byte(byte, limits)?;
            self.at += 1;
            *input = rest;
        }
    }

    /// Processes one byte of a line.
    fn byte(&mut self, byte: u8, limits: &Limits) -> Result<(), DecodeError> {
        match (self.state, byte) {
            (ChunkState::DataCr, b'\r') => self.state = ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => self.state = ChunkState::Size,
            (ChunkState::DataCr | ChunkState::DataLf, _) => return self.fault(Fault::MissingChunkEnd),
            _ => {
                self.line += 1;
                if self.line > limits.chunk_line_size {
                    return self.fault(Fault::OversizedChunkExtensions);
                }
                self.line_byte(byte, limits)?;
            }
        }
        Ok(())
    }

    fn line_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), DecodeError> {
        match (self.state, byte) {
            (ChunkState::SizeLf, b'\n') => return self.line_done(limits),
            (ChunkState::SizeLf, _) => return self.fault(Fault::BareCr),
            (_, b'\n') => return self.fault(Fault::BareLf),
            (_, 0) => return self.fault(Fault::Nul),
            (ChunkState::Extension(at), byte) => {
                self.state =
                    extension(at, byte).map_or_else(|| self.fault(Fault::InvalidChunkExtension), Ok)?;
            }
            (ChunkState::Size, byte) if byte.is_ascii_hexdigit() && self.digits < 16 => {
                self.digits += 1;
                self.size = self.size << 4 | u64::from(hex(byte));
            }
            (ChunkState::Size, b'\r') if self.digits > 0 => self.state = ChunkState::SizeLf,
            (ChunkState::Size | ChunkState::Space, b';') if self.digits > 0 => {
                self.state = ChunkState::Extension(Extension::Begin);
            }
            (ChunkState::Size | ChunkState::Space, b' ' | b'\t') if self.digits > 0 => {
                self.state = ChunkState::Space
            }
            _ => return self.fault(Fault::InvalidChunkSize),
        }
        Ok(())
    }

    fn line_done(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        // Each line is within its own limit, but a body of tiny chunks with extensions would have no end.
        let line = self.line as u64;
        self.excess =
            (self.excess + line).saturating_sub(FREE_LINE.saturating_add(self.size.saturating_mul(2)));
        if self.excess > EXCESS {
            return self.fault(Fault::OversizedChunkExtensions);
        }
        (self.line, self.digits) = (0, 0);
        if self.size == 0 {
            self.state = ChunkState::Trailers;
            return Ok(());
        }
        match self.total.checked_add(self.size) {
            Some(total) if total <= limits.body_size => self.total = total,
            _ => return Err(LimitExceeded::new(LimitKind::BodySize, limits.body_size).into()),
        }
        self.state = ChunkState::Data;
        Ok(())
    }

    fn fault<T>(&self, fault: Fault) -> Result<T, DecodeError> {
        Err(Malformed { fault, part: MessagePart::Body, at: self.at }.into())
    }
}

/// Returns the state after one more byte of an extension. `None` if the byte is invalid there.
fn extension(at: Extension, byte: u8) -> Option<ChunkState> {
    use Extension::{AfterName, Begin, Equals, Escaped, Name, Quoted, Token, Unquoted};
    let next = match (at, byte) {
        (Name | Token | Unquoted, b'\r') => return Some(ChunkState::SizeLf),
        (Name | AfterName | Token | Unquoted, b';') => Begin,
        (Token | Unquoted, b' ' | b'\t') => return Some(ChunkState::Space),
        (Begin | Equals, b' ' | b'\t') => at,
        (Name | AfterName, b' ' | b'\t') => AfterName,
        (Name | AfterName, b'=') => Equals,
        (Equals, b'"') => Quoted,
        (Begin | Name, byte) if is_token(byte) => Name,
        (Equals | Token, byte) if is_token(byte) => Token,
        (Quoted, b'"') => Unquoted,
        (Quoted, b'\\') => Escaped,
        (Quoted | Escaped, byte) if is_value(byte) => Quoted,
        _ => return None,
    };
    Some(ChunkState::Extension(next))
}

fn hex(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}
