//! The target of a request: its four forms (RFC 9112, section 3.2).

use super::framing::is_host;

/// What a request is for, as the request line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`.
    Origin {
        /// Begins with a slash; still percent-encoded.
        path: &'a str,
        /// What follows the question mark.
        query: Option<&'a str>,
    },
    /// `http://host/path?query`, as sent to proxies; servers take it as well.
    Absolute {
        /// `http` or `https`, in the case in which it came.
        scheme: &'a str,
        /// Host and port. Counts for more than the `Host` header.
        authority: &'a str,
        /// Empty, or begins with a slash; still percent-encoded.
        path: &'a str,
        /// What follows the question mark.
        query: Option<&'a str>,
    },
    /// `host:port`, for `CONNECT` alone.
    Authority(&'a str),
    /// `*`, for `OPTIONS` alone: the server as a whole.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Reads the target of a request with that method; `None` if it has no valid form.
    ///
    /// Characters that no URL has are refused: all but printable ASCII, `#`, and in front of the
    /// query `"`, `<`, `>` and the backslash. Others that belong percent-encoded, but which clients
    /// send as they are (``^ ` { | }`` and brackets, and in a query those four, too), pass.
    pub(crate) fn parse(method: &str, target: &'a str) -> Option<Target<'a>> {
        let refused = |byte| match byte {
            b'!'..=b'~' => matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\'),
            _ => true,
        };
        if target.bytes().any(refused) && !only_in_query(target) {
            return None;
        }
        if method == "CONNECT" {
            let port = target.rsplit_once(':').map(|(_, port)| port)?;
            return (!port.is_empty() && is_host(target.as_bytes())).then_some(Target::Authority(target));
        }
        if target.starts_with('/') {
            let (path, query) = split_query(target);
            return Some(Target::Origin { path, query });
        }
        if target == "*" {
            return (method == "OPTIONS").then_some(Target::Asterisk);
        }
        let (scheme, rest) = target.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            return None;
        }
        let (path, query) = split_query(rest);
        Some(Target::Absolute { scheme, authority, path, query })
    }

    /// The path, still percent-encoded: at least `/`, and `*` for the server as a whole.
    pub fn path(&self) -> &'a str {
        match *self {
            Target::Origin { path, .. } => path,
            Target::Absolute { path: "", .. } | Target::Authority(_) => "/",
            Target::Absolute { path, .. } => path,
            Target::Asterisk => "*",
        }
    }

    /// What follows the question mark, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        match *self {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        }
    }

    /// Host and port, where the target names them.
    pub fn authority(&self) -> Option<&'a str> {
        match *self {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => None,
        }
    }
}

/// Whether what has no place in a path is in the query alone, and may be there.
#[cold]
fn only_in_query(target: &str) -> bool {
    let (before, query) = split_query(target);
    let fine = |byte| matches!(byte, b'!'..=b'~') && byte != b'#';
    let path = |byte| fine(byte) && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
    before.bytes().all(path) && query.is_some_and(|query| query.bytes().all(fine))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    // Most are so short that a search by words of bytes does not pay.
    match text.bytes().position(|byte| byte == b'?') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
