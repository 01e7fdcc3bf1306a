//! The host of a URL: an address, or a name in ASCII.

use std::net::Ipv6Addr;

use super::repair::is_in_host;

/// Appends a host in its normalized form. Returns false if it is invalid.
pub(super) fn push(text: &mut String, host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let Some(address) = address.strip_suffix(']') else { return false };
        if address.parse::<Ipv6Addr>().is_err() {
            return false;
        }
    } else if !host.bytes().all(is_in_host) {
        return push_converted(text, host);
    }
    let start = text.len();
    text.push_str(host);
    text[start..].make_ascii_lowercase();
    true
}

/// Converts a name with non-ASCII characters, which may be percent-encoded, as browsers do (UTS 46).
#[cfg(feature = "idna")]
fn push_converted(text: &mut String, host: &str) -> bool {
    let decoded = super::percent_decode(host);
    match idna::domain_to_ascii_cow(&decoded, idna::AsciiDenyList::URL) {
        Ok(name) if !name.is_empty() && name.bytes().all(is_in_host) => {
            text.push_str(&name);
            true
        }
        _ => false,
    }
}

#[cfg(not(feature = "idna"))]
fn push_converted(_: &mut String, _: &str) -> bool {
    false
}
