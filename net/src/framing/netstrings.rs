use super::{Found, FrameError, Framing};

/// Netstrings: `5:hello,`. Twisted: `NetstringReceiver`.
///
/// The length has no leading zeros (`0:,` is the empty netstring), as the format requires. Default limit:
/// 99,999 bytes, as in Twisted.
#[derive(Clone, Debug)]
pub struct Netstrings {
    max_length: usize,
}

impl Default for Netstrings {
    fn default() -> Self {
        Netstrings::new()
    }
}

impl Netstrings {
    /// Creates a framing for netstrings of at most 99,999 bytes.
    pub fn new() -> Netstrings {
        Netstrings { max_length: 99_999 }
    }

    /// Sets the longest payload, in bytes. Default: 99,999.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Netstrings {
        self.max_length = bytes;
        self
    }
}

impl Framing for Netstrings {
    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, FrameError> {
        let mut length = 0usize;
        for (at, &byte) in input.iter().enumerate() {
            match byte {
                b'0'..=b'9' if at == 1 && length == 0 => {
                    return Err(FrameError::Malformed {
                        what: "leading zero in the length of a netstring",
                        at,
                    });
                }
                b'0'..=b'9' => {
                    let digit = usize::from(byte - b'0');
                    length = length
                        .checked_mul(10)
                        .and_then(|tens| tens.checked_add(digit))
                        .filter(|&length| length <= self.max_length)
                        .ok_or(FrameError::TooLong { limit: self.max_length })?;
                }
                b':' if at > 0 => {
                    let start = at + 1;
                    // A saturated end is beyond any input, so the frame stays incomplete.
                    let end = start.saturating_add(length);
                    return match input.get(end) {
                        None => Ok(None),
                        Some(b',') => Ok(Some(Found { start, end, consumed: end + 1 })),
                        Some(_) => Err(FrameError::Malformed {
                            what: "missing comma after the payload of a netstring",
                            at: end,
                        }),
                    };
                }
                _ => return Err(FrameError::Malformed { what: "invalid length of a netstring", at }),
            }
        }
        Ok(None)
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if payload.len() > self.max_length {
            return Err(FrameError::TooLong { limit: self.max_length });
        }
        out.extend_from_slice(payload.len().to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(payload);
        out.push(b',');
        Ok(())
    }
}
