//! URLs and references: an accepted URL can be written, sent and parsed again. A reference resolves as a plain
//! implementation of RFC 3986, section 5.2, resolves it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twistor_http::message::HeadWriter;
use twistor_http::{Method, Url};

fn check(url: &Url) {
    let shown = url.to_string();
    assert_eq!(Url::parse(&shown).map(|again| again.to_string()), Ok(shown));
    assert!(!url.host().is_empty() && !url.authority().contains('@') && url.target().starts_with('/'));
    let mut out = Vec::new();
    HeadWriter::request(&mut out, &Method::GET, url.target()).expect("a target can be sent").finish();
    if let Some(value) = url.basic_credentials() {
        HeadWriter::trailers(&mut out).field("Authorization", value).expect("credentials can be sent");
    }
}

/// The parts of a reference, as the expression of appendix B separates them.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

fn apart(text: &str) -> Parts<'_> {
    let (text, fragment) = split(text, '#');
    let (text, query) = split(text, '?');
    let (scheme, text) = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => (Some(scheme), rest),
        _ => (None, text),
    };
    let (authority, path) = match text.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        None => (None, text),
    };
    Parts { scheme, authority, path, query, fragment }
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Returns the URL that the reference resolves to, without its fragment.
fn resolve(base: &Url, reference: &Parts<'_>) -> String {
    let base = apart(base.as_str());
    let (authority, path, query) = match reference {
        Parts { scheme: Some(_), authority, .. } => {
            (*authority, without_dots(reference.path), reference.query)
        }
        Parts { authority: Some(_), .. } => {
            (reference.authority, without_dots(reference.path), reference.query)
        }
        Parts { path: "", query: None, .. } => (base.authority, base.path.to_owned(), base.query),
        Parts { path: "", query, .. } => (base.authority, base.path.to_owned(), *query),
        Parts { path, query, .. } if path.starts_with('/') => (base.authority, without_dots(path), *query),
        Parts { path, query, .. } => {
            let folder = &base.path[..=base.path.rfind('/').expect("a URL's path has a slash")];
            (base.authority, without_dots(&format!("{folder}{path}")), *query)
        }
    };
    let mut url = format!("{}:", reference.scheme.or(base.scheme).expect("a URL has a scheme"));
    url.extend(authority.map(|authority| format!("//{authority}")));
    url += &path;
    url.extend(query.map(|query| format!("?{query}")));
    url
}

/// Returns the path of an absolute URL without its dot segments, including escaped ones, which are equivalent
/// (section 2.3).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match &*segment.replace("%2E", ".").replace("%2e", ".") {
            dots @ ("." | "..") => {
                if dots == ".." {
                    kept.pop();
                }
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    kept.iter().map(|segment| format!("/{segment}")).collect()
}

/// Returns whether a reference matches the grammar, so that nothing has to be normalized, and is not one of the few
/// forms that have a meaning only for other schemes.
fn is_plain(text: &str) -> bool {
    let escapes = text.split('%').skip(1);
    let escaped = escapes
        .into_iter()
        .all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    let parts = apart(text);
    let named = parts.scheme.is_none_or(|scheme| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && parts.authority.is_some()
    });
    let marks = b"%-._~:/?#@!$&'()*+,;=";
    escaped
        && named
        && !text.starts_with(':')
        && parts.fragment.is_none_or(|fragment| !fragment.contains('#'))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

fn check_join(base: &Url, reference: &str) {
    let joined = base.join(reference.as_bytes());
    joined.iter().for_each(check);
    if is_plain(reference) {
        let parts = apart(reference);
        let due = Url::parse(&resolve(base, &parts));
        assert_eq!(joined.as_ref().map(Url::as_str).ok(), due.as_ref().map(Url::as_str).ok(), "{reference}");
        if let Ok(joined) = joined {
            assert_eq!(joined.fragment(), parts.fragment.or(base.fragment()));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // A URL and a reference, separated by a space, which neither contains.
    let (first, second) = match data.iter().position(|&byte| byte == b' ') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    let known = Url::parse("https://u:p@example.org:8080/a/b/../c?d#e").expect("a URL");
    let url = std::str::from_utf8(first).ok().and_then(|text| Url::parse(text).ok());
    url.iter().for_each(check);
    for base in url.iter().chain([&known]) {
        match std::str::from_utf8(second) {
            Ok(reference) => check_join(base, reference),
            Err(_) => base.join(second).iter().for_each(check),
        }
    }
});
