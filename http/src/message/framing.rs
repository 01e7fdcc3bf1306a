//! The meaning of a head's fields for the message: its length, the persistence of the connection, and the
//! host of a request (RFC 9112, sections 3.2, 6 and 9.3).

use super::diagnose::alphanumeric_and;
use super::error::{DecodeError, Fault, Malformed, MessagePart};
use super::fields::Span;

/// The relevant fields, read in one pass.
#[derive(Debug, Default)]
pub(crate) struct FramingFields<'a> {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) expect_continue: bool,
}

/// The sender of the head. Requests are read more strictly, and have more relevant fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

impl<'a> FramingFields<'a> {
    pub(crate) fn read(
        sender: Sender,
        http11: bool,
        block: &'a [u8],
        spans: &'a [Span],
    ) -> Result<FramingFields<'a>, DecodeError> {
        let mut facts = FramingFields::default();
        let mut codings = Codings::default();
        let mut transfer_encoding = None;
        for span in spans {
            let (name, value) = span.of(block);
            let at = span.value.0 as usize;
            // The length excludes most names without a look at their letters.
            match name.len() {
                4 if sender == Sender::Client && name.eq_ignore_ascii_case(b"host") => {
                    if facts.host.replace(value).is_some() {
                        return fault(Fault::RepeatedHost, at);
                    }
                    if !is_host(value) {
                        return fault(Fault::InvalidHost, at);
                    }
                }
                6 if sender == Sender::Client && http11 && name.eq_ignore_ascii_case(b"expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return fault(Fault::UnsupportedExpectation, at);
                    }
                    facts.expect_continue = true;
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                        facts.close |= option.eq_ignore_ascii_case(b"close");
                        facts.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    facts.add_length(sender, value).map_err(|fault| malformed(fault, at))?;
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    transfer_encoding.get_or_insert(at);
                    codings.add(value).map_err(|fault| malformed(fault, at))?;
                }
                _ => {}
            }
        }
        if let Some(at) = transfer_encoding {
            codings.check().map_err(|fault| malformed(fault, at))?;
            if facts.length.is_some() {
                return fault(Fault::LengthWithTransferEncoding, at);
            }
            if !http11 {
                return fault(Fault::TransferEncodingInHttp10, at);
            }
            facts.chunked = true;
        }
        Ok(facts)
    }

    /// Adds a `Content-Length`. A client may accept several equal values as one (RFC 9112, section 6.3); a
    /// server accepts only one.
    fn add_length(&mut self, sender: Sender, value: &[u8]) -> Result<(), Fault> {
        for value in value.split(|&byte| byte == b',') {
            // White space belongs to the list. Around a single value, it is already removed.
            let length = decimal(value.trim_ascii()).ok_or(Fault::InvalidContentLength)?;
            match self.length.replace(length) {
                Some(_) if sender == Sender::Client => return Err(Fault::RepeatedContentLength),
                Some(other) if other != length => return Err(Fault::RepeatedContentLength),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns whether the connection can carry another message after this one.
    pub(crate) fn persists(&self, http11: bool) -> bool {
        !self.close && (http11 || self.keep_alive)
    }
}

/// The transfer codings so far, over all fields.
#[derive(Debug, Default)]
struct Codings {
    chunked: bool,
    other: bool,
}

impl Codings {
    fn add(&mut self, value: &[u8]) -> Result<(), Fault> {
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            // Nothing may follow chunked, neither another coding nor an empty element.
            if coding.is_empty() || self.chunked {
                return Err(Fault::InvalidTransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if is_chunked_with_more(coding) {
                return Err(Fault::InvalidTransferEncoding);
            } else {
                self.other = true;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        if self.other || !self.chunked { Err(Fault::UnsupportedTransferCoding) } else { Ok(()) }
    }
}

/// Returns whether this is `chunked` with parameters, which it must not have.
fn is_chunked_with_more(coding: &[u8]) -> bool {
    let name = coding.split(|&byte| byte == b';').next().unwrap_or_default();
    name.len() < coding.len() && name.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Parses digits only: no sign, white space or underscore. `None` above 64 bits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Returns whether this is a host with an optional port, as in `Host` and in targets. The host of an HTTP URL
/// is not empty (RFC 9110, section 4.2.1), so an empty one is refused.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let name = value.iter().position(|&byte| !IN_HOST[usize::from(byte)]).unwrap_or(value.len());
    match &value[name..] {
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            is_registered_name(value)
        }
        [] => name > 0,
        [b':', port @ ..] => name > 0 && is_port(port),
        [b'[', rest @ ..] if name == 0 => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let literal = std::str::from_utf8(&rest[..end]);
            let port = &rest[end + 1..];
            literal.is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
                && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
        }
        _ => false,
    }
}

/// Returns whether this is a name with percent-encoded bytes, and an optional port.
#[cold]
fn is_registered_name(value: &[u8]) -> bool {
    let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
    let (name, port) = value.split_at(end);
    let mut parts = name.split(|&byte| byte == b'%');
    let plain = |part: &[u8]| part.iter().all(|&byte| IN_HOST[usize::from(byte)]);
    parts.next().is_some_and(plain)
        && parts.all(|part| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit) && plain(part))
        && port.strip_prefix(b":").is_none_or(is_port)
}

/// Returns whether this is a number up to 65535, or empty.
fn is_port(port: &[u8]) -> bool {
    port.is_empty() || decimal(port).is_some_and(|port| port <= u64::from(u16::MAX))
}

/// The bytes of a host besides percent-encoded ones, unless it is an address in brackets.
const IN_HOST: [bool; 256] = alphanumeric_and(b"-._~!$&'()*+,;=");

fn malformed(fault: Fault, at: usize) -> DecodeError {
    Malformed::new(fault, MessagePart::Head, at).into()
}

fn fault<T>(fault: Fault, at: usize) -> Result<T, DecodeError> {
    Err(malformed(fault, at))
}
