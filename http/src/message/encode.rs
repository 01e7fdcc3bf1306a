//! Encodes messages, and refuses parts that would be read as more than one.

use std::error::Error;
use std::fmt;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::diagnose::{is_token, is_value};

/// A part that cannot be encoded. Nothing of the head is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A method that is not a token, or `CONNECT`, which opens tunnels and fetches nothing.
    InvalidMethod {
        /// The method, escaped.
        method: String,
    },
    /// A `TRACE` request with a body, which it must not have (RFC 9110, section 9.3.8).
    UnexpectedBody,
    /// A target that is empty, or contains a space, a control or a non-ASCII character.
    InvalidTarget {
        /// The number of bytes before the character.
        at: usize,
    },
    /// A reason with a control character.
    InvalidReason {
        /// The number of bytes before the character.
        at: usize,
    },
    /// A header name that is not a token.
    InvalidHeaderName {
        /// The name, escaped.
        name: String,
    },
    /// A header value with a control character other than a tab.
    InvalidHeaderValue {
        /// The header's name.
        name: String,
        /// The number of bytes of the value before the character.
        at: usize,
    },
    /// `Content-Length` or `Transfer-Encoding` as an ordinary header. Set the framing with
    /// [`HeadWriter::length`] or [`HeadWriter::chunked`], once.
    FramingHeader {
        /// The header's name.
        name: String,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::InvalidMethod { method } => {
                write!(f, "invalid method \"{method}\"")?;
                if method == "CONNECT" {
                    f.write_str(": it opens tunnels and fetches nothing")
                } else {
                    Ok(())
                }
            }
            EncodeError::UnexpectedBody => f.write_str("a TRACE request must not have a body"),
            EncodeError::InvalidTarget { at } => write!(f, "invalid character at byte {at} of the target"),
            EncodeError::InvalidReason { at } => write!(f, "invalid character at byte {at} of the reason"),
            EncodeError::InvalidHeaderName { name } => write!(f, "invalid header name \"{name}\""),
            EncodeError::InvalidHeaderValue { name, at } => {
                write!(f, "invalid character at byte {at} of the value of header {name}")
            }
            EncodeError::FramingHeader { name } => {
                write!(f, "header {name} must not be set: the library frames the message")
            }
        }
    }
}

impl Error for EncodeError {}

/// Writes one head, or one trailer section, at the end of a buffer.
///
/// Nothing stays in the buffer unless [`finish`](HeadWriter::finish) is called: after an error, or if the
/// writer is dropped before, the buffer is unchanged.
///
/// # Examples
///
/// ```
/// use twistor::http::{Method, StatusCode};
/// use twistor::http::message::{EncodeError, HeadWriter};
///
/// let mut out = Vec::new();
/// let mut head = HeadWriter::request(&mut out, &Method::GET, "/a?b")?;
/// head.field("Host", "example.org")?;
/// head.finish();
/// assert_eq!(out, b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\n");
///
/// out.clear();
/// let mut head = HeadWriter::response(&mut out, StatusCode::OK, None)?;
/// head.length(5)?;
/// assert!(head.field("Set-Cookie", "a=b\r\nEvil: 1").is_err());
/// drop(head);
/// assert!(out.is_empty());
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    framed: bool,
}

impl<'a> HeadWriter<'a> {
    fn new(out: &'a mut Vec<u8>) -> HeadWriter<'a> {
        HeadWriter { start: out.len(), out, framed: false }
    }

    /// Starts an HTTP/1.1 request. The target is written as it is, so it must be percent-encoded.
    ///
    /// # Errors
    ///
    /// [`EncodeError::InvalidTarget`]. A [`Method`] is always valid.
    pub fn request(
        out: &'a mut Vec<u8>,
        method: &Method,
        target: &str,
    ) -> Result<HeadWriter<'a>, EncodeError> {
        match target.bytes().position(|byte| !byte.is_ascii_graphic()) {
            None if !target.is_empty() => {}
            at => return Err(EncodeError::InvalidTarget { at: at.unwrap_or_default() }),
        }
        let writer = HeadWriter::new(out);
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            writer.out.extend_from_slice(part.as_bytes());
        }
        Ok(writer)
    }

    /// Starts an HTTP/1.1 response. Default reason: the usual one of the status.
    ///
    /// # Errors
    ///
    /// [`EncodeError::InvalidReason`].
    pub fn response(
        out: &'a mut Vec<u8>,
        status: StatusCode,
        reason: Option<&str>,
    ) -> Result<HeadWriter<'a>, EncodeError> {
        let reason = match reason {
            Some(reason) => reason,
            None => status.canonical_reason().unwrap_or_default(),
        };
        if let Some(at) = reason.bytes().position(|byte| !is_value(byte)) {
            return Err(EncodeError::InvalidReason { at });
        }
        let writer = HeadWriter::new(out);
        for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            writer.out.extend_from_slice(part.as_bytes());
        }
        Ok(writer)
    }

    /// Ends a chunked body and starts its trailer section.
    pub fn trailers(out: &'a mut Vec<u8>) -> HeadWriter<'a> {
        let mut writer = HeadWriter::new(out);
        writer.out.extend_from_slice(b"0\r\n");
        // Neither framing field belongs in a trailer section.
        writer.framed = true;
        writer
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// If the name is not a token or is a framing field, or the value has CR, LF, NUL or another control
    /// character.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        let value = value.as_ref();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(EncodeError::InvalidHeaderName { name: name.escape_default().to_string() });
        }
        if let Some(at) = value.iter().position(|&byte| !is_value(byte)) {
            return Err(EncodeError::InvalidHeaderValue { name: name.to_owned(), at });
        }
        self.put(name, value)
    }

    /// Adds a field of the library, whose name and value are valid constants.
    pub(crate) fn known(&mut self, name: &'static str, value: &'static str) {
        debug_assert!(name.bytes().all(is_token) && value.bytes().all(is_value));
        self.line(name, value.as_bytes());
    }

    /// Adds a field whose name and value are valid by their types.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FramingHeader`].
    pub fn header(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), EncodeError> {
        self.put(name.as_str(), value.as_bytes())
    }

    /// Adds all fields of a map.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FramingHeader`].
    pub fn headers(&mut self, map: &HeaderMap) -> Result<(), EncodeError> {
        map.iter().try_for_each(|(name, value)| self.header(name, value))
    }

    /// Announces a body of this many bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FramingHeader`] if the framing was already set.
    pub fn length(&mut self, length: u64) -> Result<(), EncodeError> {
        self.frame("Content-Length")?;
        put_length(self.out, length);
        Ok(())
    }

    /// Announces a body in chunks, which a [`ChunkWriter`] writes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FramingHeader`] if the framing was already set.
    pub fn chunked(&mut self) -> Result<(), EncodeError> {
        self.frame("Transfer-Encoding")?;
        self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        Ok(())
    }

    /// Ends the head.
    pub fn finish(mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.start = self.out.len();
    }

    fn frame(&mut self, name: &str) -> Result<(), EncodeError> {
        if std::mem::replace(&mut self.framed, true) {
            return Err(EncodeError::FramingHeader { name: name.to_owned() });
        }
        Ok(())
    }

    fn put(&mut self, name: &str, value: &[u8]) -> Result<(), EncodeError> {
        if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(EncodeError::FramingHeader { name: name.to_owned() });
        }
        self.line(name, value);
        Ok(())
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.out.extend_from_slice(part);
        }
    }
}

impl Drop for HeadWriter<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// Writes a body in chunks. The last chunk is written by [`ChunkWriter::finish`] or, with trailer fields, by
/// [`HeadWriter::trailers`].
///
/// # Examples
///
/// ```
/// use twistor::http::message::ChunkWriter;
///
/// let mut out = Vec::new();
/// ChunkWriter::chunk(&mut out, b"Hello, world!");
/// ChunkWriter::chunk(&mut out, b"");
/// ChunkWriter::finish(&mut out);
/// assert_eq!(out, b"d\r\nHello, world!\r\n0\r\n\r\n");
/// ```
#[derive(Debug)]
pub struct ChunkWriter {
    size: [u8; 18],
    start: usize,
}

impl ChunkWriter {
    /// Writes `data` as one chunk. Writes nothing if it is empty, because an empty chunk ends a body.
    pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
        if !data.is_empty() {
            out.extend_from_slice(ChunkWriter::size_line(data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the last, empty chunk and an empty trailer section.
    pub fn finish(out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n\r\n");
    }

    /// Returns the line before a chunk's data, for writing several slices without a copy: this line, the
    /// data, and a line end.
    pub fn size_line(size: usize) -> ChunkWriter {
        let mut line = [0; 18];
        line[16..].copy_from_slice(b"\r\n");
        let start = 16 - number(size as u64, 16, &mut line[..16]).len();
        ChunkWriter { size: line, start }
    }

    /// Returns the bytes of a [`size_line`](ChunkWriter::size_line).
    pub fn as_bytes(&self) -> &[u8] {
        &self.size[self.start..]
    }
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    let mut digits = [0; 20];
    out.extend_from_slice(number(length, 10, &mut digits));
    out.extend_from_slice(b"\r\n");
}

/// Formats a number at the end of `buffer`, which is large enough for the base.
fn number(mut value: u64, base: u64, buffer: &mut [u8]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b"0123456789abcdef"[(value % base) as usize];
        value /= base;
        if value == 0 {
            return &buffer[start..];
        }
    }
}
