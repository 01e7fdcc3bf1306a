//! Writes the heads of responses.

use ::http::{HeaderName, HeaderValue, StatusCode, header};

use super::body_writer::BodyFraming;
use super::date;
use crate::message::put_length;

/// The interim response that asks the client for the body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The Date field with its line end.
pub(crate) type DateLine = [u8; 6 + date::LENGTH + 2];

pub(crate) fn date_line(seconds: u64) -> DateLine {
    let mut line = [b' '; 6 + date::LENGTH + 2];
    line[..5].copy_from_slice(b"Date:");
    line[6..6 + date::LENGTH].copy_from_slice(&date::format(seconds));
    line[6 + date::LENGTH..].copy_from_slice(b"\r\n");
    line
}

/// Whether the connection stays open after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It stays open, as is the default in HTTP/1.1.
    Default,
    /// It stays open, which the head has to say to an HTTP/1.0 client.
    KeepAlive,
    Close,
}

/// The parts of a head that the response determines. They have been checked: no field is about framing, and names and
/// values are valid by their types.
pub(crate) struct Head<'a> {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'a HeaderValue>,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
}

/// Writes a head at the end of `out`.
pub(crate) fn head(
    out: &mut Vec<u8>,
    response: &Head<'_>,
    framing: Option<BodyFraming>,
    persistence: Persistence,
    date: &DateLine,
) {
    if response.status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let reason = response.status.canonical_reason().unwrap_or_default();
        for part in ["HTTP/1.1 ", response.status.as_str(), " ", reason, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if !response.headers.iter().any(|(name, _)| *name == header::DATE) {
        out.extend_from_slice(date);
    }
    match framing {
        Some(BodyFraming::Length(length)) => put_length(out, length),
        Some(BodyFraming::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(BodyFraming::ToEnd) | None => {}
    }
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
    if let Some(kind) = response.content_type {
        field(out, b"Content-Type", kind);
    }
    for (name, value) in response.headers {
        let start = out.len();
        field(out, name.as_str().as_bytes(), value);
        capitalize(&mut out[start..start + name.as_str().len()]);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &HeaderValue) {
    for part in [name, b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes a name in the usual case. Names are case-insensitive, but some programs compare them byte by byte.
fn capitalize(name: &mut [u8]) {
    let mut begins = true;
    for byte in name {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = *byte == b'-';
    }
}
