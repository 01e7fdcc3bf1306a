//! Parses and normalizes URLs.

use std::fmt::Write;

use super::error::{InvalidUrl, without_user};
use super::{Scheme, Url, host, repair};

/// Parses a URL that begins `offset` bytes into the text that errors refer to.
pub(super) fn url(text: &str, offset: usize) -> Result<Url, InvalidUrl> {
    if let Some(at) = text.bytes().position(|byte| byte < b' ' || byte == 0x7f) {
        return Err(InvalidUrl::Character { at: offset + at });
    }
    let (scheme, rest) = scheme(text)?;
    let rest = rest.strip_prefix("//").ok_or(InvalidUrl::NoHost)?;
    let (authority, rest) =
        rest.split_at(find(rest, |byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len()));
    let offset = offset + text.len() - rest.len() - authority.len();
    // Browsers end the host at a backslash. Other parsers take everything before an at sign for the
    // user's name.
    if let Some(at) = find(authority, |byte| byte == b'\\') {
        return Err(InvalidUrl::Character { at: offset + at });
    }
    let (userinfo, host_and_port) = match rfind(authority, b'@') {
        Some(at) => (&authority[..at], &authority[at + 1..]),
        None => ("", authority),
    };
    let offset = offset + authority.len() - host_and_port.len();
    let (host, port) = split_port(host_and_port);
    if host.is_empty() {
        return Err(InvalidUrl::NoHost);
    }
    let port = match port {
        None | Some("") => scheme.default_port(),
        Some(port) => match port.parse() {
            Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => {
                let at = offset + host_and_port.len() - port.len();
                return Err(InvalidUrl::InvalidPort { port: port.to_owned(), at });
            }
        },
    };
    let (target, fragment) = match find(rest, |byte| byte == b'#') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let mut text = String::with_capacity(scheme.as_str().len() + 10 + host.len() + target.len());
    text.push_str(scheme.as_str());
    text.push_str("://");
    let start = text.len();
    if !host::push(&mut text, host) {
        return Err(InvalidUrl::InvalidHost { host: host.to_owned(), at: offset });
    }
    let host = start..text.len();
    if port != scheme.default_port() {
        text.push(':');
        let _ = write!(text, "{port}");
    }
    let path = text.len();
    push_target(&mut text, target);
    Ok(Url {
        text,
        scheme,
        host,
        port,
        path,
        userinfo: (!userinfo.is_empty()).then(|| repair::userinfo(userinfo).into()),
        fragment: fragment.map(|fragment| repair::fragment(fragment).into()),
    })
}

/// Finds a character of ASCII. The parts of a URL are so short that the searches of the standard library take longer.
fn find(text: &str, is_meant: impl Fn(u8) -> bool) -> Option<usize> {
    text.bytes().position(is_meant)
}

fn rfind(text: &str, byte: u8) -> Option<usize> {
    text.bytes().rposition(|other| other == byte)
}

/// Splits off the scheme and its colon.
fn scheme(text: &str) -> Result<(Scheme, &str), InvalidUrl> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let colon = find(text, |byte| byte == b':');
    match colon.map(|colon| (&text[..colon], &text[colon + 1..])).filter(|(scheme, _)| is_scheme(scheme)) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((Scheme::Http, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((Scheme::Https, rest)),
        Some((scheme, _)) => Err(InvalidUrl::UnsupportedScheme { scheme: scheme.to_owned() }),
        None => Err(InvalidUrl::Relative { text: without_user(text) }),
    }
}

/// Splits off the port. An address in brackets contains colons.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let end_of_host = match rfind(authority, b']') {
        Some(bracket) => bracket + 1,
        None if authority.starts_with('[') => return (authority, None),
        None => 0,
    };
    match find(&authority[end_of_host..], |byte| byte == b':') {
        Some(colon) => (&authority[..end_of_host + colon], Some(&authority[end_of_host + colon + 1..])),
        None => (authority, None),
    }
}

/// Appends path and query, percent-encoded and without dot segments.
fn push_target(text: &mut String, target: &str) {
    let (path, query) = match find(target, |byte| byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    if path.is_empty() {
        text.push('/');
    } else if path.contains("/.") || path.contains("/%2") {
        push_without_dots(text, path);
    } else {
        repair::push(text, path, &repair::IN_PATH);
    }
    if let Some(query) = query {
        text.push('?');
        repair::push(text, query, &repair::IN_QUERY);
    }
}

/// Appends a path that begins with a slash, and resolves its dot segments (RFC 3986, section 5.2.4).
fn push_without_dots(text: &mut String, path: &str) {
    let start = text.len();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            None => {
                text.push('/');
                repair::push(text, segment, &repair::IN_PATH);
                continue;
            }
            Some(1) => {}
            Some(_) => {
                let parent = text[start..].rfind('/').unwrap_or_default();
                text.truncate(start + parent);
            }
        }
        if segments.peek().is_none() {
            text.push('/');
        }
    }
}

/// Returns the number of dots of a dot segment, which may be percent-encoded.
fn dots(segment: &str) -> Option<usize> {
    let (mut rest, mut count) = (segment, 0);
    while !rest.is_empty() {
        rest = rest
            .strip_prefix('.')
            .or_else(|| rest.strip_prefix("%2e"))
            .or_else(|| rest.strip_prefix("%2E"))?;
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}
