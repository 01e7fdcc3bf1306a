//! Hosts that are reached without a proxy: `no_proxy`, parsed like curl.

use std::net::IpAddr;

#[derive(Debug, Default)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Debug)]
enum Exception {
    All,
    /// This host and all below it.
    Name(String),
    /// The addresses that share this many leading bits.
    Network(IpAddr, u32),
}

impl Exceptions {
    /// Parses a list. An entry that is neither a name nor an address covers no host.
    pub(super) fn read(hosts: &str) -> Exceptions {
        let hosts = hosts.trim();
        if hosts == "*" {
            return Exceptions(vec![Exception::All]);
        }
        let separator = |c: char| c == ',' || c.is_whitespace();
        Exceptions(hosts.split(separator).filter_map(Exception::read).collect())
    }

    pub(super) fn cover(&self, host: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let address: Option<IpAddr> = host.parse().ok();
        let host = host.strip_suffix('.').unwrap_or(host);
        self.0.iter().any(|exception| match (exception, address) {
            (Exception::All, _) => true,
            (Exception::Name(name), None) => is_within(host, name),
            (Exception::Network(network, bits), Some(address)) => shares(*network, address, *bits),
            _ => false,
        })
    }
}

impl Exception {
    fn read(text: &str) -> Option<Exception> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if let Ok(address) = address.parse::<IpAddr>() {
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok()).filter(|bits| *bits <= all)?;
            return Some(Exception::Network(address, bits));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = name.strip_prefix('.').unwrap_or(name);
        (!name.is_empty()).then(|| Exception::Name(name.to_ascii_lowercase()))
    }
}

fn is_within(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn shares(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    }
}
