//! Says what is wrong with a block that the parser refused: the first byte that is out of place.
//!
//! Only bytes up to that one are looked at, so the answer is the same however the input was split.

use super::error::{DecodeError, Fault, Malformed};
use super::head::Kind;

pub(crate) fn diagnose(kind: Kind, block: &[u8], error: Option<httparse::Error>) -> DecodeError {
    let mut walk = Walk { block, at: 0 };
    let fault = match walk.block(kind) {
        Err(fault) => fault,
        // Nothing found here: the parser's own word, without a place.
        Ok(()) => {
            walk.at = 0;
            match error {
                Some(httparse::Error::Status) => Fault::InvalidStatusLine,
                Some(httparse::Error::Version) => Fault::InvalidVersion,
                Some(httparse::Error::HeaderName) => Fault::InvalidHeaderName,
                Some(httparse::Error::HeaderValue) => Fault::InvalidHeaderValue,
                Some(httparse::Error::NewLine) => Fault::BareCr,
                _ => Fault::InvalidTarget,
            }
        }
    };
    Malformed::new(fault, kind.place(), walk.at).into()
}

struct Walk<'a> {
    block: &'a [u8],
    at: usize,
}

/// `Err` with the fault at `self.at`; `Ok` as far as the block goes.
type Step = Result<(), Fault>;

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    /// The fault of a byte that has no place here: told by the byte where that says more.
    fn misplaced(&self, otherwise: Fault) -> Fault {
        match self.peek() {
            Some(0) => Fault::Nul,
            Some(b'\n') => Fault::BareLf,
            // Nothing is said of a CR here: the byte after it may not be there yet.
            _ => otherwise,
        }
    }

    fn block(&mut self, kind: Kind) -> Step {
        match kind {
            Kind::Request => self.request_line()?,
            Kind::Response => self.status_line()?,
            Kind::Trailers => {}
        }
        while self.peek().is_some() && !self.block[self.at..].starts_with(b"\r\n") {
            self.field()?;
        }
        Ok(())
    }

    fn request_line(&mut self) -> Step {
        let start = self.at;
        while self.peek().is_some_and(is_token) {
            self.at += 1;
        }
        if self.peek().is_some_and(|byte| byte != b' ' || self.at == start) {
            return Err(self.misplaced(Fault::InvalidMethod));
        }
        self.at += 1;
        let start = self.at;
        while self.peek().is_some_and(|byte| byte > b' ' && byte != 0x7f) {
            self.at += 1;
        }
        match self.peek() {
            Some(b' ') if self.at > start => self.at += 1,
            Some(b'\r') if self.at > start => return Err(Fault::InvalidVersion),
            Some(_) => return Err(self.misplaced(Fault::InvalidTarget)),
            None => return Ok(()),
        }
        let target = &self.block[start..self.at];
        if std::str::from_utf8(target).is_err() {
            self.at = start;
            return Err(Fault::InvalidTarget);
        }
        self.version(Fault::InvalidVersion)?;
        self.line_end(Fault::InvalidVersion)
    }

    fn status_line(&mut self) -> Step {
        self.version(Fault::InvalidStatusLine)?;
        self.expect(|byte| byte == b' ', Fault::InvalidStatusLine)?;
        for _ in 0..3 {
            self.expect(|byte| byte.is_ascii_digit(), Fault::InvalidStatusLine)?;
        }
        if self.peek() == Some(b' ') {
            while self.peek().is_some_and(is_value) {
                self.at += 1;
            }
        }
        self.line_end(Fault::InvalidStatusLine)
    }

    fn version(&mut self, otherwise: Fault) -> Step {
        for &due in b"HTTP/" {
            self.expect(|byte| byte == due, otherwise)?;
        }
        // Another version is told by the first digit that is not ours.
        self.number(b"1", otherwise)?;
        self.expect(|byte| byte == b'.', otherwise)?;
        self.number(b"01", otherwise)
    }

    fn number(&mut self, ours: &[u8], otherwise: Fault) -> Step {
        match self.peek() {
            Some(digit) if digit.is_ascii_digit() && !ours.contains(&digit) => Err(Fault::UnsupportedVersion),
            _ => self.expect(|byte| byte.is_ascii_digit(), otherwise),
        }
    }

    fn field(&mut self) -> Step {
        if matches!(self.peek(), Some(b' ' | b'\t')) {
            return Err(Fault::FoldedHeader);
        }
        let start = self.at;
        while self.peek().is_some_and(is_token) {
            self.at += 1;
        }
        match self.peek() {
            Some(b':') if self.at > start => self.at += 1,
            Some(b' ' | b'\t') => return Err(Fault::SpaceInHeaderName),
            Some(b'\r') if self.at > start => return Err(Fault::MissingColon),
            Some(b'\r') => return Err(Fault::BareCr),
            Some(_) => return Err(self.misplaced(Fault::InvalidHeaderName)),
            None => return Ok(()),
        }
        while self.peek().is_some_and(is_value) {
            self.at += 1;
        }
        self.line_end(Fault::InvalidHeaderValue)
    }

    /// CR LF; a lone LF passes here as it does in the parser, which looks for it afterwards.
    fn line_end(&mut self, otherwise: Fault) -> Step {
        match self.peek() {
            Some(b'\n') => self.at += 1,
            Some(b'\r') => match self.block.get(self.at + 1) {
                Some(b'\n') => self.at += 2,
                Some(_) => return Err(Fault::BareCr),
                None => self.at += 1,
            },
            Some(_) => return Err(self.misplaced(otherwise)),
            None => {}
        }
        Ok(())
    }

    fn expect(&mut self, due: impl Fn(u8) -> bool, otherwise: Fault) -> Step {
        match self.peek() {
            Some(byte) if due(byte) => self.at += 1,
            Some(_) => return Err(self.misplaced(otherwise)),
            None => {}
        }
        Ok(())
    }
}

/// RFC 9110's `tchar`.
pub(crate) fn is_token(byte: u8) -> bool {
    IN_TOKEN[usize::from(byte)]
}

const IN_TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// The ASCII letters and digits, and some bytes more, as a table.
pub(crate) const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// What a field value may consist of.
pub(crate) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
