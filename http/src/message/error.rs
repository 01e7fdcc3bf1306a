//! Errors of received messages.

use std::error::Error;
use std::fmt;

use ::http::StatusCode;
use twistor_deferred::Failure;

/// The reason why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message breaks the rules of the standard, or could be read in two ways.
    Malformed(Malformed),
    /// The message exceeds a limit.
    LimitExceeded(LimitExceeded),
}

impl DecodeError {
    /// Returns the status with which a server answers a request refused for this reason (W4).
    pub fn status(&self) -> StatusCode {
        match self {
            DecodeError::Malformed(malformed) => malformed.fault.status(),
            DecodeError::LimitExceeded(exceeded) => match exceeded.kind {
                LimitKind::HeadSize | LimitKind::HeaderCount | LimitKind::TrailersSize => {
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                }
                LimitKind::TargetSize => StatusCode::URI_TOO_LONG,
                LimitKind::BodySize => StatusCode::PAYLOAD_TOO_LARGE,
            },
        }
    }

    /// Converts to a failure of the inner type, so that `check::<Malformed>()` and `check::<LimitExceeded>()` find it.
    #[track_caller]
    pub fn into_failure(self) -> Failure {
        match self {
            DecodeError::Malformed(error) => error.into(),
            DecodeError::LimitExceeded(error) => error.into(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed(error) => error.fmt(f),
            DecodeError::LimitExceeded(error) => error.fmt(f),
        }
    }
}

impl Error for DecodeError {}

/// A message that is larger than a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The limit that the message exceeds.
    pub kind: LimitKind,
    /// The value of that limit: bytes, or fields for [`LimitKind::HeaderCount`].
    pub limit: u64,
}

/// A limit on the size of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::head_size`](super::Limits::head_size).
    HeadSize,
    /// [`Limits::header_count`](super::Limits::header_count), of a head or a trailer section.
    HeaderCount,
    /// [`Limits::target_size`](super::Limits::target_size), of a request.
    TargetSize,
    /// [`Limits::body_size`](super::Limits::body_size), or `max_body` of a request.
    BodySize,
    /// [`Limits::trailers_size`](super::Limits::trailers_size).
    TrailersSize,
}

impl LimitExceeded {
    /// Creates the error, for consumers of a body that set another limit.
    pub const fn new(kind: LimitKind, limit: u64) -> LimitExceeded {
        LimitExceeded { kind, limit }
    }

    /// Returns whether the body is too large.
    pub fn is_body(&self) -> bool {
        self.kind == LimitKind::BodySize
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.kind {
            LimitKind::HeadSize => write!(f, "the head of the message is larger than {limit} bytes"),
            LimitKind::HeaderCount => write!(f, "the message has more than {limit} header fields"),
            LimitKind::TargetSize => write!(f, "the target of the request is longer than {limit} bytes"),
            LimitKind::BodySize => write!(f, "the body of the message is larger than {limit} bytes"),
            LimitKind::TrailersSize => {
                write!(f, "the trailer section of the message is larger than {limit} bytes")
            }
        }
    }
}

impl Error for LimitExceeded {}

impl From<LimitExceeded> for DecodeError {
    fn from(error: LimitExceeded) -> DecodeError {
        DecodeError::LimitExceeded(error)
    }
}

/// The part of a message in which a fault was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessagePart {
    /// The start line and the header fields.
    Head,
    /// The body with its chunk lines.
    Body,
    /// The fields after the last chunk.
    Trailers,
}

/// A message that breaks the rules: the fault and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The fault.
    pub fault: Fault,
    /// The part of the message.
    pub part: MessagePart,
    /// The number of bytes of that part before the fault.
    pub at: u64,
}

impl Malformed {
    pub(crate) fn new(fault: Fault, part: MessagePart, at: usize) -> Malformed {
        Malformed { fault, part, at: at as u64 }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fault == Fault::TlsRecord {
            return f.write_str("the server speaks TLS on this port: its URL has to begin with https");
        }
        let part = match self.part {
            MessagePart::Head => "head",
            MessagePart::Body => "body",
            MessagePart::Trailers => "trailers",
        };
        write!(f, "malformed message: {} at byte {} of the {part}", self.fault, self.at)
    }
}

impl Error for Malformed {}

impl From<Malformed> for DecodeError {
    fn from(error: Malformed) -> DecodeError {
        DecodeError::Malformed(error)
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $message:literal;)*) => {
        /// The fault of a malformed message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Fault::$name => $message,)* })
            }
        }
    };
}

faults! {
    /// A carriage return without a line feed after it.
    BareCr = "a carriage return without its line feed";
    /// A line feed without a carriage return before it. RFC 9112 permits a recipient to accept it as a line
    /// end. Recipients that differ in this read different messages, so it is refused everywhere.
    BareLf = "a line feed without its carriage return";
    /// A NUL byte.
    Nul = "a NUL byte";
    /// A method that is not a token.
    InvalidMethod = "an invalid method";
    /// A method that is longer than any that is implemented.
    MethodTooLong = "a method that is too long";
    /// A target that is empty, has characters that no URL has, or has a form that its method does not permit.
    InvalidTarget = "an invalid request target";
    /// Neither `HTTP/1.1` nor another version at the position of the version.
    InvalidVersion = "no valid HTTP version";
    /// A major version other than 1.
    UnsupportedVersion = "an unsupported HTTP version";
    /// The start of a TLS record instead of a response: the server, or the proxy, speaks TLS on this port.
    TlsRecord = "a TLS record instead of a response";
    /// A status line that does not begin with `HTTP/`, a version and three digits.
    InvalidStatusLine = "an invalid status line";
    /// A field name that is not a token.
    InvalidHeaderName = "an invalid header name";
    /// White space in or after a field name.
    SpaceInHeaderName = "white space in or after a header name";
    /// A field line without a colon.
    MissingColon = "a header line without a colon";
    /// A control character in a field value.
    InvalidHeaderValue = "an invalid byte in a header value";
    /// A field line that begins with white space, and so continues the line before, or hides.
    FoldedHeader = "a header line that begins with white space";
    /// A `Content-Length` that is not a decimal number, or too large for 64 bits.
    InvalidContentLength = "an invalid content-length";
    /// More than one `Content-Length` in a request, or in a response more than one value.
    RepeatedContentLength = "a repeated content-length";
    /// `Content-Length` together with `Transfer-Encoding`.
    LengthWithTransferEncoding = "content-length together with transfer-encoding";
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingInHttp10 = "transfer-encoding in an HTTP/1.0 message";
    /// A `Transfer-Encoding` that is empty, or has `chunked` twice, with parameters, or not last.
    InvalidTransferEncoding = "an invalid transfer-encoding";
    /// A transfer coding other than `chunked`.
    UnsupportedTransferCoding = "an unsupported transfer coding";
    /// An HTTP/1.1 request without `Host`.
    MissingHost = "no host header";
    /// More than one `Host`.
    RepeatedHost = "a repeated host header";
    /// A `Host` that is empty, or not a host with an optional port.
    InvalidHost = "an invalid host header";
    /// An `Expect` other than `100-continue`.
    UnsupportedExpectation = "an unsupported expectation";
    /// A chunk size that is not one to sixteen hexadecimal digits.
    InvalidChunkSize = "an invalid chunk size";
    /// A chunk extension that is not a name, or a name and a value (a token, or text in quotes).
    InvalidChunkExtension = "an invalid chunk extension";
    /// A chunk's size line longer than allowed, or too much of the body made of such lines.
    OversizedChunkExtensions = "oversized chunk extensions";
    /// A chunk whose data is not followed by a line end.
    MissingChunkEnd = "a chunk that does not end where its size says";
    /// More interim responses than allowed.
    TooManyInterim = "too many interim responses";
    /// 101 Switching Protocols, which was not requested.
    UnexpectedUpgrade = "a switch of protocols that was not asked for";
}

impl Fault {
    /// Returns the status with which a server answers a request with this fault: 501 for transfer codings and
    /// long methods, 505 for versions, 417 for expectations, otherwise 400.
    pub fn status(self) -> StatusCode {
        match self {
            Fault::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Fault::UnsupportedTransferCoding | Fault::MethodTooLong => StatusCode::NOT_IMPLEMENTED,
            Fault::UnsupportedExpectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
