//! Decodes the bytes of a connection to responses.

use ::http::{Method, StatusCode, Version};

use super::body::{Body, BodyLength, BodyStep};
use super::error::{DecodeError, Fault, Malformed, MessagePart};
use super::fields::Fields;
use super::framing::{FramingFields, Sender};
use super::head::{Block, BlockReader, HeadKind, StartLine};
use super::limits::Limits;

/// A status line and its header fields.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase as received. May be empty.
    pub reason: &'a [u8],
    /// HTTP/1.0, or HTTP/1.1 for that and all higher minor versions.
    pub version: Version,
    /// The header fields.
    pub headers: Fields<'a>,
    /// How the end of the body is determined.
    pub body: BodyLength,
    /// Whether the connection can be used again after the response.
    pub keep_alive: bool,
}

impl ResponseHead<'_> {
    /// Returns the length of the body, if the head contains it.
    pub fn length(&self) -> Option<u64> {
        match self.body {
            BodyLength::Empty => Some(0),
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked | BodyLength::ToEnd => None,
        }
    }

    /// Returns the received reason phrase, or the usual one of the status.
    pub(crate) fn reason_phrase(&self) -> String {
        if self.reason.is_empty() {
            self.status.canonical_reason().unwrap_or_default().to_owned()
        } else {
            String::from_utf8_lossy(self.reason).into_owned()
        }
    }
}

/// A part of a response.
#[derive(Clone, Copy, Debug)]
pub enum ResponseEvent<'a> {
    /// An interim (1xx) response. The final one follows.
    Interim(ResponseHead<'a>),
    /// The head of the final response.
    Head(ResponseHead<'a>),
    /// The next bytes of the body. Never empty.
    Body(&'a [u8]),
    /// The end of the response, with its trailer fields.
    End(Fields<'a>),
}

/// The meaning of the end of the connection for the current message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// No message was in progress.
    Idle,
    /// The message is complete: its body continues to the end of the connection, or only the event of its end
    /// was not yet requested.
    Complete,
    /// Nothing of the expected message has arrived.
    Nothing,
    /// The head is incomplete.
    InHead,
    /// The body is incomplete.
    InBody {
        /// The number of received bytes of the body.
        received: u64,
        /// The announced number of bytes, if there is one.
        expected: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ResponseState {
    Idle,
    Head,
    Body,
    Failed(DecodeError),
}

/// Decodes responses, one for each request, from pieces of any size.
///
/// It uses no sockets. Call [`start`](ResponseDecoder::start) for each request that is sent,
/// [`decode`](ResponseDecoder::decode) with received bytes until it returns `None`, and
/// [`eof`](ResponseDecoder::eof) when the connection ends.
///
/// A head that is complete in the input is parsed in place, and body bytes are always returned as slices of
/// the input. Only parts that a read has split are copied. The buffers are reused from message to message;
/// [`release`](ResponseDecoder::release) frees them while a connection is idle.
///
/// A response that two parsers could read differently is refused (H6), including lines that end in a bare
/// line feed.
///
/// # Errors
///
/// After an error, the connection cannot be used any more. Every further call returns the same error.
///
/// # Examples
///
/// ```
/// use twistor::http::Method;
/// use twistor::http::message::{Limits, ResponseDecoder, ResponseEvent};
///
/// let mut decoder = ResponseDecoder::new(Limits::default());
/// decoder.start(&Method::GET);
/// let mut body = Vec::new();
/// for mut input in [&b"HTTP/1.1 200 OK\r\nContent-Le"[..], b"ngth: 5\r\n\r\nHel", b"lo"] {
///     while let Some(event) = decoder.decode(&mut input)? {
///         match event {
///             ResponseEvent::Head(head) => assert_eq!(head.status, 200),
///             ResponseEvent::Body(bytes) => body.extend_from_slice(bytes),
///             _ => {}
///         }
///     }
/// }
/// assert_eq!(body, b"Hello");
/// assert!(decoder.is_idle() && decoder.keep_alive());
/// # Ok::<(), twistor::http::message::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: Limits,
    reader: BlockReader,
    state: ResponseState,
    body: Body,
    request: RequestKind,
    interim: usize,
    keep_alive: bool,
}

/// The relevant kind of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    Head,
    Connect,
    Other,
}

impl ResponseDecoder {
    /// Creates a decoder that waits for [`start`](ResponseDecoder::start).
    pub fn new(limits: Limits) -> ResponseDecoder {
        ResponseDecoder {
            limits,
            reader: BlockReader::default(),
            state: ResponseState::Idle,
            body: Body::ToEnd { received: 0 },
            request: RequestKind::Other,
            interim: 0,
            keep_alive: true,
        }
    }

    /// Expects the response to a request with this method.
    ///
    /// Responses to `HEAD`, and successful ones to `CONNECT`, have no body.
    ///
    /// # Panics
    ///
    /// In debug builds, if another response is incomplete.
    pub fn start(&mut self, method: &Method) {
        debug_assert!(self.is_idle(), "another response is incomplete");
        self.request = match *method {
            Method::HEAD => RequestKind::Head,
            Method::CONNECT => RequestKind::Connect,
            _ => RequestKind::Other,
        };
        self.interim = 0;
        if self.state == ResponseState::Idle {
            self.state = ResponseState::Head;
        }
    }

    /// Changes the limits, from the next head on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Returns whether no response is expected or incomplete. Further input then belongs to no request.
    pub fn is_idle(&self) -> bool {
        self.state == ResponseState::Idle
    }

    /// Returns whether the connection can carry another request after the last response.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && !matches!(self.state, ResponseState::Failed(_))
    }

    /// Releases the memory of the buffers. Only between messages.
    pub fn release(&mut self) {
        if self.is_idle() {
            self.reader.release();
        }
    }

    /// Removes the next part of the response from the front of `input`. `None` if more input is needed, or if
    /// no response is expected, in which case `input` is unchanged.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`].
    pub fn decode<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<ResponseEvent<'a>>, DecodeError> {
        match self.state {
            ResponseState::Idle => Ok(None),
            ResponseState::Head => self.head(input),
            ResponseState::Body => match self.body.step(input, &mut self.reader, &self.limits) {
                Ok(BodyStep::More) => Ok(None),
                Ok(BodyStep::Data(data)) => Ok(Some(ResponseEvent::Body(data))),
                Ok(BodyStep::End(block)) => {
                    self.state = ResponseState::Idle;
                    let block = block.map_or(&b""[..], |block| take(&self.reader, block, input));
                    let spans = if block.is_empty() { &[][..] } else { &self.reader.spans[..] };
                    Ok(Some(ResponseEvent::End(Fields::new(block, spans))))
                }
                Err(error) => {
                    self.state = ResponseState::Failed(error.clone());
                    Err(error)
                }
            },
            ResponseState::Failed(ref error) => Err(error.clone()),
        }
    }

    /// Handles the end of the connection. Returns its meaning for the current response. Afterwards the
    /// decoder is idle, and the connection cannot be reused.
    ///
    /// # Errors
    ///
    /// If the head or the trailers are incomplete, and the received part is malformed.
    pub fn eof(&mut self) -> Result<Eof, DecodeError> {
        self.keep_alive = false;
        match std::mem::replace(&mut self.state, ResponseState::Idle) {
            ResponseState::Idle => Ok(Eof::Idle),
            ResponseState::Head if !self.reader.is_started() => Ok(Eof::Nothing),
            ResponseState::Head => {
                let checked = self.reader.check(HeadKind::Response, self.limits.header_count);
                checked
                    .inspect_err(|error| self.state = ResponseState::Failed(error.clone()))
                    .map(|()| Eof::InHead)
            }
            ResponseState::Body => match self.body {
                Body::ToEnd { .. } | Body::Known { left: 0, .. } => Ok(Eof::Complete),
                ref body => {
                    let (received, expected) = body.progress();
                    // Only trailers can be incomplete here.
                    let checked = self.reader.check(HeadKind::Trailers, self.limits.header_count);
                    checked.inspect_err(|error| self.state = ResponseState::Failed(error.clone()))?;
                    Ok(Eof::InBody { received, expected })
                }
            },
            ResponseState::Failed(error) => {
                self.state = ResponseState::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn head<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<ResponseEvent<'a>>, DecodeError> {
        // Two functions, because a head borrows the decoder that an error would have to change.
        match self.read_head(input) {
            Ok(Some((block, parts))) => {
                let bytes = take(&self.reader, block, input);
                let head = ResponseHead {
                    status: parts.status,
                    reason: reason(bytes),
                    version: if parts.http11 { Version::HTTP_11 } else { Version::HTTP_10 },
                    headers: Fields::new(bytes, &self.reader.spans),
                    body: parts.length,
                    keep_alive: self.keep_alive,
                };
                Ok(Some(
                    if parts.status.is_informational() && parts.status != StatusCode::SWITCHING_PROTOCOLS {
                        ResponseEvent::Interim(head)
                    } else {
                        ResponseEvent::Head(head)
                    },
                ))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.state = ResponseState::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<(Block, ResponseParts)>, DecodeError> {
        let (max_bytes, max_fields) = (self.limits.head_bytes(), self.limits.header_count);
        let Some(block) = self.reader.read(HeadKind::Response, input, max_bytes, max_fields)? else {
            return Ok(None);
        };
        let StartLine::Response { code, http11 } = block.start else { return Ok(None) };
        let Ok(status) = StatusCode::from_u16(code) else {
            return Err(Malformed::new(Fault::InvalidStatusLine, MessagePart::Head, "HTTP/1.1 ".len()).into());
        };
        let bytes = if block.buffered { self.reader.bytes() } else { &input[..block.len] };
        let facts = FramingFields::read(Sender::Server, http11, bytes, &self.reader.spans)?;
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        let length = match self.request {
            _ if bodiless || status == StatusCode::NOT_MODIFIED => BodyLength::Empty,
            RequestKind::Head => BodyLength::Empty,
            RequestKind::Connect if status.is_success() => BodyLength::Empty,
            _ if facts.chunked => BodyLength::Chunked,
            _ => facts.length.map_or(BodyLength::ToEnd, BodyLength::Known),
        };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed::new(Fault::UnexpectedUpgrade, MessagePart::Head, "HTTP/1.1 ".len()).into());
        }
        if status.is_informational() {
            self.interim += 1;
            if self.interim > self.limits.interim_count {
                return Err(Malformed::new(Fault::TooManyInterim, MessagePart::Head, 0).into());
            }
            return Ok(Some((block, ResponseParts { status, http11, length })));
        }
        // A body where none is allowed. It is not read, so the connection cannot be reused.
        let contradicts = bodiless && (facts.chunked || facts.length.is_some_and(|length| length > 0));
        // What follows is the tunnel's data, not another response.
        let tunnel = self.request == RequestKind::Connect && status.is_success();
        self.keep_alive = facts.persists(http11) && length != BodyLength::ToEnd && !contradicts && !tunnel;
        self.body = Body::new(length, &self.limits)?;
        self.state = ResponseState::Body;
        Ok(Some((block, ResponseParts { status, http11, length })))
    }
}

/// The parts of a head besides its bytes.
#[derive(Clone, Copy)]
struct ResponseParts {
    status: StatusCode,
    http11: bool,
    length: BodyLength,
}

/// Returns the bytes of a block, from the reader or from the input.
pub(crate) fn take<'a, 'i: 'a>(reader: &'a BlockReader, block: Block, input: &mut &'i [u8]) -> &'a [u8] {
    if block.buffered {
        return reader.bytes();
    }
    let (bytes, rest) = input.split_at(block.len);
    *input = rest;
    bytes
}

/// Returns the text after `HTTP/1.1 200 `.
fn reason(head: &[u8]) -> &[u8] {
    let end = head.iter().position(|&byte| byte == b'\r').unwrap_or_default();
    head.get("HTTP/1.1 200 ".len()..end).unwrap_or_default()
}
