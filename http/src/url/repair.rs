//! Percent-encodes the characters that a URL may not have.

/// A set of ASCII characters, looked up once for each character of a URL.
pub(super) struct Characters([bool; 256]);

impl Characters {
    /// Letters, digits, and these marks.
    const fn with(marks: &[u8]) -> Characters {
        let mut set = [false; 256];
        let mut at = 0;
        while at < 256 {
            set[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        at = 0;
        while at < marks.len() {
            set[marks[at] as usize] = true;
            at += 1;
        }
        Characters(set)
    }

    fn contain(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

static UNRESERVED_AND_SUBDELIMS: Characters = Characters::with(b"-._~!$&'()*+,;=");
pub(super) static IN_PATH: Characters = Characters::with(b"-._~!$&'()*+,;=:@/");
pub(super) static IN_QUERY: Characters = Characters::with(b"-._~!$&'()*+,;=:@/?");
static IN_USERINFO: Characters = Characters::with(b"-._~!$&'()*+,;=:");

/// Returns whether a host name may contain a byte unencoded.
pub(super) fn is_in_host(byte: u8) -> bool {
    UNRESERVED_AND_SUBDELIMS.contain(byte)
}

pub(super) fn userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text, &IN_USERINFO);
    out
}

pub(super) fn fragment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text, &IN_QUERY);
    out
}

/// Appends `text` with all bytes percent-encoded except those in `kept`. Existing escapes stay.
pub(super) fn push(out: &mut String, text: &str, kept: &Characters) {
    let bytes = text.as_bytes();
    if bytes.iter().all(|byte| kept.contain(*byte)) {
        return out.push_str(text);
    }
    for (at, &byte) in bytes.iter().enumerate() {
        let keep = match byte {
            b'%' => is_escape(&bytes[at..]),
            _ => kept.contain(byte),
        };
        push_byte(out, byte, keep);
    }
}

fn is_escape(bytes: &[u8]) -> bool {
    bytes.get(1..3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
}

fn push_byte(out: &mut String, byte: u8, keep: bool) {
    if keep {
        out.push(char::from(byte));
    } else {
        out.push('%');
        out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
        out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
    }
}

/// Percent-encodes the characters of a received reference that a reference may not have.
pub(super) fn reference(reference: &[u8]) -> String {
    let mut text = String::with_capacity(reference.len() + 16);
    let (mut in_fragment, mut in_address) = (false, false);
    let user_ends = end_of_user(reference);
    for (at, &byte) in reference.iter().enumerate() {
        let keep = match byte {
            b'%' => is_escape(&reference[at..]),
            b'@' => at >= user_ends,
            b'#' => !std::mem::replace(&mut in_fragment, true),
            // Brackets enclose an address, directly after the slashes or the user.
            b'[' => {
                in_address = reference[..at].ends_with(b"//") || reference[..at].ends_with(b"@");
                in_address
            }
            b']' => std::mem::take(&mut in_address),
            _ => IN_QUERY.contain(byte),
        };
        push_byte(&mut text, byte, keep);
    }
    text
}

/// Returns the position of the at sign that ends the user name and password: the last one before the path.
fn end_of_user(reference: &[u8]) -> usize {
    let slashes = reference.windows(2).position(|pair| pair == b"//");
    let is_authority = |at: usize| at == 0 || (reference[at - 1] == b':' && !reference[..at].contains(&b'/'));
    let Some(start) = slashes.filter(|at| is_authority(*at)).map(|at| at + 2) else { return 0 };
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let end = reference[start..].iter().position(ends).map_or(reference.len(), |length| start + length);
    reference[..end].iter().rposition(|&byte| byte == b'@').unwrap_or_default()
}
