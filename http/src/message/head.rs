//! Reads one block of fields, with or without a start line: from the input itself where the block
//! is whole in it, else from a buffer that gathers it.
//!
//! httparse finds the fields. Where it is lenient (line ends of a bare LF, empty lines before a
//! status line) the block is checked again, and where it refuses, `diagnose` says what and where.
//! A block that comes in pieces is checked line by line, so that it is refused at the same place.

use std::mem::MaybeUninit;

use super::diagnose::{Checked, LONGEST_METHOD, diagnose, method_is_too_long};
use super::error::{DecodeError, Fault, HeadTooLarge, Malformed, MessagePart, TrailersTooLarge};
use super::fields::Span;

/// What a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadKind {
    Request,
    Response,
    Trailers,
}

impl HeadKind {
    pub(crate) fn part(self) -> MessagePart {
        match self {
            HeadKind::Trailers => MessagePart::Trailers,
            _ => MessagePart::Head,
        }
    }

    fn too_large(self, limit: usize) -> DecodeError {
        match self {
            HeadKind::Trailers => TrailersTooLarge { limit }.into(),
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

/// A name of one byte, a colon, CR and LF.
const SHORTEST_FIELD: usize = 3;

/// Gathers a block. Its buffers are reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct BlockReader {
    bytes: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    checked: Checked,
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
        self.checked = Checked::default();
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
        kind: HeadKind,
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
            self.check_start(kind, window)?;
            self.checked.go_on(kind, window, max_fields)?;
            if input.len() >= max_bytes {
                return Err(kind.too_large(max_bytes));
            }
            self.bytes.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            self.take(input, end + 1, kind, max_bytes, max_fields)?;
            let line = &self.bytes[self.checked.at..];
            if line == b"\r\n" || line == b"\n" {
                let parsed = parse(kind, &self.bytes, max_fields, &mut self.spans)?;
                if let Some((start, len)) = parsed {
                    self.done = true;
                    return Ok(Some(Block { start, len, buffered: true }));
                }
            }
            // A line is looked at when it is there, so that a peer is told at once what is wrong.
            self.checked.go_on(kind, &self.bytes, max_fields)?;
        }
        let rest = input.len();
        self.take(input, rest, kind, max_bytes, max_fields)?;
        self.check_start(kind, &self.bytes)?;
        if self.bytes.len() >= max_bytes {
            return Err(self.overflow(kind, max_bytes, max_fields));
        }
        Ok(None)
    }

    fn check_start(&self, kind: HeadKind, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.checked.at == 0 && method_is_too_long(kind, bytes) {
            return Err(Malformed::new(Fault::MethodTooLong, MessagePart::Head, LONGEST_METHOD).into());
        }
        Ok(())
    }

    /// Moves `count` bytes of the input into the buffer.
    fn take(
        &mut self,
        input: &mut &[u8],
        count: usize,
        kind: HeadKind,
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
    fn overflow(&mut self, kind: HeadKind, max_bytes: usize, max_fields: usize) -> DecodeError {
        match self.check_all(kind, max_fields) {
            Err(error) => error,
            Ok(()) => kind.too_large(max_bytes),
        }
    }

    /// The input is over: what is wrong with the part that came, if that can be told.
    pub(crate) fn check(&mut self, kind: HeadKind, max_fields: usize) -> Result<(), DecodeError> {
        if !self.is_started() {
            return Ok(());
        }
        self.check_all(kind, max_fields)
    }

    fn check_all(&mut self, kind: HeadKind, max_fields: usize) -> Result<(), DecodeError> {
        self.check_start(kind, &self.bytes)?;
        parse(kind, &self.bytes, max_fields, &mut self.spans)?;
        self.checked.go_on(kind, &self.bytes, max_fields)
    }
}

/// Parses a block at the front of `bytes`; `None` while it is incomplete.
fn parse(
    kind: HeadKind,
    bytes: &[u8],
    max_fields: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, DecodeError> {
    // httparse passes over empty lines here, and none is due.
    let first = bytes.first().copied();
    let due = match kind {
        HeadKind::Request => !matches!(first, Some(b'\r' | b'\n')),
        HeadKind::Response => matches!(first, Some(b'H') | None),
        HeadKind::Trailers => true,
    };
    if !due {
        return told(kind, bytes, max_fields, Fault::InvalidStatusLine);
    }
    let parsed = match run_with(kind, bytes, max_fields, spans) {
        Err(httparse::Error::Version) => match with_known_minor(kind, bytes) {
            Some(known) => run_with(kind, &known, max_fields, spans),
            None => Err(httparse::Error::Version),
        },
        parsed => parsed,
    };
    let fault = match parsed {
        Ok(Some((start, len))) => {
            return match bare_lf(&bytes[..len], spans) {
                None if method_len(start) <= LONGEST_METHOD => Ok(Some((start, len))),
                _ => told(kind, &bytes[..len], max_fields, Fault::BareLf),
            };
        }
        Ok(None) => return Ok(None),
        // The parser's own word, for what passes below.
        Err(httparse::Error::Status) => Fault::InvalidStatusLine,
        Err(httparse::Error::Version) => Fault::InvalidVersion,
        Err(httparse::Error::HeaderName) => Fault::InvalidHeaderName,
        Err(httparse::Error::HeaderValue) => Fault::InvalidHeaderValue,
        Err(httparse::Error::NewLine) => Fault::BareCr,
        Err(_) => Fault::InvalidTarget,
    };
    told(kind, bytes, max_fields, fault)
}

/// What is wrong with a block that is not taken. Nothing as yet, if it ends in the middle of what may be wrong.
#[cold]
fn told<T>(
    kind: HeadKind,
    bytes: &[u8],
    max_fields: usize,
    otherwise: Fault,
) -> Result<Option<T>, DecodeError> {
    match diagnose(kind, bytes, max_fields) {
        Err(error) => Err(error),
        Ok(true) => Err(Malformed::new(otherwise, kind.part(), 0).into()),
        Ok(false) => Ok(None),
    }
}

fn method_len(start: StartLine) -> usize {
    match start {
        StartLine::Request { method, .. } => (method.1 - method.0) as usize,
        _ => 0,
    }
}

/// The block with `HTTP/1.1` in place of a higher minor version, which the parser does not know. A recipient reads
/// such a message as the highest minor version that it implements (RFC 9110, section 2.5).
#[cold]
fn with_known_minor(kind: HeadKind, bytes: &[u8]) -> Option<Vec<u8>> {
    let version = match kind {
        HeadKind::Request => {
            let mut spaces = (0..bytes.len()).filter(|&at| bytes[at] == b' ');
            spaces.nth(1)? + 1
        }
        HeadKind::Response => 0,
        HeadKind::Trailers => return None,
    };
    let minor = version + b"HTTP/1.".len();
    let higher = bytes[version..].starts_with(b"HTTP/1.") && matches!(bytes.get(minor), Some(b'2'..=b'9'));
    higher.then(|| {
        let mut known = bytes.to_vec();
        known[minor] = b'1';
        known
    })
}

fn run_with(
    kind: HeadKind,
    bytes: &[u8],
    max_fields: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, httparse::Error> {
    if max_fields <= STACK_FIELDS {
        let mut fields = [const { MaybeUninit::uninit() }; STACK_FIELDS];
        run(kind, bytes, &mut fields[..max_fields], spans)
    } else {
        // More fields than that do not fit; a limit without bound is to cost no more memory than the bytes.
        let mut fields = vec![MaybeUninit::uninit(); max_fields.min(bytes.len() / SHORTEST_FIELD + 1)];
        run(kind, bytes, &mut fields, spans)
    }
}

fn run<'b>(
    kind: HeadKind,
    bytes: &'b [u8],
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, httparse::Error> {
    let (start, len, found): (_, _, &[httparse::Header<'b>]) = match kind {
        HeadKind::Request => {
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
        HeadKind::Response => {
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
        HeadKind::Trailers => {
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
