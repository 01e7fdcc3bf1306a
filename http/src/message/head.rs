//! Reads one block of fields, with or without a start line: in the input, if it is complete there, or in a
//! buffer that collects it.
//!
//! httparse parses the fields. Where it is lenient (lines that end in a bare LF, empty lines before a status
//! line), the block is checked again. If it refuses the block, `diagnose` finds the fault and its position. A
//! block that arrives in pieces is checked line by line, so that it is refused at the same position.

use std::mem::MaybeUninit;

use super::diagnose::{Checked, LONGEST_METHOD, diagnose, method_is_too_long};
use super::error::{DecodeError, Fault, LimitExceeded, LimitKind, Malformed, MessagePart};
use super::fields::Span;

/// The start of a block.
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
            HeadKind::Trailers => LimitExceeded::new(LimitKind::TrailersSize, limit as u64).into(),
            _ => LimitExceeded::new(LimitKind::HeadSize, limit as u64).into(),
        }
    }
}

/// A parsed start line, as positions in its block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StartLine {
    Request { method: (u32, u32), target: (u32, u32), http11: bool },
    Response { code: u16, http11: bool },
    None,
}

/// A complete block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) start: StartLine,
    /// Its length, including the empty line.
    pub(crate) len: usize,
    /// Whether it is in the reader's buffer, not at the front of the input.
    pub(crate) buffered: bool,
}

/// The number of fields parsed on the stack, enough for nearly every message. More are parsed in a vector.
const STACK_FIELDS: usize = 100;

/// A name of one byte, a colon and a line end.
const SHORTEST_FIELD: usize = 3;

/// Collects a block. Its buffers are reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct BlockReader {
    bytes: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    checked: Checked,
    /// The block is complete. It is kept until the next one begins.
    done: bool,
}

impl BlockReader {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether a part of a block was read.
    pub(crate) fn is_started(&self) -> bool {
        !self.done && !self.bytes.is_empty()
    }

    /// Clears the block, and keeps the memory.
    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.checked = Checked::default();
        self.done = false;
    }

    /// Releases the memory.
    pub(crate) fn release(&mut self) {
        *self = BlockReader::default();
    }

    /// Returns the capacity in bytes and spans.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity()
    }

    /// Reads from `input`. A block that is complete in the input stays there, for the caller to take;
    /// otherwise the bytes are taken.
    pub(crate) fn read(
        &mut self,
        kind: HeadKind,
        input: &mut &[u8],
        max_bytes: usize,
        max_fields: usize,
    ) -> Result<Option<Block>, DecodeError> {
        // Only now, because the event with the last block borrowed it.
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
            // Each line is checked when it is complete, so that a fault is reported at once.
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

    /// Moves `count` bytes of the input to the buffer.
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

    /// Returns the error of a block above the limit. A fault within the limit takes precedence, wherever the
    /// input was split.
    fn overflow(&mut self, kind: HeadKind, max_bytes: usize, max_fields: usize) -> DecodeError {
        match self.check_all(kind, max_fields) {
            Err(error) => error,
            Ok(()) => kind.too_large(max_bytes),
        }
    }

    /// Checks the incomplete block at the end of the input.
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

/// Parses a block at the front of `bytes`. `None` while it is incomplete.
fn parse(
    kind: HeadKind,
    bytes: &[u8],
    max_fields: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<(StartLine, usize)>, DecodeError> {
    // httparse skips empty lines here, which are not allowed.
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
        // The parser's error, if the checks below find none.
        Err(httparse::Error::Status) => Fault::InvalidStatusLine,
        Err(httparse::Error::Version) => Fault::InvalidVersion,
        Err(httparse::Error::HeaderName) => Fault::InvalidHeaderName,
        Err(httparse::Error::HeaderValue) => Fault::InvalidHeaderValue,
        Err(httparse::Error::NewLine) => Fault::BareCr,
        Err(_) => Fault::InvalidTarget,
    };
    told(kind, bytes, max_fields, fault)
}

/// Returns the fault of a refused block. Waits for more input if the possible fault is at its end.
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

/// Replaces a higher minor version by `HTTP/1.1`, since the parser does not know others. A recipient reads
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
        // No more fields fit, so that an unlimited number of fields costs no more memory than the bytes.
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
            // httparse's only function without a start line requires initialized fields.
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

/// Returns the position of a line feed without a carriage return.
///
/// Every line end but the last two precedes a field's name, so these positions are enough to find one.
fn bare_lf(block: &[u8], spans: &[Span]) -> Option<usize> {
    let fields =
        spans.iter().all(|span| span.name.0 == 0 || block[..span.name.0 as usize].ends_with(b"\r\n"));
    if fields && (block.ends_with(b"\r\n\r\n") || block == b"\r\n") {
        return None;
    }
    (0..block.len()).find(|&at| block[at] == b'\n' && (at == 0 || block[at - 1] != b'\r'))
}
