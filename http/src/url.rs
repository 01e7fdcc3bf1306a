//! URLs of pages.

mod error;
mod host;
mod read;
mod repair;

use std::fmt;
use std::ops::Range;

use iri_string::types::{UriReferenceStr, UriStr};

pub use error::InvalidUrl;

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
/// Scheme and host are kept in lower case, a default port is left out, an empty path is a slash, and dot segments are
/// resolved. Characters that no URL may have, such as spaces, quotes, brackets, a lone `%` or non-ASCII letters, are
/// percent-encoded, as browsers do; the rest is as it was given. Neither `Display` nor `Debug` shows user name and
/// password.
///
/// # Examples
///
/// ```
/// use twistor_http::Url;
///
/// let url = Url::parse("HTTP://me:secret@Example.org:80/a/../caf\u{e9}?tags[]=1|2#top")?;
/// assert_eq!(url.to_string(), "http://example.org/caf%C3%A9?tags%5B%5D=1%7C2#top");
/// assert_eq!((url.host(), url.port(), url.target()), ("example.org", 80, "/caf%C3%A9?tags%5B%5D=1%7C2"));
/// assert_eq!(url.basic_credentials().as_deref(), Some("Basic bWU6c2VjcmV0"));
/// assert_eq!(url.join(b"../a")?.to_string(), "http://example.org/a#top");
/// # Ok::<(), twistor_http::InvalidUrl>(())
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
    /// Reads a URL. Spaces around it are ignored.
    ///
    /// # Errors
    ///
    /// See [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
        let trimmed = text.trim_start_matches(' ');
        read::url(trimmed.trim_end_matches(' '), text.len() - trimmed.len())
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
        let reference = repair::reference(reference);
        let invalid = || InvalidUrl::Syntax { text: error::without_user(&reference) };
        let base = UriStr::new(&self.text).map_err(|_| invalid())?;
        let relative = UriReferenceStr::new(&reference).map_err(|_| invalid())?;
        let joined = relative.resolve_against(base.to_absolute()).to_string();
        let mut url = read::url(&joined, 0)?;
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
