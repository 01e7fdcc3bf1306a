//! The partial file of an earlier try, and requests for the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::http::Method;
use ::http::header::{IF_RANGE, RANGE};

use super::file::{Growing, Target};
use crate::ResponseHead;
use crate::client::request::Request;

/// A partial file, and the server's tag of its version.
pub(super) struct Part {
    path: PathBuf,
    tag_path: PathBuf,
    /// The bytes of the part from which to continue; 0 to request everything.
    have: u64,
    tag: String,
}

/// The meaning of a response for the part.
pub(super) enum Continued {
    /// Its body is the rest, or a part of the rest, of a file of this size.
    Rest(Growing, u64),
    /// Its body is the whole file.
    Anew(Growing),
    /// The part is already complete.
    Complete(Growing),
    /// The part cannot be continued. The whole file must be requested.
    Useless,
    /// The response is not about the file.
    Refused,
}

impl Part {
    pub(super) fn find(target: &Target) -> io::Result<Part> {
        let (path, tag_path) = (target.sibling("", ".part")?, target.sibling("", ".part.version")?);
        let tag = fs::read_to_string(&tag_path).ok().filter(|tag| is_strong(tag)).unwrap_or_default();
        let have = fs::metadata(&path).map_or(0, |part| part.len());
        Ok(Part { have: if tag.is_empty() { 0 } else { have }, path, tag_path, tag })
    }

    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Requests the rest, on the condition that the file is unchanged.
    pub(super) fn ask(&self, request: Request) -> Request {
        let is_get = request.parts.as_ref().is_ok_and(|parts| parts.method == Method::GET);
        if self.have == 0 || !is_get {
            return request;
        }
        request.header(RANGE, format!("bytes={}-", self.have)).header(IF_RANGE, &self.tag)
    }

    pub(super) fn continued(&self, target: Target, head: &ResponseHead<'_>) -> io::Result<Continued> {
        let range = head.headers.get("content-range").and_then(Range::read);
        let is_same = head.headers.get("etag").is_none_or(|tag| tag == self.tag.as_bytes());
        Ok(match head.status.as_u16() {
            206 if self.have > 0 => {
                // A server that ignores the condition may send a part of another version.
                let Some(range) = range.filter(|range| is_same && range.first == Some(self.have)) else {
                    forget(&self.tag_path)?;
                    return Ok(Continued::Useless);
                };
                Continued::Rest(Growing::resumed(target, self.path.clone(), true)?, range.length)
            }
            416 if self.have > 0 => {
                if !is_same || range.is_none_or(|range| range.length != self.have) {
                    forget(&self.tag_path)?;
                    return Ok(Continued::Useless);
                }
                Continued::Complete(Growing::resumed(target, self.path.clone(), true)?)
            }
            206 => Continued::Refused,
            200..=299 => {
                // In this order, so that a tag is never stored beside bytes of another version.
                forget(&self.tag_path)?;
                let growing = Growing::resumed(target, self.path.clone(), false)?;
                let tag = head.headers.get("etag").and_then(|tag| std::str::from_utf8(tag).ok());
                if let Some(tag) = tag.filter(|tag| is_strong(tag) && head.status == 200) {
                    fs::write(&self.tag_path, tag)?;
                }
                Continued::Anew(growing)
            }
            _ => Continued::Refused,
        })
    }

    pub(super) fn tag_path(&self) -> PathBuf {
        self.tag_path.clone()
    }
}

/// Removes the tag of a part.
pub(super) fn forget(tag_path: &Path) -> io::Result<()> {
    match fs::remove_file(tag_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A `Content-Range` with the complete length.
struct Range {
    first: Option<u64>,
    length: u64,
}

impl Range {
    fn read(field: &[u8]) -> Option<Range> {
        let (range, length) = std::str::from_utf8(field).ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
        Some(Range { first, length: length.parse().ok()? })
    }
}

/// Returns whether a tag is strong. Equal weak tags do not mean equal bytes.
fn is_strong(tag: &str) -> bool {
    tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"')
}
