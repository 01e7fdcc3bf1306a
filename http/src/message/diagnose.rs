//! Finds the first invalid byte of a block.
//!
//! Only bytes up to that one count, so the result does not depend on how the input was split.

use super::error::{DecodeError, Fault, LimitExceeded, LimitKind, Malformed};
use super::head::HeadKind;

/// How far the lines of a block have been checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    /// The start of the first unchecked line.
    pub(crate) at: usize,
    /// The number of field lines before it.
    fields: usize,
}

impl Checked {
    /// Checks the complete lines from here on.
    ///
    /// # Errors
    ///
    /// If a line is malformed, or is one field more than allowed.
    pub(crate) fn go_on(
        &mut self,
        kind: HeadKind,
        block: &[u8],
        max_fields: usize,
    ) -> Result<(), DecodeError> {
        let Some(last) = block[self.at..].iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let mut walk = Walk { block: &block[..self.at + last + 1], checked: *self, max_fields };
        let walked = walk.lines(kind);
        *self = walk.checked;
        walked
    }
}

/// Finds the fault of a block that the parser refused. Without a fault, returns whether the block is
/// complete.
pub(crate) fn diagnose(kind: HeadKind, block: &[u8], max_fields: usize) -> Result<bool, DecodeError> {
    let mut walk = Walk { block, checked: Checked::default(), max_fields };
    walk.lines(kind)?;
    Ok(walk.checked.at < block.len())
}

/// Returns whether a request begins with a method that is too long, without waiting for the end of its line.
pub(crate) fn method_is_too_long(kind: HeadKind, block: &[u8]) -> bool {
    kind == HeadKind::Request
        && block.get(..=LONGEST_METHOD).is_some_and(|start| start.iter().all(|&byte| is_token(byte)))
}

struct Walk<'a> {
    block: &'a [u8],
    checked: Checked,
    max_fields: usize,
}

/// `Err` with the fault at `checked.at`, or `Ok` as far as the block goes.
type Step = Result<(), Fault>;

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.checked.at).copied()
    }

    /// Returns the fault of an invalid byte: that of the byte itself if it is more precise, or `otherwise`.
    fn misplaced(&self, otherwise: Fault) -> Fault {
        match self.peek() {
            Some(0) => Fault::Nul,
            Some(b'\n') => Fault::BareLf,
            // Not for a CR, because the byte after it may not have arrived.
            _ => otherwise,
        }
    }

    /// Checks from the start of a line to the end of the input, or of the block.
    fn lines(&mut self, kind: HeadKind) -> Result<(), DecodeError> {
        if self.checked.at == 0 {
            let line = match kind {
                HeadKind::Request => self.request_line(),
                HeadKind::Response => self.status_line(),
                HeadKind::Trailers => Ok(()),
            };
            self.placed(kind, line)?;
        }
        while self.peek().is_some() && !self.block[self.checked.at..].starts_with(b"\r\n") {
            let line = self.field();
            self.placed(kind, line)?;
            if self.block[..self.checked.at].ends_with(b"\n") {
                self.checked.fields += 1;
                if self.checked.fields > self.max_fields {
                    return Err(LimitExceeded::new(LimitKind::HeaderCount, self.max_fields as u64).into());
                }
            }
        }
        Ok(())
    }

    fn placed(&self, kind: HeadKind, step: Step) -> Result<(), DecodeError> {
        step.map_err(|fault| Malformed::new(fault, kind.part(), self.checked.at).into())
    }

    fn request_line(&mut self) -> Step {
        while self.peek().is_some_and(is_token) {
            if self.checked.at == LONGEST_METHOD {
                return Err(Fault::MethodTooLong);
            }
            self.checked.at += 1;
        }
        match self.peek() {
            Some(b' ') if self.checked.at > 0 => self.checked.at += 1,
            Some(_) => return Err(self.misplaced(Fault::InvalidMethod)),
            None => return Ok(()),
        }
        let start = self.checked.at;
        while self.peek().is_some_and(|byte| byte > b' ' && byte != 0x7f) {
            self.checked.at += 1;
        }
        match self.peek() {
            Some(b' ') if self.checked.at > start => self.checked.at += 1,
            Some(b'\r') if self.checked.at > start => return Err(Fault::InvalidVersion),
            Some(_) => return Err(self.misplaced(Fault::InvalidTarget)),
            None => return Ok(()),
        }
        let target = &self.block[start..self.checked.at];
        if std::str::from_utf8(target).is_err() {
            self.checked.at = start;
            return Err(Fault::InvalidTarget);
        }
        self.version(Fault::InvalidVersion)?;
        self.line_end(Fault::InvalidVersion)
    }

    fn status_line(&mut self) -> Step {
        // An alert or a handshake message, and the major version that all records share (RFC 8446, section 5.1).
        if matches!(self.peek(), Some(0x15 | 0x16)) {
            match self.block.get(self.checked.at + 1) {
                Some(3) => return Err(Fault::TlsRecord),
                Some(_) => return Err(Fault::InvalidStatusLine),
                None => self.checked.at += 1,
            }
            return Ok(());
        }
        self.version(Fault::InvalidStatusLine)?;
        self.expect(|byte| byte == b' ', Fault::InvalidStatusLine)?;
        for _ in 0..3 {
            self.expect(|byte| byte.is_ascii_digit(), Fault::InvalidStatusLine)?;
        }
        if self.peek() == Some(b' ') {
            while self.peek().is_some_and(is_value) {
                self.checked.at += 1;
            }
        }
        self.line_end(Fault::InvalidStatusLine)
    }

    /// Accepts any minor version of HTTP/1 (RFC 9110, section 2.5).
    fn version(&mut self, otherwise: Fault) -> Step {
        for &due in b"HTTP/" {
            self.expect(|byte| byte == due, otherwise)?;
        }
        let major = self.checked.at;
        self.expect(|byte| byte.is_ascii_digit(), otherwise)?;
        self.expect(|byte| byte == b'.', otherwise)?;
        self.expect(|byte| byte.is_ascii_digit(), otherwise)?;
        // Reported only if it is a complete version.
        if self.checked.at == major + 3 && self.block[major] != b'1' {
            self.checked.at = major;
            return Err(Fault::UnsupportedVersion);
        }
        Ok(())
    }

    fn field(&mut self) -> Step {
        if matches!(self.peek(), Some(b' ' | b'\t')) {
            return Err(Fault::FoldedHeader);
        }
        let start = self.checked.at;
        while self.peek().is_some_and(is_token) {
            self.checked.at += 1;
        }
        match self.peek() {
            Some(b':') if self.checked.at > start => self.checked.at += 1,
            Some(b' ' | b'\t') => return Err(Fault::SpaceInHeaderName),
            Some(b'\r') if self.checked.at > start => return Err(Fault::MissingColon),
            Some(b'\r') => return Err(Fault::BareCr),
            Some(_) => return Err(self.misplaced(Fault::InvalidHeaderName)),
            None => return Ok(()),
        }
        while self.peek().is_some_and(is_value) {
            self.checked.at += 1;
        }
        self.line_end(Fault::InvalidHeaderValue)
    }

    fn line_end(&mut self, otherwise: Fault) -> Step {
        match self.peek() {
            Some(b'\r') => match self.block.get(self.checked.at + 1) {
                Some(b'\n') => self.checked.at += 2,
                Some(_) => return Err(Fault::BareCr),
                None => self.checked.at += 1,
            },
            Some(_) => return Err(self.misplaced(otherwise)),
            None => {}
        }
        Ok(())
    }

    fn expect(&mut self, due: impl Fn(u8) -> bool, otherwise: Fault) -> Step {
        match self.peek() {
            Some(byte) if due(byte) => self.checked.at += 1,
            Some(_) => return Err(self.misplaced(otherwise)),
            None => {}
        }
        Ok(())
    }
}

/// Longer methods are not implemented anywhere. The longest registered one has 17 bytes.
pub(crate) const LONGEST_METHOD: usize = 64;

/// Returns whether the byte is a `tchar` of RFC 9110.
pub(crate) fn is_token(byte: u8) -> bool {
    IN_TOKEN[usize::from(byte)]
}

const IN_TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// Builds a table of the ASCII letters, digits and some other bytes.
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

/// Returns whether a field value may contain the byte.
pub(crate) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
