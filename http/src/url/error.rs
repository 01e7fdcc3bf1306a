//! The error of an invalid URL.

use std::error::Error;
use std::fmt;

/// The reason why a text is not a valid URL of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// A control character, or a backslash before the path, where parsers disagree about the host.
    Character {
        /// The number of bytes before the character.
        at: usize,
    },
    /// A reference that violates RFC 3986.
    Syntax {
        /// The text, without a possible user name and password.
        text: String,
    },
    /// The text does not begin with a scheme.
    Relative {
        /// The text, without a possible user name and password.
        text: String,
    },
    /// A scheme other than `http` and `https`.
    UnsupportedScheme {
        /// The scheme.
        scheme: String,
    },
    /// The URL has no host.
    NoHost,
    /// The host is neither a name nor an address. Names with non-ASCII characters are converted with the
    /// feature `idna`; without it, use their `xn--` form.
    InvalidHost {
        /// The host.
        host: String,
        /// The number of bytes before the host.
        at: usize,
    },
    /// The port is not a number from 1 to 65535.
    InvalidPort {
        /// The port.
        port: String,
        /// The number of bytes before the port.
        at: usize,
    },
}

impl InvalidUrl {
    /// Converts the position to that in another text, in which the host begins at `to` instead of `from`.
    pub(crate) fn moved(mut self, from: usize, to: usize) -> InvalidUrl {
        if let InvalidUrl::Character { at }
        | InvalidUrl::InvalidHost { at, .. }
        | InvalidUrl::InvalidPort { at, .. } = &mut self
        {
            *at = (*at + to).saturating_sub(from);
        }
        self
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidUrl::Character { at } => write!(f, "invalid URL: invalid character at byte {at}"),
            InvalidUrl::Syntax { text } => write!(f, "invalid URL \"{}\"", text.escape_debug()),
            InvalidUrl::Relative { text } => {
                let text = text.escape_debug();
                write!(f, "invalid URL \"{text}\": it does not begin with http:// or https://")
            }
            InvalidUrl::UnsupportedScheme { scheme } => {
                write!(f, "invalid URL: it begins with {scheme}:, not with http:// or https://")
            }
            InvalidUrl::NoHost => f.write_str("invalid URL: it names no host"),
            InvalidUrl::InvalidHost { host, at } => {
                write!(f, "invalid URL: invalid host \"{}\" at byte {at}", host.escape_debug())?;
                if host.is_ascii() || cfg!(feature = "idna") {
                    return Ok(());
                }
                f.write_str("; write its xn-- form, or enable the feature idna")
            }
            InvalidUrl::InvalidPort { port, at } => {
                let port = port.escape_debug();
                write!(f, "invalid URL: port \"{port}\" at byte {at} is not between 1 and 65535")
            }
        }
    }
}

impl Error for InvalidUrl {}

/// Removes everything between the slashes and the last at sign, since an unencoded password may contain any
/// character.
pub(super) fn without_user(text: &str) -> String {
    let start = text.find("//").map_or(0, |at| at + 2);
    match text[start..].rfind('@') {
        Some(at) => format!("{}...{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}
