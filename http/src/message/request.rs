//! Decodes the bytes of a connection to requests.

use ::http::{Method, Version};

use super::body::{Body, BodyLength, BodyStep};
use super::error::{DecodeError, Fault, LimitExceeded, LimitKind, Malformed, MessagePart};
use super::fields::{Fields, Span, slice};
use super::framing::{FramingFields, Sender};
use super::head::{Block, BlockReader, HeadKind, StartLine};
use super::limits::Limits;
use super::response::{Eof, take};
use super::target::Target;

/// A request line and its header fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Target<'a>,
    /// The host, with its port if there is one: from the target, or from the `Host` header. `None` in
    /// HTTP/1.0 only.
    pub host: Option<&'a str>,
    /// HTTP/1.0, or HTTP/1.1 for that and all higher minor versions.
    pub version: Version,
    /// The header fields.
    pub headers: Fields<'a>,
    /// How the end of the body is determined. Never [`BodyLength::ToEnd`].
    pub body: BodyLength,
    /// Whether the client accepts another response on this connection. An HTTP/1.0 client needs `Connection:
    /// keep-alive` in the response.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`, or for a final status, before it sends the body.
    pub expect_continue: bool,
}

/// A part of a request.
#[derive(Clone, Debug)]
pub enum RequestEvent<'a> {
    /// The head.
    Head(RequestHead<'a>),
    /// The next bytes of the body. Never empty.
    Body(&'a [u8]),
    /// The end of the request, with its trailer fields.
    End(Fields<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RequestState {
    Head,
    Body,
    Failed(DecodeError),
}

/// Decodes requests, one after another, from pieces of any size.
///
/// It uses no sockets. Call [`decode`](RequestDecoder::decode) with received bytes until it returns `None`,
/// and [`eof`](RequestDecoder::eof) when the client's side of the connection ends. Pipelined requests stay in
/// the input after [`End`](RequestEvent::End). A server that answers one request at a time keeps that rest
/// and decodes it later.
///
/// Copies and buffers are as in a [`ResponseDecoder`](super::ResponseDecoder).
///
/// A request that two parsers could read differently is refused (W4): not only as RFC 9112 requires of
/// servers, but also with lines that end in a bare line feed, and with a repeated `Content-Length`.
///
/// # Errors
///
/// Answer with the status [`DecodeError::status`], and close the connection. Every further call returns the
/// same error.
/// # Examples
///
/// ```
/// use twistor::http::message::{Limits, RequestDecoder, RequestEvent};
///
/// let mut decoder = RequestDecoder::new(Limits::default());
/// let mut input = &b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\n"[..];
/// let Some(RequestEvent::Head(head)) = decoder.decode(&mut input)? else { panic!("a head is there") };
/// assert_eq!((head.target.path(), head.target.query(), head.host), ("/a", Some("b"), Some("h")));
/// assert!(matches!(decoder.decode(&mut input)?, Some(RequestEvent::End(_))));
/// assert_eq!(input, b"GET /next HTTP/1.1\r\n");
/// # Ok::<(), twistor::http::message::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    reader: BlockReader,
    state: RequestState,
    body: Body,
    /// The bytes of empty lines skipped before the request line.
    skipped: usize,
    skipped_cr: bool,
}

impl RequestDecoder {
    /// Creates a decoder for the requests of one connection.
    pub fn new(limits: Limits) -> RequestDecoder {
        RequestDecoder {
            limits,
            reader: BlockReader::default(),
            state: RequestState::Head,
            body: Body::ToEnd { received: 0 },
            skipped: 0,
            skipped_cr: false,
        }
    }

    /// Returns whether the decoder is between two requests, with no byte of the next one.
    pub fn is_idle(&self) -> bool {
        self.state == RequestState::Head && !self.reader.is_started() && self.skipped == 0
    }

    /// Returns the number of missing bytes of the body, as far as it is known.
    pub(crate) fn body_left(&self) -> u64 {
        match self.body {
            Body::Known { left, .. } if self.state == RequestState::Body => left,
            _ => 0,
        }
    }

    /// Releases the memory of the buffers. Only between messages.
    pub fn release(&mut self) {
        if self.is_idle() {
            self.reader.release();
        }
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.reader.memory()
    }

    /// Removes the next part of a request from the front of `input`. `None` if more input is needed.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`].
    pub fn decode<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<RequestEvent<'a>>, DecodeError> {
        match self.state {
            RequestState::Head => {
                let block = match self.read_head(input) {
                    Ok(Some(block)) => block,
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        self.state = RequestState::Failed(error.clone());
                        return Err(error);
                    }
                };
                let bytes = take(&self.reader, block, input);
                let head = interpret(block.start, bytes, &self.reader.spans, &self.limits);
                match head.and_then(|head| Ok((Body::new(head.body, &self.limits)?, head))) {
                    Ok((body, head)) => {
                        (self.body, self.state, self.skipped) = (body, RequestState::Body, 0);
                        Ok(Some(RequestEvent::Head(head)))
                    }
                    Err(error) => {
                        self.state = RequestState::Failed(error.clone());
                        Err(error)
                    }
                }
            }
            RequestState::Body => match self.body.step(input, &mut self.reader, &self.limits) {
                Ok(BodyStep::More) => Ok(None),
                Ok(BodyStep::Data(data)) => Ok(Some(RequestEvent::Body(data))),
                Ok(BodyStep::End(block)) => {
                    self.state = RequestState::Head;
                    let block = block.map_or(&b""[..], |block| take(&self.reader, block, input));
                    let spans = if block.is_empty() { &[][..] } else { &self.reader.spans[..] };
                    Ok(Some(RequestEvent::End(Fields::new(block, spans))))
                }
                Err(error) => {
                    self.state = RequestState::Failed(error.clone());
                    Err(error)
                }
            },
            RequestState::Failed(ref error) => Err(error.clone()),
        }
    }

    /// Handles the end of the client's side of the connection. Returns its meaning for the current request.
    ///
    /// # Errors
    ///
    /// If the head or the trailers are incomplete, and the received part is malformed.
    pub fn eof(&mut self) -> Result<Eof, DecodeError> {
        match self.state {
            RequestState::Head if self.is_idle() => Ok(Eof::Idle),
            RequestState::Head => {
                let checked = self.reader.check(HeadKind::Request, self.limits.header_count);
                checked
                    .inspect_err(|error| self.state = RequestState::Failed(error.clone()))
                    .map(|()| Eof::InHead)
            }
            RequestState::Body => match self.body.progress() {
                (received, Some(length)) if received == length => Ok(Eof::Complete),
                (received, expected) => {
                    // Only trailers can be incomplete here.
                    let checked = self.reader.check(HeadKind::Trailers, self.limits.header_count);
                    checked.inspect_err(|error| self.state = RequestState::Failed(error.clone()))?;
                    Ok(Eof::InBody { received, expected })
                }
            },
            RequestState::Failed(ref error) => Err(error.clone()),
        }
    }

    /// Skips empty lines before a request line, which some senders write after a body (RFC 9112, section
    /// 2.2).
    fn skip_empty_lines(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        while !self.reader.is_started() {
            match (self.skipped_cr, input.first()) {
                (false, Some(b'\r')) => self.skipped_cr = true,
                (true, Some(b'\n')) => self.skipped_cr = false,
                (true, Some(_)) => {
                    return Err(Malformed::new(Fault::BareCr, MessagePart::Head, self.skipped - 1).into());
                }
                (_, _) => break,
            }
            *input = &input[1..];
            self.skipped += 1;
            if self.skipped > self.limits.head_bytes() {
                return Err(LimitExceeded::new(LimitKind::HeadSize, self.limits.head_bytes() as u64).into());
            }
        }
        Ok(())
    }

    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Block>, DecodeError> {
        self.skip_empty_lines(input)?;
        let (max_bytes, max_fields) = (self.limits.head_bytes(), self.limits.header_count);
        let read = self.reader.read(HeadKind::Request, input, max_bytes, max_fields);
        read.map_err(|error| self.too_long(error, input))
    }

    /// Converts the error: if the first line of a large head does not end, the target is too long.
    fn too_long(&self, error: DecodeError, input: &[u8]) -> DecodeError {
        let bytes = if self.reader.is_started() { self.reader.bytes() } else { input };
        let window = &bytes[..bytes.len().min(self.limits.head_bytes())];
        match error {
            DecodeError::LimitExceeded(LimitExceeded { kind: LimitKind::HeadSize, .. })
                if !window.contains(&b'\n') =>
            {
                LimitExceeded::new(LimitKind::TargetSize, self.limits.target_size as u64).into()
            }
            error => error,
        }
    }
}

/// Interprets a complete head.
fn interpret<'a>(
    start: StartLine,
    bytes: &'a [u8],
    spans: &'a [Span],
    limits: &Limits,
) -> Result<RequestHead<'a>, DecodeError> {
    let malformed = |fault, at| DecodeError::from(Malformed::new(fault, MessagePart::Head, at));
    let StartLine::Request { method, target, http11 } = start else {
        return Err(malformed(Fault::InvalidMethod, 0));
    };
    if (target.1 - target.0) as usize > limits.target_size {
        return Err(LimitExceeded::new(LimitKind::TargetSize, limits.target_size as u64).into());
    }
    let facts = FramingFields::read(Sender::Client, http11, bytes, spans)?;
    if http11 && facts.host.is_none() {
        return Err(malformed(Fault::MissingHost, 0));
    }
    let method = Method::from_bytes(slice(bytes, method)).map_err(|_| malformed(Fault::InvalidMethod, 0))?;
    let text = std::str::from_utf8(slice(bytes, target)).unwrap_or_default();
    let parsed = Target::parse(method.as_str(), text);
    let target = parsed.ok_or_else(|| malformed(Fault::InvalidTarget, target.0 as usize))?;
    let body = match facts.length {
        _ if facts.chunked => BodyLength::Chunked,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Empty,
    };
    Ok(RequestHead {
        method,
        host: target.authority().or_else(|| facts.host.and_then(|host| std::str::from_utf8(host).ok())),
        target,
        version: if http11 { Version::HTTP_11 } else { Version::HTTP_10 },
        headers: Fields::new(bytes, spans),
        body,
        keep_alive: facts.persists(http11),
        expect_continue: facts.expect_continue && !matches!(body, BodyLength::Empty | BodyLength::Known(0)),
    })
}
