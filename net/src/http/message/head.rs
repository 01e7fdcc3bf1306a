//! Reads one block of fields, with or without a start line: from the input itself where the block
//! is whole in it, else from a buffer that gathers it.
//!
//! httparse finds the fields. Where it is lenient (line ends of a bare LF, empty lines before a
//! status line) the block is checked again, and where it refuses, `diagnose` says what and where.

use std::mem::MaybeUninit;

use super::diagnose::diagnose;
use super::error::{DecodeError, Fault, HeadTooLarge, Malformed, Place, TooManyHeaders, TrailersTooLarge};
use super::fields::Span;

/// What a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Trailers,
}

impl Kind {
    pub(crate) fn place(self) -> Place {
        match self {
            Kind::Trailers => Place::Trailers,
            _ => Place::Head,
        }
    }

    fn too_large(self, limit: usize) -> DecodeError {
        match self {
            Kind::Trailers => TrailersTooLarge { limit }.into(),
            _ => HeadTooLarge { limit }.into(),
        }
    }
}

/// A start line, taken apart; positions in its block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StartLine {
    Request { method: (u32, u32), target: (u32, u32), http11: bool },
    Response { code: u16, http11: bool },
    None,
}

/// A block that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) start: StartLine,
    /// Its length, with the empty line.
    pub(crate) len: usize,
    /// Whether it lies in the reader's buffer, not at the front of the input.
    pub(crate) buffered: bool,
}

/// Fields on the stack for nearly every message; more are parsed into a vector.
const STACK_FIELDS: usize = 100;

/// Gathers a block. Its buffers are reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct BlockReader {
    bytes: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    line_start: usize,
    first_line_seen: bool,
    /// The block is complete; it is kept until the next one begins.
    done: bool,
}

impl BlockReader {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether part of a block was taken in.
    pub(crate) fn is_started(&self) -> bool {
        !self.done && !self.bytes.is_empty()
    }

    /// Forgets the block, keeps the memory.
    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.line_start = 0;
        self.first_line_seen = false;
        self.done = false;
    }

    /// Gives the memory back.
    pub(crate) fn release(&mut self) {
        *self = BlockReader::default();
    }

    /// How many bytes and spans it has room for.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity()
    }

    /// Takes in what it needs of `input`. A block that lies in the input is left there, for the
    /// caller to take; else what was read is taken.
    pub(crate) fn read(
        &mut self,
        kind: Kind,
        input: &mut &[u8],
        max_bytes: usize,
        max_fields: usize,
    ) -> Result<Option<Block>, DecodeError> {
        if self.done {
            self.clear();
        }
        if self.bytes.is_empty() {
            if input.is_empty() {
                return Ok(None);
            }
            let window = &input[..input.len().min(max_bytes)];
            if let Some((start, len)) = parse(kind, window, max_fields, &mut self.spans)? {
                self.done = true;
                return Ok(Some(Block { start, len, buffered: false }));
            }
            if input.len() >= max_bytes {
                return Err(kind.too_large(max_bytes));
            }
            self.bytes.extend_from_slice(input);
            *input = &[];
            if let Some(last) = self.bytes.iter().rposition(|&byte| byte == b'\n') {
                self.line_start = last + 1;
                self.first_line_seen = true;
            }
            return Ok(None);
        }
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            self.take(input, end + 1, kind, max_bytes, max_fields)?;
            let line = &self.bytes[self.line_start..];
            let whole = line == b"\r\n" || line == b"\n";
            self.line_start = self.bytes.len();
            // The first line is looked at when it is there, so that a peer that speaks something
            // else is told so at once; the others with the last, so that the work stays linear.
            if whole || !self.first_line_seen {
                self.first_line_seen = true;
                let parsed = parse(kind, &self.bytes, max_fields, &mut self.spans)?;
                if let Some((start, len)) = parsed {
                    self.done = true;
                    return Ok(Some(Block { start, len, buffered: true }));
                }
            }
        }
        let rest = input.len();
        self.take(input, rest, kind, max_bytes, max_fields)?;
        if self.bytes.len() >= max_bytes {
            return Err(self.overflow(kind, max_bytes, max_fields));
        }
        Ok(None)
    }

    /// Moves `count` bytes of the input into the buffer.
    fn take(
        &mut self,
        input: &mut &[u8],
        count: usize,
        kind: Kind,
        max_bytes: usize,
        max_fields: usize,
    ) -> Result<(), DecodeError> {
        let (taken, rest) = input.split_at(count);
        let room = max_bytes.saturating_sub(self.bytes.len());
        if count > room {
            self.bytes.extend_from_slice(&taken[..room]);
            return Err(self.overflow(kind, max_bytes, max_fields));
        }
        self.bytes.extend_from_slice(taken);
        *input = rest;
        Ok(())
    }

    /// A fault within the bound is told before the bound, at whatever places the input was split.
    fn overflow(&mut self, kind: Kind, max_bytes: usize, max_fields: usize) -> DecodeError {
        match parse(kind, &self.bytes, max_fields, &mut self.spans) {
            Err(error) => error,
            Ok(_) => kind.too_large(max_bytes),
        }
    }

    /// The input is over: what is wrong with the part that came, if that can be told.
    pub(crate) fn check(&mut self, kind: Kind, max_fields: usize) -> Result<(), DecodeError> {
        if !self.is_started() {
            return Ok(());
        }
        parse(kind, &self.bytes, max_fields, &mut self.spans).map(|_| ())
    }
}

/// Parses a block at the front of `bytes`; `None` while it is incomplete.
fn parse(
    kind: Kind,
    bytes: &[u8],
    max_fields: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, DecodeError> {
    // httparse passes over empty lines here, and none is due.
    let first = bytes.first().copied();
    let due = match kind {
        Kind::Request => !matches!(first, Some(b'\r' | b'\n')),
        Kind::Response => matches!(first, Some(b'H') | None),
        Kind::Trailers => true,
    };
    if !due {
        return Err(diagnose(kind, bytes, None));
    }
    let parsed = if max_fields <= STACK_FIELDS {
        let mut fields = [const { MaybeUninit::uninit() }; STACK_FIELDS];
        run(kind, bytes, &mut fields[..max_fields], spans)
    } else {
        let mut fields = vec![MaybeUninit::uninit(); max_fields];
        run(kind, bytes, &mut fields, spans)
    };
    match parsed {
        Ok(Some((start, len))) => match bare_lf(&bytes[..len], spans) {
            Some(at) => Err(Malformed::new(Fault::BareLf, kind.place(), at).into()),
            None => Ok(Some((start, len))),
        },
        Ok(None) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(TooManyHeaders { limit: max_fields }.into()),
        Err(error) => Err(diagnose(kind, bytes, Some(error))),
    }
}

fn run<'b>(
    kind: Kind,
    bytes: &'b [u8],
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, httparse::Error> {
    let (start, len, found): (_, _, &[httparse::Header<'b>]) = match kind {
        Kind::Request => {
            let mut request = httparse::Request::new(&mut []);
            let httparse::Status::Complete(len) = request.parse_with_uninit_headers(bytes, fields)? else {
                return Ok(None);
            };
            let start = StartLine::Request {
                method: Span::within(bytes, request.method.unwrap_or_default().as_bytes()),
                target: Span::within(bytes, request.path.unwrap_or_default().as_bytes()),
                http11: request.version == Some(1),
            };
            (start, len, request.headers)
        }
        Kind::Response => {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let httparse::Status::Complete(len) =
                config.parse_response_with_uninit_headers(&mut response, bytes, fields)?
            else {
                return Ok(None);
            };
            let start = StartLine::Response {
                code: response.code.unwrap_or_default(),
                http11: response.version == Some(1),
            };
            (start, len, response.headers)
        }
        Kind::Trailers => {
            // The one entry of httparse without a start line wants its fields initialised.
            let mut fields = vec![httparse::EMPTY_HEADER; fields.len()];
            let httparse::Status::Complete((len, found)) = httparse::parse_headers(bytes, &mut fields)?
            else {
                return Ok(None);
            };
            collect(bytes, found, spans);
            return Ok(Some((StartLine::None, len)));
        }
    };
    collect(bytes, found, spans);
    Ok(Some((start, len)))
}

fn collect(bytes: &[u8], found: &[httparse::Header<'_>], spans: &mut Vec<Span>) {
    spans.clear();
    spans.extend(found.iter().map(|field| Span {
        name: Span::within(bytes, field.name.as_bytes()),
        value: Span::within(bytes, field.value),
    }));
}

/// The place of a line feed that no carriage return precedes.
///
/// Every line end but the last two is followed by a field's name, so these places tell at once
/// whether there is one.
fn bare_lf(block: &[u8], spans: &[Span]) -> Option<usize> {
    let fields =
        spans.iter().all(|span| span.name.0 == 0 || block[..span.name.0 as usize].ends_with(b"\r\n"));
    if fields && (block.ends_with(b"\r\n\r\n") || block == b"\r\n") {
        return None;
    }
    (0..block.len()).find(|&at| block[at] == b'\n' && (at == 0 || block[at - 1] != b'\r'))
}
