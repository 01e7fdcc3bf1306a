//! Conditional and range requests for files (RFC 9110, sections 13 and 14).

use ::http::Method;

use crate::Fields;
use crate::server::wire::date;

/// The header fields with conditions.
#[derive(Debug)]
pub(super) struct Conditions {
    if_match: Option<Vec<u8>>,
    if_unmodified_since: Option<Vec<u8>>,
    if_none_match: Option<Vec<u8>>,
    if_modified_since: Option<Vec<u8>>,
    if_range: Option<Vec<u8>>,
    range: Option<Vec<u8>>,
}

/// A part of a file, of at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    Part(Part),
    NotModified,
    /// The file is not the version that the client wanted a part of.
    Changed,
    OutOfRange,
}

impl Conditions {
    pub(super) fn of(method: &Method, headers: Fields<'_>) -> Conditions {
        let joined = |name| {
            let values: Vec<&[u8]> = headers.get_all(name).collect();
            (!values.is_empty()).then(|| values.join(&b", "[..]))
        };
        Conditions {
            if_match: joined("if-match"),
            if_unmodified_since: joined("if-unmodified-since"),
            if_none_match: joined("if-none-match"),
            if_modified_since: joined("if-modified-since"),
            if_range: joined("if-range"),
            // A range has no meaning for methods other than GET.
            range: if *method == Method::GET { joined("range") } else { None },
        }
    }

    /// Decides the answer. `changed` and `now` are in seconds since 1970.
    pub(super) fn judge(&self, length: u64, tag: &str, changed: Option<u64>, now: u64) -> Verdict {
        let expected = match (&self.if_match, &self.if_unmodified_since) {
            (Some(tags), _) => names(tags, tag, Strength::Strong),
            (None, Some(date)) => {
                let since = date::parse(date).map(date::seconds);
                since.zip(changed).is_none_or(|(since, changed)| changed <= since)
            }
            (None, None) => true,
        };
        if !expected {
            return Verdict::Changed;
        }
        let not_modified = match (&self.if_none_match, &self.if_modified_since) {
            (Some(tags), _) => names(tags, tag, Strength::Weak),
            (None, Some(date)) => {
                let since = date::parse(date).map(date::seconds);
                since.zip(changed).is_some_and(|(since, changed)| changed <= since)
            }
            (None, None) => false,
        };
        if not_modified {
            return Verdict::NotModified;
        }
        let same = match &self.if_range {
            None => true,
            Some(validator) if validator.starts_with(b"\"") => validator == tag.as_bytes(),
            Some(validator) => {
                let date = date::parse(validator).map(date::seconds);
                // In the current second, the file can change again and keep its date (RFC 9110, section
                // 8.8.2.2).
                date.is_some() && date == changed && changed < Some(now)
            }
        };
        match &self.range {
            Some(range) if same => requested(range, length),
            _ => Verdict::Whole,
        }
    }
}

/// The comparison of tags. Weakly, a weak tag equals a strong one; strongly, a weak tag equals nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Weak,
    Strong,
}

/// Returns whether a list of tags, or `*`, contains this one.
fn names(tags: &[u8], tag: &str, strength: Strength) -> bool {
    tags.trim_ascii() == b"*"
        || tags.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|own| {
            let weak = own.strip_prefix(b"W/").filter(|_| strength == Strength::Weak);
            let own = weak.unwrap_or(own);
            own == tag.as_bytes()
        })
}

/// Parses a single range. Several ranges, or an invalid one, are answered with the whole file.
fn requested(range: &[u8], length: u64) -> Verdict {
    let parsed = std::str::from_utf8(range).ok().and_then(|text| {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        let number = |text: &str| match text {
            "" => Some(None),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number with too many digits is past the end of every file.
                Some(Some(text.parse().unwrap_or(u64::MAX)))
            }
            _ => None,
        };
        let bounds = (number(first)?, number(last)?);
        unit.trim().eq_ignore_ascii_case("bytes").then_some(bounds)
    });
    let (start, end) = match parsed {
        Some((Some(first), Some(last))) if first <= last => (first, last.saturating_add(1).min(length)),
        Some((Some(first), None)) => (first, length),
        // The last bytes of an empty file are the whole file.
        Some((None, Some(1..))) if length == 0 => return Verdict::Whole,
        Some((None, Some(count))) => (length.saturating_sub(count), length),
        _ => return Verdict::Whole,
    };
    if start < end { Verdict::Part(Part { start, length: end - start }) } else { Verdict::OutOfRange }
}
