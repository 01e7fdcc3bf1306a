//! The syntax of endpoint strings: `kind:argument:name=value`, with backslash escapes, and IPv6 addresses in
//! brackets.

use std::fmt;
use std::str::FromStr;

use crate::connect::literal::zoned;

/// The error for an invalid endpoint string.
///
/// It displays the problem, the byte offset at which the problem starts (counted from 0), and the string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    what: String,
    at: usize,
    description: String,
}

impl EndpointError {
    /// Returns the byte offset in the string at which the invalid part starts.
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of endpoint {:?}", self.what, self.at, self.description)
    }
}

impl std::error::Error for EndpointError {}

/// A piece of the string after its escapes are removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) at: usize,
}

/// A parsed endpoint string. The `take` methods remove arguments; [`finish`](Description::finish) refuses the
/// remaining ones.
#[derive(Debug)]
pub(super) struct Description {
    source: String,
    pub(super) kind: Piece,
    positional: std::collections::VecDeque<Piece>,
    named: Vec<(Piece, Piece)>,
}

impl Description {
    pub(super) fn parse(source: &str) -> Result<Description, EndpointError> {
        let mut arguments: Vec<(Option<Piece>, Piece)> = Vec::new();
        let mut name = None;
        let mut piece = Piece { text: String::new(), at: 0 };
        let mut characters = source.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, escaped)) => piece.text.push(escaped),
                    None => return Err(error(source, at, "a backslash at the end")),
                },
                ':' => {
                    let next = Piece { text: String::new(), at: at + 1 };
                    arguments.push((name.take(), std::mem::replace(&mut piece, next)));
                }
                '[' if at == piece.at => match bracketed(&source[at..]) {
                    Some(address) => {
                        piece.text.push_str(address);
                        characters.nth(address.len());
                    }
                    None => piece.text.push('['),
                },
                '=' if name.is_none() && !arguments.is_empty() => {
                    let next = Piece { text: String::new(), at: at + 1 };
                    name = Some(std::mem::replace(&mut piece, next));
                }
                other => piece.text.push(other),
            }
        }
        arguments.push((name, piece));

        let mut arguments = arguments.into_iter();
        let kind = arguments.next().map_or_else(Default::default, |(_, kind)| kind);
        let mut description = Description {
            source: source.to_owned(),
            kind,
            positional: Default::default(),
            named: Vec::new(),
        };
        for (name, value) in arguments {
            match name {
                None => description.positional.push_back(value),
                Some(name) if description.named.iter().any(|(other, _)| other.text == name.text) => {
                    return Err(description.error(name.at, format!("duplicate {:?}", name.text)));
                }
                Some(name) => description.named.push((name, value)),
            }
        }
        Ok(description)
    }

    pub(super) fn error(&self, at: usize, what: impl Into<String>) -> EndpointError {
        error(&self.source, at, what)
    }

    pub(super) fn unknown_kind(&self, known: &str) -> EndpointError {
        self.error(self.kind.at, format!("unknown kind {:?} (known: {known})", self.kind.text))
    }

    /// Removes the argument of this name, or the next positional one.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Piece>, EndpointError> {
        Ok(self.take_named(name)?.or_else(|| self.positional.pop_front()))
    }

    /// Returns the offset of the argument of this name.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.named.iter().find(|(other, _)| other.text == name).map(|(_, piece)| piece.at)
    }

    /// Removes the argument of this name. No argument may be empty.
    pub(super) fn take_named(&mut self, name: &str) -> Result<Option<Piece>, EndpointError> {
        let index = self.named.iter().position(|(other, _)| other.text == name);
        let Some(index) = index else { return Ok(None) };
        let (_, piece) = self.named.remove(index);
        self.not_empty(name, piece).map(Some)
    }

    pub(super) fn require(&mut self, name: &str) -> Result<Piece, EndpointError> {
        match self.take(name)? {
            Some(piece) => self.not_empty(name, piece),
            None => Err(self.error(self.source.len(), format!("missing {name}"))),
        }
    }

    fn not_empty(&self, name: &str, piece: Piece) -> Result<Piece, EndpointError> {
        if piece.text.is_empty() {
            return Err(self.error(piece.at, format!("empty {name}")));
        }
        Ok(piece)
    }

    /// Parses a piece as a value. `what` names the expected value in the error.
    pub(super) fn read<T: FromStr>(&self, piece: &Piece, what: &str) -> Result<T, EndpointError> {
        piece.text.parse().map_err(|_| self.error(piece.at, format!("{:?} is not {what}", piece.text)))
    }

    /// Parses the argument of this name, or the next positional one, if there is one.
    pub(super) fn read_next<T: FromStr>(
        &mut self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, EndpointError> {
        match self.take(name)? {
            Some(piece) => self.read(&piece, what).map(Some),
            None => Ok(None),
        }
    }

    /// Parses the argument of this name, if there is one.
    pub(super) fn read_named<T: FromStr>(
        &mut self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, EndpointError> {
        match self.take_named(name)? {
            Some(piece) => self.read(&piece, what).map(Some),
            None => Ok(None),
        }
    }

    /// Refuses arguments that were not taken.
    pub(super) fn finish(self) -> Result<(), EndpointError> {
        if let Some((name, _)) = self.named.first() {
            let kind = &self.kind.text;
            return Err(self.error(name.at, format!("unknown argument {:?} of a {kind} endpoint", name.text)));
        }
        if let Some(piece) = self.positional.front() {
            return Err(self.error(piece.at, format!("unexpected argument {:?}", piece.text)));
        }
        Ok(())
    }
}

fn error(source: &str, at: usize, what: impl Into<String>) -> EndpointError {
    EndpointError { what: what.into(), at, description: source.to_owned() }
}

/// Returns the IPv6 address in brackets at the start of `text`, as addresses are written in URLs.
fn bracketed(text: &str) -> Option<&str> {
    let (address, _) = text.strip_prefix('[')?.split_once(']')?;
    let is_address = address.parse::<std::net::Ipv6Addr>().is_ok() || zoned(address).is_some();
    is_address.then_some(address)
}

/// Escapes an argument so that it reads back as the same. Twisted: `quoteStringArgument`.
pub(super) fn quote(argument: &str) -> String {
    let mut quoted = String::with_capacity(argument.len());
    if bracketed(argument).is_some() {
        quoted.push('\\');
    }
    for character in argument.chars() {
        if matches!(character, '\\' | ':' | '=') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// Removes the path of a UNIX socket. An abstract name becomes a path that begins with a NUL byte.
#[cfg(unix)]
pub(super) fn unix_path(description: &mut Description) -> Result<String, EndpointError> {
    if let Some(name) = description.take_named("abstract")? {
        return Ok(format!("\0{}", name.text));
    }
    match description.take_named("address")? {
        Some(path) => Ok(path.text),
        None => description.require("path").map(|path| path.text),
    }
}

/// Escapes a path so that [`unix_path`] reads it back.
#[cfg(unix)]
pub(super) fn quote_path(path: &std::path::Path) -> String {
    let path = path.to_string_lossy();
    match path.strip_prefix('\0') {
        // `abstract=` needs a name: no argument may be empty.
        Some(name) if !name.is_empty() => format!("abstract={}", quote(name)),
        _ => quote(&path),
    }
}
