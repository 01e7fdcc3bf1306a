//! The four forms of a request's target (RFC 9112, section 3.2).

use super::framing::is_host;

/// The target of a request, as in the request line. This enum stays exhaustive: HTTP/1 has no other forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`.
    Origin {
        /// Begins with a slash. Still percent-encoded.
        path: &'a str,
        /// The part after the question mark.
        query: Option<&'a str>,
    },
    /// `http://host/path?query`, as sent to proxies. Servers accept it too.
    Absolute {
        /// `http` or `https`, in the received case.
        scheme: &'a str,
        /// Host and port. It takes precedence over the `Host` header.
        authority: &'a str,
        /// Empty, or begins with a slash. Still percent-encoded.
        path: &'a str,
        /// The part after the question mark.
        query: Option<&'a str>,
    },
    /// `host:port`, for `CONNECT` only.
    Authority(&'a str),
    /// `*`, for `OPTIONS` only: the server as a whole.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Parses the target of a request with this method. `None` if it has no valid form.
    ///
    /// Refuses characters that no URL has: everything except printable ASCII, `#`, and before the query `"`,
    /// `<`, `>` and the backslash. Accepts other characters that should be percent-encoded, but that clients
    /// send as they are: ``^ ` { | }`` and brackets, and in a query those four, too.
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

    /// Returns the path, still percent-encoded: at least `/`, or `*` for the server as a whole.
    pub fn path(&self) -> &'a str {
        match *self {
            Target::Origin { path, .. } => path,
            Target::Absolute { path: "", .. } | Target::Authority(_) => "/",
            Target::Absolute { path, .. } => path,
            Target::Asterisk => "*",
        }
    }

    /// Returns the part after the question mark, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        match *self {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        }
    }

    /// Returns host and port, if the target contains them.
    pub fn authority(&self) -> Option<&'a str> {
        match *self {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => None,
        }
    }
}

/// Returns whether the characters that a path may not have are in the query only.
#[cold]
fn only_in_query(target: &str) -> bool {
    let (before, query) = split_query(target);
    let fine = |byte| matches!(byte, b'!'..=b'~') && byte != b'#';
    let path = |byte| fine(byte) && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
    before.bytes().all(path) && query.is_some_and(|query| query.bytes().all(fine))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    // Most targets are so short that searching several bytes at a time is not faster.
    match text.bytes().position(|byte| byte == b'?') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
