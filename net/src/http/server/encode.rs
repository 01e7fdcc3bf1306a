//! Writes the heads of responses.

use ::http::{HeaderValue, StatusCode, header};

use super::Response;
use super::date;
use super::writer::Framing;
use crate::http::message::put_length;

/// Interim: go on with the body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The field that tells the date, with its line end.
pub(super) type DateLine = [u8; 6 + date::LENGTH + 2];

pub(super) fn date_line(seconds: u64) -> DateLine {
    let mut line = [b' '; 6 + date::LENGTH + 2];
    line[..5].copy_from_slice(b"Date:");
    line[6..6 + date::LENGTH].copy_from_slice(&date::format(seconds));
    line[6 + date::LENGTH..].copy_from_slice(b"\r\n");
    line
}

/// What the connection will do after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Stay, as HTTP/1.1 connections do.
    Default,
    /// Stay, which an HTTP/1.0 client has to be told.
    KeepAlive,
    Close,
}

/// Writes a head at the end of `out`. All that is in the response was checked before: it has no framing of its own,
/// and names and values are valid by their types.
pub(super) fn head(
    out: &mut Vec<u8>,
    response: &Response,
    framing: Option<Framing>,
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
        Some(Framing::Length(length)) => put_length(out, length),
        Some(Framing::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(Framing::ToEnd) | None => {}
    }
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
    if let Some(kind) = &response.content_type {
        field(out, b"Content-Type", kind);
    }
    for (name, value) in &response.headers {
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

/// Names are kept in lower case, and mean the same in any. They are sent as people, and programs that take the standard
/// less seriously, know them.
fn capitalize(name: &mut [u8]) {
    let mut begins = true;
    for byte in name {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = *byte == b'-';
    }
}
