//! Finished requests, as reported to the watcher of a site.

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use ::http::{Method, StatusCode};
use twistor_net::Address;

use crate::{Fields, Headers, RequestHead};

/// A finished request and its answer, for an access log.
/// [`Site::on_answered`](crate::server::Site::on_answered) passes it to the watcher.
///
/// It displays as a line such as `127.0.0.1:40312 "GET /a?b=c" 200, 13 bytes in 0.2 ms`. Targets are
/// printable ASCII, and quotes and backslashes in them are escaped, so that no client can forge a line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answered<'a> {
    /// The client.
    pub peer: &'a Address,
    /// The method; `None` if the input was not a valid request.
    pub method: Option<&'a Method>,
    /// Path and query as received; empty if the input was not a valid request.
    pub target: &'a str,
    /// The header fields of the request.
    pub headers: Fields<'a>,
    /// The status of the answer; `None` if the client left before.
    pub status: Option<StatusCode>,
    /// The bytes of the answer's body that were written, without chunk lines.
    pub bytes: u64,
    /// The time from the end of the request's head until the answer was written. The operating system may
    /// still be sending it.
    pub duration: Duration,
    /// Whether the answer is complete: false if the client left, or the body failed.
    pub complete: bool,
}

impl fmt::Display for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.map_or("", Method::as_str);
        let space = if self.method.is_some() { " " } else { "" };
        write!(f, "{} \"{method}{space}", self.peer)?;
        for character in self.target.chars() {
            if matches!(character, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
        f.write_str("\" ")?;
        match self.status {
            Some(status) => write!(f, "{}", status.as_u16())?,
            None => f.write_str("-")?,
        }
        write!(f, ", {} bytes in {:.1} ms", self.bytes, self.duration.as_secs_f64() * 1e3)?;
        if self.complete { Ok(()) } else { f.write_str(", incomplete") }
    }
}

/// The record of a request while it is answered. It exists only for a watcher.
pub(crate) struct AnswerRecord {
    method: Method,
    target: String,
    headers: Headers,
    since: Instant,
    status: Option<StatusCode>,
    bytes: u64,
}

impl AnswerRecord {
    /// Creates the record of a new request.
    pub(crate) fn new(head: &RequestHead<'_>, now: Instant) -> AnswerRecord {
        let (path, query) = (head.target.path(), head.target.query());
        AnswerRecord {
            method: head.method.clone(),
            target: query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")),
            headers: head.headers.to_headers(),
            since: now,
            status: None,
            bytes: 0,
        }
    }

    /// Records the start of the answer.
    pub(crate) fn begin(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Records more bytes of the body.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns the finished request.
    pub(crate) fn answered<'a>(&'a self, peer: &'a Address, now: Instant, complete: bool) -> Answered<'a> {
        Answered {
            peer,
            method: Some(&self.method),
            target: &self.target,
            headers: self.headers.fields(),
            status: self.status,
            bytes: self.bytes,
            duration: now.saturating_duration_since(self.since),
            complete,
        }
    }
}

impl<'a> Answered<'a> {
    /// Returns the report about input that was not a valid request and was refused.
    pub(crate) fn of_none(peer: &'a Address, status: StatusCode, bytes: usize) -> Answered<'a> {
        Answered {
            peer,
            method: None,
            target: "",
            headers: Fields::default(),
            status: Some(status),
            bytes: bytes as u64,
            duration: Duration::ZERO,
            complete: true,
        }
    }
}
