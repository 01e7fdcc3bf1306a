//! URLs of pages. iri-string does the grammar and the resolving.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use iri_string::convert::MappedToUri;
use iri_string::types::{IriReferenceStr, IriStr, UriReferenceStr, UriStr};

/// How a page is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Scheme, host and port: what two URLs share whose pages trust each other, and come over the same
/// connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host in lower case, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

/// An `http` or `https` URL.
///
/// Scheme and host are kept in lower case, a default port is left out, an empty path is a slash,
/// and non-ASCII characters of path, query and fragment are percent-encoded as UTF-8; the rest is
/// as it was given, dot segments included. `Display` leaves out user name and password; `Debug`,
/// too.
///
/// # Examples
///
/// ```
/// use twistor_net::http::Url;
///
/// let url = Url::parse("HTTP://me:secret@Example.org:80/caf\u{e9}?q#top")?;
/// assert_eq!(url.to_string(), "http://example.org/caf%C3%A9?q#top");
/// assert_eq!((url.host(), url.port(), url.target()), ("example.org", 80, "/caf%C3%A9?q"));
/// assert_eq!(url.basic_credentials().as_deref(), Some("Basic bWU6c2VjcmV0"));
/// assert_eq!(url.join(b"../a")?.to_string(), "http://example.org/a#top");
/// # Ok::<(), twistor_net::http::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Without user information and fragment.
    text: String,
    scheme: Scheme,
    host: Range<usize>,
    port: u16,
    path: usize,
    userinfo: Option<Box<str>>,
    fragment: Option<Box<str>>,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// See [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
        if text.is_ascii() {
            return match text.bytes().position(|byte| byte <= b' ' || byte == 0x7f) {
                Some(at) => Err(InvalidUrl::Character { at }),
                None => Url::from_ascii(text),
            };
        }
        if let Some((at, _)) = text.char_indices().find(|&(_, c)| c.is_control() || c.is_whitespace()) {
            return Err(InvalidUrl::Character { at });
        }
        let iri = IriStr::new(text).map_err(|_| not_absolute(text))?;
        if let Some(host) = iri.authority_components().map(|authority| authority.host()) {
            if !host.is_ascii() {
                return Err(InvalidUrl::InvalidHost { host: host.to_owned() });
            }
        }
        Url::from_ascii(&MappedToUri::from(iri).to_string())
    }

    fn from_ascii(text: &str) -> Result<Url, InvalidUrl> {
        let uri = UriStr::new(text).map_err(|_| not_absolute(text))?;
        let scheme = match uri.scheme_str() {
            scheme if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            scheme if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            other => return Err(InvalidUrl::UnsupportedScheme { scheme: other.to_owned() }),
        };
        let authority = uri.authority_components().ok_or(InvalidUrl::NoHost)?;
        let host = authority.host();
        if host.is_empty() {
            return Err(InvalidUrl::NoHost);
        }
        // What a percent-encoded host means is for the Unicode tables that are not here; and of the
        // literals in brackets only addresses can be connected to.
        if host.contains('%') || host.starts_with("[v") || host.starts_with("[V") {
            return Err(InvalidUrl::InvalidHost { host: host.to_owned() });
        }
        let port = match authority.port() {
            None | Some("") => scheme.default_port(),
            Some(port) => match port.parse() {
                Ok(number) if number > 0 => number,
                _ => return Err(InvalidUrl::InvalidPort { port: port.to_owned() }),
            },
        };
        let (absolute, fragment) = uri.to_absolute_and_fragment();
        let authority_and_target = &absolute.as_str()[scheme.as_str().len() + "://".len()..];
        let end = authority_and_target.bytes().position(|byte| matches!(byte, b'/' | b'?'));
        let target = end.map_or("", |end| &authority_and_target[end..]);
        let mut text = String::with_capacity(text.len() + 1);
        text.push_str(scheme.as_str());
        text.push_str("://");
        let start = text.len();
        text.push_str(host);
        let host = start..text.len();
        text[host.clone()].make_ascii_lowercase();
        if port != scheme.default_port() {
            text.push(':');
            text.push_str(authority.port().unwrap_or_default().trim_start_matches('0'));
        }
        let path = text.len();
        if !target.starts_with('/') {
            text.push('/');
        }
        text.push_str(target);
        Ok(Url {
            text,
            scheme,
            host,
            port,
            path,
            userinfo: authority.userinfo().filter(|info| !info.is_empty()).map(Into::into),
            fragment: fragment.map(|fragment| fragment.as_str().into()),
        })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case: a name or an address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.text[self.host.clone()].trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, the scheme's own if none was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` header has them: IPv6 addresses in brackets, a default port
    /// left out.
    pub fn authority(&self) -> &str {
        &self.text[self.host.start..self.path]
    }

    /// Path and query, as a request's target.
    pub fn target(&self) -> &str {
        &self.text[self.path..]
    }

    /// The part after `#`, which is not sent.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// The URL without fragment, user name and password.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host().to_owned(), port: self.port }
    }

    /// Whether the two have the same [`Origin`].
    pub fn same_origin(&self, other: &Url) -> bool {
        (self.scheme, self.port, self.host()) == (other.scheme, other.port, other.host())
    }

    /// User name and password of the URL as the value of an `Authorization` header.
    pub fn basic_credentials(&self) -> Option<String> {
        let info = self.userinfo.as_deref()?;
        let mut plain = percent_decode(info);
        if !info.contains(':') {
            plain.push(b':');
        }
        let mut value = String::from("Basic ");
        base64(&plain, &mut value);
        Some(value)
    }

    /// The URL that a reference means on this page, as in a `Location` header (RFC 3986).
    ///
    /// A reference without a fragment keeps this URL's. One that stays on the same origin and
    /// names no user keeps this URL's user name and password. Characters that no URL may have, as
    /// many servers send them, are percent-encoded.
    ///
    /// # Errors
    ///
    /// What comes of it is no valid URL, or one of another scheme.
    pub fn join(&self, reference: &[u8]) -> Result<Url, InvalidUrl> {
        let reference = tidy(reference);
        let invalid = || InvalidUrl::Syntax { text: without_user(&reference) };
        let base = UriStr::new(&self.text).map_err(|_| invalid())?;
        let relative = UriReferenceStr::new(&reference).map_err(|_| invalid())?;
        let joined = relative.resolve_against(base.to_absolute()).to_string();
        let mut url = Url::from_ascii(&joined)?;
        if url.fragment.is_none() {
            url.fragment = self.fragment.clone();
        }
        if url.userinfo.is_none() && self.same_origin(&url) {
            url.userinfo = self.userinfo.clone();
        }
        Ok(url)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl std::str::FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Url, InvalidUrl> {
        Url::parse(text)
    }
}

/// Why a text is not the URL of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It has white space or a control character.
    Character {
        /// The bytes before that character.
        at: usize,
    },
    /// It breaks RFC 3986's rules.
    Syntax {
        /// The text, without what may be user name and password.
        text: String,
    },
    /// It does not begin with a scheme.
    Relative {
        /// The text, without what may be user name and password.
        text: String,
    },
    /// It is neither `http` nor `https`.
    UnsupportedScheme {
        /// The scheme.
        scheme: String,
    },
    /// It names no host.
    NoHost,
    /// Its host has non-ASCII characters (an internationalised name is written in its `xn--`
    /// form), or is percent-encoded, or an address of a kind unknown.
    InvalidHost {
        /// The host.
        host: String,
    },
    /// Its port is not a number from 1 to 65535.
    InvalidPort {
        /// The port.
        port: String,
    },
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidUrl::Character { at } => {
                write!(f, "invalid URL: white space or a control character at byte {at}")
            }
            InvalidUrl::Syntax { text } => write!(f, "invalid URL \"{}\"", text.escape_debug()),
            InvalidUrl::Relative { text } => {
                let text = text.escape_debug();
                write!(f, "invalid URL \"{text}\": it does not begin with http:// or https://")
            }
            InvalidUrl::UnsupportedScheme { scheme } => {
                write!(f, "invalid URL: it begins with {scheme}:, not with http:// or https://")
            }
            InvalidUrl::NoHost => f.write_str("invalid URL: it names no host"),
            InvalidUrl::InvalidHost { host } => {
                write!(f, "invalid URL: host \"{}\" is not usable", host.escape_debug())?;
                if host.is_ascii() { Ok(()) } else { f.write_str(" as it is, only in its xn-- form") }
            }
            InvalidUrl::InvalidPort { port } => {
                write!(f, "invalid URL: port {port} is not between 1 and 65535")
            }
        }
    }
}

impl Error for InvalidUrl {}

fn not_absolute(text: &str) -> InvalidUrl {
    match IriReferenceStr::new(text) {
        Ok(_) => InvalidUrl::Relative { text: without_user(text) },
        Err(_) => InvalidUrl::Syntax { text: without_user(text) },
    }
}

/// The text without what stands before its last at sign, behind the slashes: a password may have any character, before
/// somebody encodes it.
fn without_user(text: &str) -> String {
    let start = text.find("//").map_or(0, |at| at + 2);
    match text[start..].rfind('@') {
        Some(at) => format!("{}...{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// A reference as it came, in the characters a reference may have.
fn tidy(reference: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(reference) {
        if UriReferenceStr::new(text).is_ok() {
            return text.to_owned();
        }
    }
    let mut text = String::with_capacity(reference.len() + 16);
    let (mut in_fragment, mut in_address) = (false, false);
    for (at, &byte) in reference.iter().enumerate() {
        let keep = match byte {
            b'%' => reference.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
            b'#' => !std::mem::replace(&mut in_fragment, true),
            // Brackets hold an address, which comes right after the slashes or the user.
            b'[' => {
                in_address = reference[..at].ends_with(b"//") || reference[..at].ends_with(b"@");
                in_address
            }
            b']' => std::mem::take(&mut in_address),
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=".contains(&byte),
        };
        if keep {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    text
}

pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = text.get(at + 1..at + 3).filter(|two| byte == b'%' && !two.contains('+'));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// RFC 4648's alphabet, with padding.
fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0usize, |bits, &byte| bits << 8 | usize::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                out.push(char::from(ALPHABET[bits >> (18 - 6 * place) & 63]));
            } else {
                out.push('=');
            }
        }
    }
}
