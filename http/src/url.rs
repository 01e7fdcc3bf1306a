//! URLs of pages.

mod error;
mod host;
mod read;
mod repair;

use std::fmt;
use std::ops::Range;

use iri_string::types::{UriReferenceStr, UriStr};

pub use error::InvalidUrl;

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, without TLS.
    Http,
    /// `https`, over TLS.
    Https,
}

impl Scheme {
    /// Returns 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// Returns `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The scheme, host and port of a URL. Pages of the same origin trust each other and share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host in lower case. An IPv6 address has no brackets.
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
/// Parsing normalizes it: scheme and host become lower case, a default port is removed, an empty path becomes
/// a slash, and dot segments are resolved. Characters that no URL may have, such as spaces, quotes, brackets,
/// a lone `%` or non-ASCII letters, are percent-encoded, as browsers do. Neither `Display` nor `Debug` shows
/// user name and password.
///
/// # Examples
///
/// ```
/// use twistor::http::Url;
///
/// let url = Url::parse("HTTP://me:secret@Example.org:80/a/../caf\u{e9}?tags[]=1|2#top")?;
/// assert_eq!(url.to_string(), "http://example.org/caf%C3%A9?tags%5B%5D=1%7C2#top");
/// assert_eq!((url.host(), url.port(), url.target()), ("example.org", 80, "/caf%C3%A9?tags%5B%5D=1%7C2"));
/// assert_eq!(url.basic_credentials().as_deref(), Some("Basic bWU6c2VjcmV0"));
/// assert_eq!(url.join(b"../a")?.to_string(), "http://example.org/a#top");
/// # Ok::<(), twistor::http::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// The URL without user information and fragment.
    text: String,
    scheme: Scheme,
    host: Range<usize>,
    port: u16,
    path: usize,
    userinfo: Option<Box<str>>,
    fragment: Option<Box<str>>,
}

impl Url {
    /// Parses a URL. Spaces around it are ignored.
    ///
    /// # Errors
    ///
    /// See [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
        let trimmed = text.trim_start_matches(' ');
        read::url(trimmed.trim_end_matches(' '), text.len() - trimmed.len())
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host in lower case: a name or an address. An IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        self.text[self.host.clone()].trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port. Default: that of the scheme.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port as in the `Host` header: IPv6 addresses in brackets, and no default port.
    pub fn authority(&self) -> &str {
        &self.text[self.host.start..self.path]
    }

    /// Returns path and query, as in the target of a request.
    pub fn target(&self) -> &str {
        &self.text[self.path..]
    }

    /// Returns the part after `#`, which is not sent.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// Returns the URL without fragment, user name and password.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host().to_owned(), port: self.port }
    }

    /// Returns whether both URLs have the same [`Origin`].
    pub fn same_origin(&self, other: &Url) -> bool {
        (self.scheme, self.port, self.host()) == (other.scheme, other.port, other.host())
    }

    /// Returns user name and password of the URL as the value of an `Authorization` header.
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

    /// Returns the decoded user name and password of the URL.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl::Syntax`] if they are not UTF-8.
    pub(crate) fn user_and_password(&self) -> Result<Option<(String, String)>, InvalidUrl> {
        let Some(info) = self.userinfo.as_deref() else { return Ok(None) };
        let (user, password) = info.split_once(':').unwrap_or((info, ""));
        let decoded = |text| {
            String::from_utf8(percent_decode(text))
                .map_err(|_| InvalidUrl::Syntax { text: format!("...@{}", self.authority()) })
        };
        Ok(Some((decoded(user)?, decoded(password)?)))
    }

    /// Resolves a reference on this page, such as that of a `Location` header (RFC 3986).
    ///
    /// A reference without a fragment keeps this URL's fragment. A reference to the same origin without a
    /// user keeps this URL's user name and password. Characters that no URL may have, but many servers send,
    /// are percent-encoded.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if the result is not a valid URL, or has another scheme than `http` and `https`.
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

/// Encodes base64 with the alphabet of RFC 4648 and padding.
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
